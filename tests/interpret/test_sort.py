"""sort32 and mrgsort against sorts of Python tuples and a merge written out step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few, incore, out, run, same, seeds, sevens, tensor, values

from helpers.errors import FaultError


def some(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Values with ties."""
    return (values(shape, "FP32", seed) / 5).round()


def pairs(lists: list[list[tuple[float, int]]]) -> torch.Tensor:
    """Rows of (value, index) as they lie in an FP32 tile."""
    raw = np.array(lists, dtype=[("v", "<f4"), ("i", "<u4")])
    return torch.from_numpy(raw.view("<f4").reshape(len(lists), -1).copy())


def as_pairs(row: torch.Tensor) -> list[tuple[float, int]]:
    raw = row.numpy().view([("v", "<f4"), ("i", "<u4")])
    return [(float(v), int(i)) for v, i in raw]


def merged(lists: list[list[tuple[float, int]]], stop: bool = False) -> list[tuple[float, int]]:
    """The k-way merge of the device: the largest head, the first list's among equals."""
    heads, taken = [0] * len(lists), []
    while any(h < len(x) for h, x in zip(heads, lists)):
        best = None
        for n, (h, x) in enumerate(zip(heads, lists)):
            if h < len(x) and (best is None or x[h][0] > lists[best][heads[best]][0]):
                best = n
        taken.append(lists[best][heads[best]])
        heads[best] += 1
        if stop and heads[best] == len(lists[best]):
            break
    return taken


@few
@given(st.integers(1, 4), st.integers(1, 3), seeds)
def test_sort32(r: int, runs: int, seed: int):
    c = 32 * runs
    x, i, o = some((3 * r, c), seed), torch.randperm(3 * r * c).view(3 * r, c), sevens((3 * r, 2 * c), "FP32")
    head = f"x: {tensor(x.shape, 'FP32')}, i: {tensor(i.shape, 'UINT32')}, o: {out(o.shape, 'FP32')}"
    rows = f"b * {r} : b * {r} + {r}, :"
    line = f"o[{rows}] = pl.sort32(x[{rows}], i[{rows}])"
    run(f"@pl.jit\ndef k({head}):\n    for b in pl.spmd(3):\n        {line}\n", x, i, o)
    want = []
    for vs, js in zip(x.tolist(), i.tolist()):
        row = []
        for n in range(0, c, 32):
            row += sorted(zip(vs[n : n + 32], js[n : n + 32]), key=lambda p: (-p[0], p[1]))
        want.append(row)
    same(o.view(torch.int32), pairs(want).view(torch.int32))


@few
@given(st.booleans(), st.sampled_from((64, 128, 256)), st.integers(1, 2), seeds)
def test_runs_of_one_tile(ordered: bool, block: int, groups: int, seed: int):
    """Four runs at a time, whether or not they are sorted."""
    length = block // 2
    n = length * 4 * groups
    x = some((1, n), seed).view(-1, length)
    x = (x.sort(-1, descending=True).values if ordered else x).flatten().tolist()
    row = list(zip(x, range(n)))
    s, o = pairs([row]), sevens((1, 2 * n), "FP32")
    body = f"o[:, :] = pl.mrgsort(s, block_len={block})"
    run(incore({"s": tensor(s.shape, "FP32"), "o": out(o.shape, "FP32")}, body), s, o)
    want = []
    for g in range(0, n, 4 * length):
        want += merged([row[g + k * length : g + (k + 1) * length] for k in range(4)])
    same(o.view(torch.int32), pairs([want]).view(torch.int32))


