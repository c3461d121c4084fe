"""Scatters against loops in Python: by index, by pattern, whole rows, to global memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few, incore, out, padded, run, same, seeds, sevens, tensor, values

from helpers.errors import FaultError

INDEX = {"FP32": "INT32", "INT32": "INT32", "BF16": "INT16", "FP16": "INT16", "INT8": "INT16"}


def indices(shape: tuple[int, ...], below: int, seed: int, dtype: str) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, below, shape, generator=g).to(torch.int16 if dtype == "INT16" else torch.int32)


@few
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from(sorted(INDEX)), seeds)
def test_by_index(r: int, k: int, more: int, dtype: str, seed: int):
    """Of several elements for one place the last stays; other places keep what they held."""
    k = padded(k, dtype, INDEX[dtype])
    c = k + padded(more, dtype)
    x, s = values((3 * r, c), dtype, seed), values((3 * r, k), dtype, seed + 1)
    i, o = indices((3 * r, k), c, seed, INDEX[dtype]), sevens((3 * r, c), dtype)
    types = [tensor(x.shape, dtype), tensor(i.shape, INDEX[dtype]), tensor(s.shape, dtype), out(o.shape, dtype)]
    rows = f"b * {r} : b * {r} + {r}, :"
    run(
        f"@pl.jit\ndef k({', '.join(f'{n}: {t}' for n, t in zip('xiso', types))}):\n    for b in pl.spmd(3):\n"
        f"        o[{rows}] = pl.scatter(x[{rows}], -1, i[{rows}], s[{rows}])\n", x, i, s, o,
    )  # fmt: skip
    want = x.clone()
    for a in range(3 * r):
        for j in range(k):
            want[a, i[a, j]] = s[a, j]
    same(o, want)


@few
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 9), seeds)
def test_tile_scatter_counts_elements(r: int, c: int, k: int, seed: int):
    c, k = padded(c, "FP32"), padded(k, "FP32")
    x, s = values((r, c), "FP32", seed), values((2, k), "FP32", seed + 1)
    i, o = indices((2, k), r * c, seed, "INT32"), sevens((r, c), "FP32")
    shapes = {
        "x": tensor(x.shape, "FP32"),
        "i": tensor(i.shape, "INT32"),
        "s": tensor(s.shape, "FP32"),
        "o": out(o.shape, "FP32"),
    }
    body = f"""
t = pl.load(x, [0, 0], [{r}, {c}])
pl.store(pl.tile.scatter(t, pl.load(s, [0, 0], [2, {k}]), pl.load(i, [0, 0], [2, {k}])), [0, 0], o)
"""
    run(incore(shapes, body), x, i, s, o)
    want = x.flatten().clone()
    for place, v in zip(i.flatten(), s.flatten()):
        want[place] = v
    same(o, want.view(r, c))


STEPS = {
    "P0101": (2, 0),
    "P1010": (2, 1),
    "P0001": (4, 0),
    "P0010": (4, 1),
    "P0100": (4, 2),
    "P1000": (4, 3),
    "P1111": (1, 0),
}


@pytest.mark.parametrize("pattern", STEPS)
@few
@given(st.integers(1, 4), st.integers(1, 6), st.sampled_from(sorted(INDEX)), seeds)
def test_by_pattern(pattern: str, r: int, c: int, dtype: str, seed: int):
    (step, first), c = STEPS[pattern], padded(c, dtype)
    x, d, o = values((r, c), dtype, seed), values((r, c * step), dtype, seed + 1), sevens((r, c * step), dtype)
    shapes = {"x": tensor(x.shape, dtype), "d": tensor(d.shape, dtype), "o": out(o.shape, dtype)}
    body = f"o[:, :] = pl.scatter(x, mask_pattern=pl.tile.MaskPattern.{pattern}, dst=d)"
    run(incore(shapes, body), x, d, o)
    want = d.clone()
    for j in range(c):
        want[:, j * step + first] = x[:, j]
    same(o, want)


@few
@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), st.booleans(), seeds)
def test_rows(n: int, b: int, s: int, by_name: bool, seed: int):
    s = padded(s, "INT32")
    x, v = values((n, 16), "BF16", seed), values((b * s, 16), "BF16", seed + 1)
    i, o = indices((b, s), n, seed, "INT32"), sevens((n, 16), "BF16")
    shapes = {
        "x": tensor(x.shape, "BF16"),
        "i": tensor(i.shape, "INT32"),
        "v": tensor(v.shape, "BF16"),
        "o": out(o.shape, "BF16"),
    }
    call = "pl.scatter_update(x, i, v, dim=-2)" if by_name else "pl.scatter_update(x, -2, i, v)"
    run(incore(shapes, f"o[:, :] = {call}"), x, i, v, o)
    want = x.clone()
    for place, row in zip(i.flatten(), v):
        want[place] = row
    same(o, want)


@few
@given(st.integers(1, 4), st.integers(1, 9), seeds)
def test_to_global_memory(r: int, c: int, seed: int):
    c = padded(c, "FP32")
    s, i, o = values((3 * r, c), "FP32", seed), indices((3 * r, c), 40, seed, "INT32"), sevens((5, 8), "FP32")
    types = [tensor(s.shape, "FP32"), tensor(i.shape, "INT32"), f"pl.InOut[{tensor(o.shape, 'FP32')}]"]
    run(
        f"@pl.jit\ndef k({', '.join(f'{n}: {t}' for n, t in zip('sio', types))}):\n    for b in pl.spmd(3):\n"
        f"        v = pl.load(s, [b * {r}, 0], [{r}, {c}])\n        j = pl.load(i, [b * {r}, 0], [{r}, {c}])\n"
        "        pl.mscatter(v, j, o)\n", s, i, o,
    )  # fmt: skip
    want = sevens((40,), "FP32")
    for place, v in zip(i.flatten(), s.flatten()):
        want[place] = v
    same(o, want.view(5, 8))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pl.scatter(x, -1, i, x)", r"index 8 at \[2, 3\]"),
        ("pl.scatter(x, 0, i, x)", "along the last"),
        ("pl.scatter(x, -1, x, x)", "INT32"),
        ("pl.scatter(x, -1, i)", "src="),
        ("pl.scatter(x, mask_pattern=1, dst=x)", r"\[4, 16\]"),
        ("pl.scatter_update(x, 0, i, x)", "dim=-2"),
        ("pl.scatter_update(x, -2, i, x)", "one row"),
    ],
)
def test_faults(body: str, words: str):
    i = torch.zeros(4, 8, dtype=torch.int32)
    i[2, 3] = 8
    shapes = {"x": tensor([4, 8], "FP32"), "i": tensor([4, 8], "INT32"), "o": out([4, 8], "FP32")}
    with pytest.raises(FaultError, match=words):
        run(incore(shapes, f"o[:, :] = {body}"), values((4, 8), "FP32", 0), i, sevens((4, 8), "FP32"))
