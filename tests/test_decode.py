"""kernels.decode_layer and kernels.decode: the composed versions against the golden, and tokens step by step."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from golden import decode, decode_layer
from golden.compare import compare_outputs
from golden.spec import values_of
from helpers.chips import chip
from helpers.interpret.trace.depend import races
from helpers.interpret.trace.trace import Trace
from helpers.run import run
from helpers.stages import find
from kernels.qwen3 import PAGE

ROOT = Path(__file__).parent.parent
PLATFORMS = {"a2a3interp": 24, "a5interp": 36}  # and the core groups of the chip
CTX = [5, PAGE, 2 * PAGE + 44]
PAGES = sum(-(-n // PAGE) for n in CTX)

Values = dict[str, Any]


def layer_tasks(version: str, groups: int) -> dict[str, int]:
    """How many tasks of each name a layer has; those of `naive` for sequences of CTX."""
    heads = 8 * len(CTX)
    if version == "naive":
        qkv = {"input_rmsnorm": 1, "project_tile": 112}
        attention = dict.fromkeys(("rope_kv_cache", "start", "finish"), heads)
        attention |= dict.fromkeys(("qk", "softmax", "sv", "merge"), 8 * PAGES)
        mlp = {"seed_sums": 10, "out_proj": 80, "add_residual": 80, "post_rmsnorm": 1, "gate_or_up": 544, "silu": 272}
        return qkv | attention | mlp | {"down_product": 10880, "down_add": 10880, "final_residual": 40}
    qkv = {"weighted_rows": 10, "rms_scale": 1, "seed": 28, "project_split": 112, "scale": 28}
    mlp = {"out_proj_residual": 20, "post_rmsnorm": 1, "gate_up_silu": 68, "down_proj_residual": 20}
    return qkv | {"attention": groups} | mlp


@lru_cache(maxsize=1)
def inputs() -> Values:
    """Two layers and a vocabulary of three chunks, for three sequences and eight steps; shared, not to be written."""
    specs = decode.specs(len(CTX), CTX, seed=7, mode=3, ahead=7)
    return values_of(specs)


def fresh(names: tuple[str, ...] = ()) -> Values:
    """The inputs, with what a step writes copied."""
    written = ("k_cache", "v_cache", "hidden_states", "seq_lens", "slot_mapping", "logits", "tokens", *names)
    return {name: v.clone() if name in written else v for name, v in inputs().items()}


def judged(golden: Any, kernel: Any, values: Values, expected: Values, platform: str) -> Trace:
    """Run a kernel over outputs full of other values, hold it against the golden, and look at its trace."""
    for name in ("out", "logits", "tokens"):
        if name in values:
            values[name].fill_(torch.nan if values[name].is_floating_point() else -7)
    golden.check(values)
    trace = run(kernel, values, platform=platform).trace
    names = ["k_cache", "v_cache", *(("out",) if "out" in values else ("logits", "tokens"))]
    failures = compare_outputs(
        {name: values[name] for name in names},
        {name: expected[name] for name in names},
        golden.TOLERANCE.rtol,
        golden.TOLERANCE.atol,
        golden.COMPARE_FN,
        {name: torch.as_tensor(v) for name, v in values.items() if name not in names},
    )[1]
    assert failures == {}
    room = chip(platform.removesuffix("interp")).buffers
    assert all(0 < used <= room[buffer] for buffer, used in trace.peaks().items())
    return trace


@pytest.fixture(scope="module")
def layer_golden() -> Values:
    values = decode.one_layer(inputs(), 1)
    decode_layer.reference(values)
    return values


@pytest.mark.parametrize(("version", "platform"), [("naive", "a2a3interp"), *(("fused", p) for p in PLATFORMS)])
def test_a_layer_is_the_golden(version: str, platform: str, layer_golden: Values) -> None:
    values = decode.one_layer(inputs(), 1)
    trace = judged(decode_layer, find("decode_layer").versions[version], values, layer_golden, platform)
    once = {"work_table": 1} if version == "fused" else {}
    assert trace.tasks_by_name() == once | layer_tasks(version, PLATFORMS[platform])
    assert not values["out"][len(CTX) :].any()
    if version == "fused":
        assert races(trace) == []


def test_layers_one_after_the_other_and_then_the_head() -> None:
    expected = fresh()
    decode.reference(expected)
    first, last = fresh(), fresh()
    fused = judged(decode, find("decode").versions["fused"], last, expected, "a2a3interp")
    head = {"final_rmsnorm": 1, "head": 2, "chunk_best": 1, "greedy": 1, "zero_logits": 1}
    layers = {name: 2 * count for name, count in layer_tasks("fused", 24).items()}
    assert fused.tasks_by_name() == {"work_table": 1} | layers | head
    assert races(fused) == []
    naive = judged(decode, find("decode").versions["naive"], first, expected, "a2a3interp")
    assert naive.tasks > 40 * fused.tasks
    assert torch.equal(first["tokens"], last["tokens"])
    for name in ("k_cache", "v_cache", "logits"):
        rtol, atol = (decode.CACHE_TOLERANCE.rtol, decode.CACHE_TOLERANCE.atol) if "cache" in name else (0.0, 2.0**-4)
        assert torch.allclose(first[name].float(), last[name].float(), rtol=rtol, atol=atol), name


@pytest.mark.parametrize(("mode", "tasks"), [(0, {"no_tokens": 1, "zero_logits": 1})])
def test_no_logits_and_no_tokens(mode: int, tasks: dict[str, int]) -> None:
    values = fresh() | {"chunks": mode}
    values["logits"].fill_(torch.nan)
    trace = run(find("decode").versions["fused"], values, platform="a2a3interp", dry=True).trace
    assert tasks.items() <= trace.tasks_by_name().items()
    assert "final_rmsnorm" not in trace.tasks_by_name()


def test_eight_tokens_are_the_goldens() -> None:
    """Greedy tokens fed back for eight steps; the golden's choices are far from ties, so they have to be met."""
    embed = decode.random_embedding(7)
    kernel = find("decode").versions["fused"]
    golden = decode.generate(fresh(), 8, decode.reference, embed)
    ours = decode.generate(fresh(), 8, lambda values: run(kernel, values, platform="a2a3interp"), embed)
    assert float(golden.margins.min()) > 0.03
    assert torch.equal(ours.tokens, golden.tokens)
    assert len(golden.tokens.unique()) > 12


def test_kernels_can_be_taken_elsewhere(tmp_path: Path) -> None:
    """A kernel file, those it imports and the shapes, in a folder called kernels: nothing else of this repository."""
    names = ["decode", "decode_layer", "flash_attention", "lm_head", "mlp", "qkv_proj", "qwen3"]
    (tmp_path / "kernels").mkdir()
    for name in names:
        (tmp_path / "kernels" / f"{name}.py").write_text((ROOT / "kernels" / f"{name}.py").read_text())
    code = (
        "import os, sys; from helpers.interpret.pypto import language; language.install(); "
        "elsewhere = [p for p in sys.path if not os.path.exists(os.path.join(p, 'kernels', '__init__.py'))]; "
        f"sys.path[:] = [{str(tmp_path)!r}, *elsewhere]; "
        "import kernels.decode as found; print(found.__file__, found.fused, found.naive)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
