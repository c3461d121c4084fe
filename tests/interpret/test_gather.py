"""Gathers against torch and NumPy indexing: by index, by pattern, by comparison, of rows and of pages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import TORCH, few, incore, kernel, out, padded, run, same, seeds, sevens, tensor, values

from helpers.chips import chip
from helpers.errors import FaultError, KernelError
from helpers.interpret.call import interpret

MOVED = ("FP32", "FP16", "INT32", "INT16")
PATTERNS = {
    "P0101": slice(0, None, 2), "P1010": slice(1, None, 2), "P0001": slice(0, None, 4), "P0010": slice(1, None, 4),
    "P0100": slice(2, None, 4), "P1000": slice(3, None, 4), "P1111": slice(None),
}  # fmt: skip


def blocks(parameters: dict[str, str], body: str) -> str:
    """A kernel whose `body` is one block `b` of three."""
    lines = "\n".join("        " + line for line in body.strip().split("\n"))
    head = ", ".join(f"{n}: {t}" for n, t in parameters.items())
    return f"@pl.jit\ndef k({head}):\n    for b in pl.spmd(3):\n{lines}\n"


def indices(shape: tuple[int, ...], below: int, seed: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@few
@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), st.sampled_from(MOVED), seeds)
def test_by_index_in_the_last_axis(r: int, c: int, k: int, dtype: str, seed: int):
    c, k = padded(c, dtype), padded(k, dtype, "INT32")
    x, i, o = values((3 * r, c), dtype, seed), indices((3 * r, k), c, seed), sevens((3 * r, k), dtype)
    shapes = {"x": tensor(x.shape, dtype), "i": tensor(i.shape, "INT32"), "o": out(o.shape, dtype)}
    rows = f"b * {r} : b * {r} + {r}, :"
    run(blocks(shapes, f"o[{rows}] = pl.gather(x[{rows}], -1, i[{rows}])"), x, i, o)
    same(o, torch.from_numpy(np.take_along_axis(x.numpy(), i.numpy().astype(np.int64), 1)))


@few
@given(st.integers(1, 5), st.integers(1, 8), st.integers(1, 5), st.sampled_from(MOVED), seeds)
def test_by_index_in_the_first_axis(r: int, c: int, k: int, dtype: str, seed: int):
    c = padded(c, dtype, "INT32")
    x, i, o = values((r, c), dtype, seed), indices((min(k, r), c), r, seed), sevens((min(k, r), c), dtype)
    shapes = {"x": tensor(x.shape, dtype), "i": tensor(i.shape, "INT32"), "o": out(o.shape, dtype)}
    run(incore(shapes, "o[:, :] = pl.tensor.gather(x, dim=0, index=i)"), x, i, o)
    same(o, torch.from_numpy(np.take_along_axis(x.numpy(), i.numpy().astype(np.int64), 0)))


@few
@given(st.integers(1, 5), st.integers(1, 8), st.integers(1, 9), st.sampled_from(MOVED), seeds)
def test_tile_gather_counts_elements(r: int, c: int, k: int, dtype: str, seed: int):
    c, k = padded(c, dtype), padded(k, dtype, "INT32")
    x, i, o = values((r, c), dtype, seed), indices((3, k), r * c, seed), sevens((3, k), dtype)
    shapes = {"x": tensor(x.shape, dtype), "i": tensor(i.shape, "INT32"), "o": out(o.shape, dtype)}
    body = f"""
t = pl.load(x, [0, 0], [{r}, {c}])
j = pl.load(i, [b, 0], [1, {k}])
pl.store(pl.tile.gather(t, j, pl.create_tile([1, {k}], pl.INT32)), [b, 0], o)
"""
    run(blocks(shapes, body), x, i, o)
    same(o, x.flatten()[i.long()])


@pytest.mark.parametrize("pattern", PATTERNS)
@few
@given(st.integers(1, 5), st.integers(1, 8), st.sampled_from(MOVED), seeds)
def test_by_pattern(pattern: str, r: int, groups: int, dtype: str, seed: int):
    x = values((3 * r, 4 * padded(groups, dtype)), dtype, seed)
    want = x[:, PATTERNS[pattern]]
    o = sevens(tuple(want.shape), dtype)
    rows = f"b * {r} : b * {r} + {r}, :"
    body = f"o[{rows}] = pl.gather(x[{rows}], mask_pattern=pl.tile.MaskPattern.{pattern})"
    run(blocks({"x": tensor(x.shape, dtype), "o": out(o.shape, dtype)}, body), x, o)
    same(o, want)


def test_by_pattern_as_another_type():
    x, o = values((4, 16), "FP32", 0), sevens((4, 8), "INT32")
    body = "o[:, :] = pl.gather(x, mask_pattern=2, output_dtype=pl.INT32)"
    run(incore({"x": tensor(x.shape, "FP32"), "o": out(o.shape, "INT32")}, body), x, o)
    same(o, x.view(torch.int32)[:, 1::2])


@few
@given(st.integers(1, 5), st.integers(1, 30), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3), seeds)
def test_by_comparison(r: int, c: int, width: int, code: int, offset: int, seed: int):
    r, c, width = padded(r, "INT32"), padded(c, "INT32"), padded(width, "INT32")
    x = indices((r, c), 4, seed)
    o, n, v = sevens((r, width), "INT32"), sevens((1, r), "INT32"), torch.tensor([2], dtype=torch.int32)
    shapes = {name: tensor(t.shape, "INT32") for name, t in {"x": x, "v": v}.items()}
    shapes |= {name: out(t.shape, "INT32") for name, t in {"o": o, "n": n}.items()}
    body = f"""