@few
@given(st.lists(st.integers(1, 3), min_size=2, max_size=4), st.booleans(), seeds)
def test_several_tiles(widths: list[int], stop: bool, seed: int):
    """Lists of their own lengths, from three blocks at once."""
    args, head, lists = [], [], []
    for n, w in enumerate(widths):
        v = some((3, 8 * w), seed + n).sort(-1, descending=True).values
        lists.append([[(float(x), 1000 * n + k) for k, x in enumerate(row)] for row in v])
        args.append(pairs(lists[-1]))
        head.append(f"s{n}: {tensor(args[-1].shape, 'FP32')}")
    o = sevens((3, 16 * sum(widths)), "FP32")
    sources = ", ".join(f"s{n}[b : b + 1, :]" for n in range(len(widths)))
    run(
        f"@pl.jit\ndef k({', '.join(head)}, o: {out(o.shape, 'FP32')}):\n    for b in pl.spmd(3):\n"
        f"        o[b : b + 1, :] = pl.mrgsort({sources}, exhausted={stop})\n", *args, o,
    )  # fmt: skip
    for row in range(3):
        want = merged([x[row] for x in lists], stop)
        assert as_pairs(o[row])[: len(want)] == want
        assert all(np.isnan(v) for v, _ in as_pairs(o[row])[len(want) :])


def test_the_largest_of_a_row():
    """The use: sorted runs, merges of four, the first pairs."""
    x, v, i = torch.randperm(512).float().view(1, 512), sevens((1, 16), "FP32"), sevens((1, 16), "INT32")
    body = """
s = pl.sort32(x, pl.arange(0, [1, 512], dtype=pl.UINT32))
s = pl.mrgsort(s, block_len=64)
s = pl.mrgsort(s, block_len=256)
top = s[:, 0:32]
v[:, :] = pl.gather(top, mask_pattern=pl.tile.MaskPattern.P0101)
i[:, :] = pl.gather(top, mask_pattern=pl.tile.MaskPattern.P1010, output_dtype=pl.INT32)
"""
    run(incore({"x": tensor([1, 512], "FP32"), "v": out([1, 16], "FP32"), "i": out([1, 16], "INT32")}, body), x, v, i)
    best = torch.topk(x, 16)
    same(v, best.values)
    same(i, best.indices.int())


def test_part_of_a_run():
    x, o = some((1, 64), 3), sevens((1, 128), "FP32")
    body = """
t = pl.slice(x, [1, 64], [0, 0], valid_shape=[1, 40])
o[:, :] = pl.sort32(t, pl.arange(0, [1, 64], dtype=pl.UINT32))
"""
    run(incore({"x": tensor([1, 64], "FP32"), "o": out([1, 128], "FP32")}, body), x, o)
    vs = x[0].tolist()
    want = [p for n, m in ((0, 32), (32, 40)) for p in sorted(zip(vs[n:m], range(n, m)), key=lambda p: (-p[0], p[1]))]
    assert as_pairs(o[0])[:40] == want
    assert (o[0, 80:] == 7).all()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pl.sort32(x, pl.cast(x, pl.INT32))", "UINT32"),
        ("pl.sort32(pl.cast(x, pl.FP16), i)", "FP16"),
        ("pl.sort32(pl.slice(x, [1, 40], [0, 0]), pl.arange(0, [1, 40], dtype=pl.UINT32))", "multiple of 32"),
        ("pl.mrgsort(x, block_len=48)", "multiple of 64"),
        ("pl.mrgsort(x, block_len=64)", "whole groups"),
        ("pl.mrgsort(x)", "block_len"),
        ("pl.mrgsort(x, x, block_len=64)", "block_len"),
        ("pl.mrgsort(pl.reshape(x, [2, 64]), block_len=64)", "one row"),
    ],
)
def test_faults(body: str, words: str):
    source = f"i = pl.arange(0, [1, 128], dtype=pl.UINT32)\nt = {body}\no[:, :] = pl.mul(x, 2.0)"
    shapes = {"x": tensor([1, 128], "FP32"), "o": out([1, 128], "FP32")}
    with pytest.raises(FaultError, match=words):
        run(incore(shapes, source), some((1, 128), 0), sevens((1, 128), "FP32"))
