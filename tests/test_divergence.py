"""Where a version of a kernel first writes something else than the one before: the line that was changed is named."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.inside.divergence import ROUNDING, Divergence, differing_launch, divergence, record
from helpers.stages import STAGES

ROOT = Path(__file__).parents[1]


def loaded(text: str, file: Path) -> ModuleType:
    """The text as a module of that file."""
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[file.stem]
    return module


def first(now: Any, before: Any, specs: list) -> Divergence | None:
    """Where `now` first differs from `before`."""
    part = differing_launch(record(now, specs, "a2a3"), record(before, specs, "a2a3"))
    if part is None:
        return None
    return divergence(record(now, specs, "a2a3", part[0]), record(before, specs, "a2a3", part[0]), *part)


MUTANTS = {  # of the last version: what is replaced, by what, and how the line begins that is named
    "flash_attention": (
        (
            "half = pl.mul(pl.aiv_shard(scores), SCALE)",
            "half = pl.mul(pl.aiv_shard(scores), 0.5 * SCALE)",
            "half = pl.mul",
        ),
        ("total = pl.row_sum(exponentials)", "total = pl.row_max(exponentials)", "total = pl.row_max"),
        ("pl.exp(pl.row_expand_sub(half, top))", "pl.exp(pl.row_expand_mul(half, top))", "exponentials = pl.exp"),
        ("half_weights = pl.cast(exponentials, ", "half_weights = pl.cast(half, ", "half_weights = pl.cast(half"),
        ("(page * KV_HEADS + kv) * PAGE", "(page * KV_HEADS) * PAGE", "k = pl.slice(k_cache"),
        (
            "tokens = pl.cast(pl.min(PAGE, pl.tensor.read(seq_lens, [b]) - p * PAGE), pl.INDEX)",
            "tokens = PAGE",
            "half = pl.fillpad",
        ),
    ),
    "mlp": (
        ("result = pl.add(pl.slice(resid, ", "result = pl.sub(pl.slice(resid, ", "result = pl.sub"),
        ("[1, BATCH], dtype=pl.FP32, value=0.0)", "[1, BATCH], dtype=pl.FP32, value=90.0)", "square_sum = pl.full"),
        ("pl.exp(pl.neg(gate)), 1.0)", "pl.exp(pl.neg(gate)), 2.0)", "sigmoid = pl.recip"),
        ("up = pl.matmul_acc(up, x_k, w_u, ", "up = pl.matmul_acc(up, x_k, w_g, ", "activated = pl.mul"),
        ("[inter_row + kb * WIDE_K, d0]", "[inter_row + 0 * kb * WIDE_K, d0]", "w_k = pl.slice(w_down"),
    ),
    "rope_kv_cache": (
        ("1.0 / HEAD_DIM)", "2.0 / HEAD_DIM)", "mean_square = pl.mul"),
        ("scale = pl.recip(pl.sqrt(", "scale = pl.rsqrt(pl.sqrt(", "scale = pl.rsqrt"),
        ("    turned_hi = pl.add(", "    turned_hi = pl.sub(", "turned_hi = pl.sub"),
        (
            "k_cache, k_lo, [cache_row, 0])  # the",
            "k_cache, k_hi, [cache_row, 0])  # the",
            "k_cache = pl.assemble(k_cache, k_hi",
        ),
        ("pos = pl.tensor.read(seq_lens, [b]) - 1", "pos = pl.tensor.read(seq_lens, [b])", "cos = pl.slice"),
    ),
}


@pytest.mark.parametrize(("stage", "old", "new", "named"), [(s, *m) for s, found in MUTANTS.items() for m in found])
def test_the_line_that_was_changed_is_named(stage: str, old: str, new: str, named: str, tmp_path: Path):
    text = (ROOT / "kernels" / f"{stage}.py").read_text()
    start, found, end = text.rpartition(old)
    assert found
    version = list(STAGES[stage].versions)[-1]
    before = getattr(loaded(text, tmp_path / "k.py"), version)
    now = getattr(loaded("# one line more\n" + start + new + end, tmp_path / "k.py"), version)
    d = first(now, before, STAGES[stage].specs(**STAGES[stage].small))
    assert d is not None
    assert d.spot.code.strip().startswith(named)
    assert (tmp_path / "k.py").read_text().splitlines()[d.spot.line - 1] == d.spot.code
    assert d.now != d.before
    assert re.search(
        r"k\.py:\d+ `.*`, task '\w+' 0 block \d+, element \[.*\].*: \S+ here, \S+ in save 3", d.text("save 3")
    )


def test_what_is_the_same_up_to_rounding_differs_nowhere(tmp_path: Path):
    """Lines moved, a product of three with its factors in another order: at most the finer of two roundings says so."""
    stage = STAGES["rope_kv_cache"]
    text = (ROOT / "kernels" / "rope_kv_cache.py").read_text()
    other = text.replace(
        "pl.col_expand_mul(pl.row_expand_mul(heads, scale), weight)",
        "pl.row_expand_mul(pl.col_expand_mul(heads, weight), scale)",
    )
    assert other != text
    before, now = (loaded(t, tmp_path / "k.py").flat for t in (text, "\n\n" + other))
    part = differing_launch(record(now, specs := stage.specs(**stage.small), "a2a3"), record(before, specs, "a2a3"))
    assert part is None or part[1] == len(ROUNDING) - 1