d, t = pl.gather(x, kvalue=pl.read(v, [0]), cmp_mode={code}, out_cols={width}, offset={offset})
o[:, :] = d
n[:, :] = t
"""
    run(incore(shapes, body), x, v, o, n)
    fn = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)[code]
    for row in range(r):
        hits = np.flatnonzero(fn(x[row].numpy(), 2))
        assert n[0, row] == len(hits)
        assert o[row, : len(hits[:width])].tolist() == (hits[:width] + offset).tolist()


@few
@given(st.integers(1, 4), st.sampled_from(("FP32", "INT16", "UINT8")), seeds)
def test_blocks_of_bytes(r: int, dtype: str, seed: int):
    per = 32 // TORCH[dtype].itemsize
    x, i = values((6, per), dtype, seed), indices((r, 8), 6, seed, torch.int64)
    o = sevens((r, 8 * per), dtype)
    shapes = {"x": tensor(x.shape, dtype), "i": tensor(i.shape, "UINT32"), "o": out(o.shape, dtype)}
    body = f"""
t = pl.load(x, [0, 0], [6, {per}])
j = pl.load(i, [0, 0], [{r}, 8])
pl.store(pl.gatherb(t, j), [0, 0], o)
"""
    run(incore(shapes, body), x, i * 32, o)
    same(o, x[i].reshape(r, -1))


@few
@given(st.integers(1, 6), st.booleans(), seeds)
def test_rows(n: int, turned: bool, seed: int):
    """A tile filled row by row from places that differ from block to block."""
    n = padded(n, "BF16")
    x, i, e = values((9, 16), "BF16", seed), indices((3 * n,), 9, seed), torch.eye(16).bfloat16()
    o = sevens((48, n) if turned else (3 * n, 16), "FP32")
    shapes = {
        "x": tensor(x.shape, "BF16"), "i": tensor(i.shape, "INT32"), "e": tensor(e.shape, "BF16"),
        "o": out(o.shape, "FP32"),
    }  # fmt: skip
    size, to, last = ([16, n], "[0, r]", "b * 16, 0") if turned else ([n, 16], "[r, 0]", f"b * {n}, 0")
    body = f"""
acc = pl.create_l1({size}, pl.BF16)
for r in pl.range({n}):
    acc = pl.gather_row(acc, x, {to}, [pl.read(i, [b * {n} + r]), 0], [1, 16], {turned})
one = pl.load(e, [0, 0], [16, 16], target_memory=pl.Mem.Mat)
pl.store(pl.matmul({"one, acc" if turned else "acc, one"}), [{last}], o)
"""
    run(blocks(shapes, body), x, i, e, o)
    picked = x[i.long()].float()
    same(o, torch.cat([picked[b * n : b * n + n].t() for b in range(3)]) if turned else picked)


def test_rows_in_part():
    x, o = values((9, 8), "FP32", 0), sevens((4, 8), "FP32")
    shapes = {"x": tensor(x.shape, "FP32"), "n": "pl.Scalar[pl.INT32]", "o": out(o.shape, "FP32")}
    body = """
