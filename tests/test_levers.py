"""Levers: each is the model run again with one thing changed."""

from __future__ import annotations

import pytest
import torch
from kernelgen import kernel

from helpers import chips
from helpers.interpret import follow
from helpers.profile import Profile, profile
from helpers.profile.levers import LEAST, SHOWN, all_levers, levers
from helpers.stages import find, trace_stage

A2A3 = chips.chip("a2a3")


def predicted(body: str, tensors: int = 1, rows: int = 256, cols: int = 64) -> Profile:
    """A kernel of `tensors` inputs and one output, all [rows, cols] of FP32."""
    shape = f"pl.Tensor[[{rows}, {cols}], pl.FP32]"
    inputs = "".join(f"x{n}: {shape}, " for n in range(tensors))
    text = f"\n@pl.jit\ndef k({inputs}o: pl.Out[{shape}]):\n{body}\n    return o\n"
    args = [torch.zeros(rows, cols) for _ in range(tensors + 1)]
    return profile(follow.trace(kernel(text), args, "a2a3interp", A2A3))


CHAIN = """
    for i in pl.range(16):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="row"):
            o[i * 16 : i * 16 + 16, :] = pl.add(x0[i * 16 : i * 16 + 16, :], 1.0)
"""
APART = CHAIN.replace("pl.range", "pl.parallel")
MANY = """
    for b in pl.spmd(256, name_hint="row"):
        o[b : b + 1, :] = pl.add(x0[b : b + 1, :], 1.0)
"""
NARROW = """
    for b in pl.spmd(4, name_hint="part"):
        for i in pl.range(4):
            t = pl.exp(x0[b * 64 : b * 64 + 64, i * 16 : i * 16 + 16])
            o[b * 64 : b * 64 + 64, i * 16 : i * 16 + 16] = t
"""


def test_a_chain_that_no_element_needs_is_found_and_its_gain_is_what_a_run_without_it_takes():
    chain, apart = predicted(CHAIN), predicted(APART)
    best = levers(chain)[0]
    assert "without the wait of each for the one before" in best.what
    assert best.place.code.strip().startswith("with pl.at(")
    assert chain.makespan - best.gain == pytest.approx(apart.makespan, rel=0.02)
    assert not any("wait" in lever.what for lever in levers(apart))


def test_small_blocks_that_stride_over_all_cores():
    best = {lever.what: lever for lever in levers(predicted(MANY))}
    (name,) = [w for w in best if "stride over all cores" in w]
    assert 0 < best[name].gain < predicted(MANY).makespan


def test_short_rows_and_idle_cores():
    found = [lever.what for lever in levers(predicted(NARROW))]
    assert any("rows of 512 bytes, 64 now" in what for what in found)


def test_a_stage_has_at_most_five_levers_the_best_first_each_worth_a_percent():
    stage = find("mlp")
    p = profile(trace_stage(stage, "accumulate"))
    found = all_levers(p, stage, "accumulate")
    assert 0 < len(found) <= SHOWN
    assert [lever.gain for lever in found] == sorted((lever.gain for lever in found), reverse=True)
    assert all(LEAST * p.makespan < lever.gain < p.makespan and lever.of == p.makespan for lever in found)
    assert all(str(lever.place) in str(lever) and " µs less, " in str(lever) for lever in found)