acc = pl.full([4, 8], dtype=pl.FP32, value=0.0)
acc = pl.gather_row(acc, x, [1, 0], [2, 0], [4, 8], valid_shape=[n, 8])
o[:, :] = acc
"""
    run(incore(shapes, body), x, 2, o)
    want = torch.zeros(4, 8)
    want[1:3] = x[2:4]
    same(o, want)


@few
@given(st.integers(1, 12), st.booleans(), seeds)
def test_pages(n: int, turned: bool, seed: int):
    pool, i = values((4 * 8, 16), "FP16", seed), indices((n,), 24, seed)
    pages = torch.tensor([3, 0, 2], dtype=torch.int32)
    o = sevens((8, n) if turned else (n, 8), "FP16")
    shapes = {
        "p": tensor(pool.shape, "FP16"), "i": tensor(i.shape, "INT32"), "t": tensor(pages.shape, "INT32"),
        "o": out(o.shape, "FP16"),
    }  # fmt: skip
    window = f"0:8, 0:{n}" if turned else f"0:{n}, :"
    body = f"g = pl.paged_gather(p, i, t, 8, 8, 16, col_off=4, is_trans={turned})\no[:, :] = g[{window}]"
    run(incore(shapes, body), pool, i, pages, o)
    want = pool[pages[i.long() // 8].long() * 8 + i.long() % 8, 4:12]
    same(o, want.t() if turned else want)


OUTSIDE = {"clamp": lambda i, n: i.clamp(0, n - 1), "wrap": lambda i, n: i % n, "zero": lambda i, n: i}


@pytest.mark.parametrize("policy", OUTSIDE)
@pytest.mark.parametrize("mode", ["row", "elem"])
def test_global_memory(mode: str, policy: str):
    x, i = values((5, 8), "FP32", 1), torch.tensor([[3, 7, 0, 44, 4, 39, 12, 5]], dtype=torch.int32)
    n = 5 if mode == "row" else 40
    o = sevens((8, 8) if mode == "row" else (1, 8), "FP32")
    shapes = {"x": tensor(x.shape, "FP32"), "i": tensor(i.shape, "INT32"), "o": out(o.shape, "FP32")}
    gathered = f'pl.mgather(x, j, coalesce="{mode}", gather_oob="{policy}")'
    body = f"j = pl.load(i, [0, 0], [1, 8])\npl.store({gathered}, [0, 0], o)"
    run(incore(shapes, body), x, i, o)
    table = x if mode == "row" else x.flatten()
    table = torch.cat([table, torch.zeros(60, *table.shape[1:])]) if policy == "zero" else table
    same(o, table[OUTSIDE[policy](i[0].long(), n)].view(o.shape))


X, I, O = tensor([4, 8], "FP32"), tensor([4, 8], "INT32"), out([4, 8], "FP32")  # noqa: E741


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("o[:, :] = pl.gather(x, -1, i)", r"index 8 at \[2, 3\].*8"),
        ("o[:, :] = pl.gather(x, -1, x)", "INT32"),
        ("o[:, :] = pl.gather(x, 2, i)", "axis 2"),
        ("o[:, :] = pl.gather(x)", "dim="),
        ("o[:, :] = pl.gather(x, mask_pattern=9)", "9"),
        ("o[:, :] = pl.gather(pl.cast(pl.concat(x, x), pl.BF16), -1, i)", "BF16"),
        ("o[:, :] = pl.gather_row(x, x, [0, 0], [0, 0], [1, 8])", "from a tensor into a tile"),
        ("t = pl.create_l1([4, 8], pl.FP32)\no[:, :] = pl.gather_row(t, x, [4, 0], [0, 0], [1, 8])", "outside"),
        ("pl.store(pl.mgather(x, pl.load(i, [2, 0], [1, 8])), [0, 0], o)", "index 8"),
    ],
)
def test_faults(body: str, words: str):
    i = torch.zeros(4, 8, dtype=torch.int32)
    i[2, 3] = 8
    with pytest.raises((FaultError, KernelError), match=words):
        run(incore({"x": X, "i": I, "o": O}, body), values((4, 8), "FP32", 0), i, sevens((4, 8), "FP32"))


def test_a_fault_names_the_block():
    """Blocks run together; the report is that of the one block whose index is wrong."""
    i = torch.zeros(3, 8, dtype=torch.int32)
    i[1, 2] = -1
    body = "o[b : b + 1, :] = pl.gather(x[b : b + 1, :], -1, i[b : b + 1, :])"
    source = blocks({"x": tensor([3, 8], "FP32"), "i": tensor([3, 8], "INT32"), "o": out([3, 8], "FP32")}, body)
    with pytest.raises(FaultError, match=r"index -1 at \[0, 2\].*block 1"):
        run(source, values((3, 8), "FP32", 0), i, sevens((3, 8), "FP32"))


def test_only_valid_indices_count():
    i = torch.full((4, 8), 99, dtype=torch.int32)
    i[:2, :3] = 5
    x, o = values((4, 8), "FP32", 0), sevens((4, 8), "FP32")
    body = "j = pl.slice(i, [4, 8], [0, 0], valid_shape=[2, 3])\no[:, :] = pl.gather(x, -1, j)"
    run(incore({"x": X, "i": I, "o": O}, body), x, i, o)
    want = sevens((4, 8), "FP32")
    want[:2, :3] = x[:2, 5:6]
    same(o, want)


def test_dry_run_needs_no_indices():
    source = incore({"x": X, "i": I, "o": O}, "o[:, :] = pl.gather(x, -1, i)")
    args = [values((4, 8), "FP32", 0), torch.full((4, 8), 99, dtype=torch.int32), sevens((4, 8), "FP32")]
    trace = interpret(kernel(source), args, "a2a3interp", chip("a2a3"), dry=True)
    assert trace.tasks == 1
    same(args[2], sevens((4, 8), "FP32"))
