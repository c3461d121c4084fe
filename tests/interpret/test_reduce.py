"""Reductions along rows and columns, whole and partly valid, and the broadcasts that undo them."""

from __future__ import annotations

import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import (
    FLOATS,
    TORCH,
    columns,
    few,
    incore,
    out,
    padded,
    rows,
    run,
    same,
    seeds,
    sevens,
    taken,
    tensor,
    values,
    wrapped,
)

from helpers.errors import FaultError

FOLDS = ("sum", "max", "min", "prod", "argmax", "argmin")


def folded(name: str, x: torch.Tensor, axis: int, dtype: str) -> torch.Tensor:
    """The fold computed one element after the other, in double or INT64."""
    parts = [p.double() if dtype in FLOATS else p.long() for p in x.unbind(axis)]
    best, index = parts[0], torch.zeros_like(parts[0], dtype=torch.int32)
    for i, p in enumerate(parts[1:], 1):
        if name == "sum":
            best = best + p
        elif name == "prod":
            best = best * p
        else:
            take = p > best if name in ("max", "argmax") else p < best
            best, index = torch.where(take, p, best), torch.where(take, torch.tensor(i, dtype=torch.int32), index)
    if name.startswith("arg"):
        return index.unsqueeze(axis)
    return (best.to(TORCH[dtype]) if dtype in FLOATS else wrapped(best, dtype)).unsqueeze(axis)


@pytest.mark.parametrize("kind", ["row", "col"])
@pytest.mark.parametrize("name", FOLDS)
@few
@given(rows, columns, st.data(), seeds)
def test_fold(name: str, kind: str, r: int, c: int, data, seed: int):
    dtype = data.draw(st.sampled_from(taken(f"{kind}_{name}", [*FLOATS, "INT32", "INT16"])))
    axis = 1 if kind == "row" else 0
    r, c = padded(r, dtype), padded(c, dtype)
    valid = (data.draw(st.integers(1, r)), data.draw(st.integers(1, c)))
    low, high = (-50, 50) if name != "prod" else (0.5, 1.5) if dtype in FLOATS else (-3, 3)
    x = values((r, c), dtype, seed, low, high)
    result = "INT32" if name.startswith("arg") else dtype
    shape = (r, 1) if kind == "row" else (1, c)
    o = sevens(shape, result)
    source = incore(
        {"x": tensor((r, c), dtype), "o": out(shape, result)},
        f"t = pl.set_validshape(x, {valid[0]}, {valid[1]})\no[:, :] = pl.{kind}_{name}(t)",
    )
    run(source, x, o, on="a5")
    want = sevens(shape, result)
    part = folded(name, x[: valid[0], : valid[1]], axis, dtype)
    want[: part.shape[0], : part.shape[1]] = part
    if name in ("sum", "prod") and dtype in FLOATS:
        n, one, each = x.shape[axis], torch.finfo(o.dtype).eps, torch.finfo(torch.float32).eps
        if name == "sum":  # steps round in FP32, the result once in its own type; those of a column in that type
            each = one if axis == 0 else each
            rtol, atol = one, n * each * float(x.double().abs().sum(axis).max())
        else:  # each of n - 1 steps, and the reference once, rounds by half an eps at most
            rtol, atol = n * one / 2, 0.0
        torch.testing.assert_close(o, want, rtol=rtol, atol=atol)
    else:
        same(o, want)


def test_a_row_sum_rounds_once():
    """2048 and 1023 ones: each step in FP16 would stay at 2048."""
    x, o = torch.ones(16, 1024, dtype=torch.float16), sevens((16, 1), "FP16")
    x[:, 0] = 2048
    run(incore({"x": tensor((16, 1024), "FP16"), "o": out((16, 1), "FP16")}, "o[:, :] = pl.row_sum(x)"), x, o)
    assert (o == 3072).all()  # 3071 rounded


def column_sum(rows: list[float], dtype: str, chip: str, scratch: bool) -> float:
    """The sum of a column, each addition rounded."""

    def add(a: float, b: float) -> float:
        return torch.tensor(a + b, dtype=torch.float64).to(TORCH[dtype]).item()

    while scratch and len(rows) > 1:
        sums = [add(a, b) for a, b in zip(rows[::2], rows[1::2])]
        if len(rows) % 2:
            where = len(sums) - 1 if chip == "a5" else 0
            sums[where] = add(sums[where], rows[-1])
        rows = sums
    total, i = rows[0], 1
    while i < len(rows):
        two = chip == "a5" and i + 1 < len(rows)
        total = add(total, add(rows[i], rows[i + 1]) if two else rows[i])
        i += 1 + two
    return total


@pytest.mark.parametrize(("chip", "dtype"), [("a2a3", "FP16"), ("a5", "FP16"), ("a5", "BF16")])
@pytest.mark.parametrize("scratch", [False, True], ids=["in-turn", "in-pairs"])
@pytest.mark.parametrize("rows", [1, 2, 7, 8, 13, 32])
def test_a_column_sum_rounds_after_every_addition(chip: str, dtype: str, scratch: bool, rows: int):
    x = values((32, 16), dtype, rows, 0, 300)
    x[:, 0] = 1
    x[0, 0] = 2048 if dtype == "FP16" else 256
    o = sevens((1, 16), dtype)
    room = f", tmp_tile=pl.create_tile([32, 16], dtype=pl.{dtype}, target_memory=pl.Mem.Vec)" if scratch else ""
    body = f"""
        t = pl.load(x, [0, 0], [32, 16], valid_shape=[{rows}, 16])
        o = pl.store(pl.col_sum(t{room}), [0, 0], o)
    """
    run(incore({"x": tensor((32, 16), dtype), "o": out((1, 16), dtype)}, body), x, o, on=chip)
    want = [column_sum(x[:rows, c].tolist(), dtype, chip, scratch) for c in range(16)]
    same(o, torch.tensor([want]).to(TORCH[dtype]))


def test_column_sums_of_ones_beside_a_large_number():
    """2048 and 31 ones in FP16: one by one nothing is added to 2048, two by two they are."""
    x = torch.ones(32, 16, dtype=torch.float16)
    x[0] = 2048
    for chip, want in (("a2a3", 2048), ("a5", 2048 + 32)):
        o = sevens((1, 16), "FP16")
        run(
            incore({"x": tensor((32, 16), "FP16"), "o": out((1, 16), "FP16")}, "o[:, :] = pl.col_sum(x)"), x, o, on=chip
        )
        assert (o == want).all()


def test_blocks_that_sum_other_numbers_of_rows():
    source = """
        @pl.jit
        def k(x: pl.Tensor[[128, 16], pl.FP16], n: pl.Tensor[[16], pl.INT32], o: pl.Out[pl.Tensor[[8, 16], pl.FP16]]):
            for b in pl.spmd(8):
                m = pl.read(n, [b])
                t = pl.load(x, [b * 16, 0], [16, 16], valid_shape=[m, 16])
                room = pl.create_tile([16, 16], dtype=pl.FP16, target_memory=pl.Mem.Vec)
                o = pl.store(pl.col_sum(t, tmp_tile=room), [b, 0], o)
            return o
    """
    x, n = values((128, 16), "FP16", 1, 0, 300), torch.arange(9, 25, dtype=torch.int32) % 16 + 1
    o = sevens((8, 16), "FP16")
    run(source, x, n, o)
    want = [
        [column_sum(x[16 * b : 16 * b + n[b], c].tolist(), "FP16", "a2a3", True) for c in range(16)] for b in range(8)
    ]
    same(o, torch.tensor(want).half())


def test_fold_of_nothing():
    x, o = values((8, 8), "FP32", 0), sevens((8, 1), "FP32")
    source = incore(
        {"x": tensor((8, 8), "FP32"), "o": out((8, 1), "FP32")},
        "t = pl.set_validshape(x, 8, 0)\no[:, :] = pl.row_max(t)",
    )
    with pytest.raises(FaultError, match="empty valid shape"):
        run(source, x, o)
    same(o, sevens((8, 1), "FP32"))


EXPAND = {
    "add": lambda a, v: a + v,
    "sub": lambda a, v: a - v,
    "mul": lambda a, v: a * v,
    "div": lambda a, v: a / v,
    "max": lambda a, v: torch.where(a > v, a, v),
    "min": lambda a, v: torch.where(a < v, a, v),
    "expdif": lambda a, v: torch.exp(a - v),
}


@pytest.mark.parametrize("kind", ["row", "col"])
@pytest.mark.parametrize("name", EXPAND)
@few
@given(rows, columns, st.data(), seeds)
def test_expand_with(name: str, kind: str, r: int, c: int, data, seed: int):
    dtype = data.draw(st.sampled_from(taken(f"{kind}_expand_{name}", FLOATS)))
    r, c = padded(r, dtype), padded(c, dtype)
    shape = (r, 1) if kind == "row" else (1, c)
    a, v, o = values((r, c), dtype, seed, 1, 4), values(shape, dtype, seed + 1, 1, 4), sevens((r, c), dtype)
    source = incore(
        {"a": tensor((r, c), dtype), "v": tensor(shape, dtype), "o": out((r, c), dtype)},
        f"o[:, :] = pl.{kind}_expand_{name}(a, v)",
    )
    run(source, a, v, o, on="a5")
    want = EXPAND[name](a.double(), v.double()).to(TORCH[dtype])
    if name == "expdif":  # the difference is rounded before the exponential
        torch.testing.assert_close(o, want, rtol=8 * torch.finfo(o.dtype).eps, atol=1e-6)
    else:
        same(o, want)


@pytest.mark.parametrize("kind", ["row", "col"])
@few
@given(rows, columns, st.sampled_from(FLOATS), seeds)
def test_expand(kind: str, r: int, c: int, dtype: str, seed: int):
    r, c = padded(r, dtype), padded(c, dtype)
    shape = (r, 1) if kind == "row" else (1, c)
    a, v, o = values((r, c), dtype, seed), values(shape, dtype, seed + 1), sevens((r, c), dtype)
    source = incore(
        {"a": tensor((r, c), dtype), "v": tensor(shape, dtype), "o": out((r, c), dtype)},
        f"o[:, :] = pl.{kind}_expand(a, v)",
    )
    run(source, a, v, o)
    same(o, torch.stack([v[:, 0]] * c, 1) if kind == "row" else torch.stack([v[0]] * r))


@pytest.mark.parametrize(
    "body", ["pl.row_expand_mul(a, b)", "pl.col_expand_add(a, a)", "pl.row_expand_sub(a, w)", "pl.col_expand_max(a, u)"]
)
def test_vectors_that_do_not_fit(body: str):
    parameters = {
        "a": tensor((4, 8), "FP32"), "b": tensor((3, 1), "FP32"), "w": tensor((4, 1), "BF16"),
        "u": tensor((1, 7), "FP32"), "o": out((4, 8), "FP32"),
    }  # fmt: skip
    args = [values((4, 8), "FP32", 0), values((3, 1), "FP32", 0), values((4, 1), "BF16", 0), values((1, 7), "FP32", 0)]
    o = sevens((4, 8), "FP32")
    with pytest.raises(FaultError, match="expand"):
        run(incore(parameters, f"o[:, :] = {body}"), *args, o)
    same(o, sevens((4, 8), "FP32"))


@few
@given(rows, columns, st.integers(1, 3), st.sampled_from(["FP32", "FP16", "INT32", "INT16"]), seeds)
def test_row_expand_add_of_a_block(r: int, c: int, blocks: int, dtype: str, seed: int):
    """32 bytes a row, repeated along it (PTO-ISA, TROWEXPANDADD, mode 2)."""
    width, c = 32 // TORCH[dtype].itemsize, padded(c, dtype)
    x, v, o = (values((blocks * r, n), dtype, seed + n) for n in (c, width, c))
    body = f"""
    t = pl.load(x, [g * {r}, 0], [{r}, {c}])
    u = pl.load(v, [g * {r}, 0], [{r}, {width}])
    o = pl.store(pl.row_expand_add(t, u), [g * {r}, 0], o)
    """
    head = ", ".join(f"{n}: {tensor(t.shape, dtype)}" for n, t in (("x", x), ("v", v)))
    lines = textwrap.indent(textwrap.dedent(body).strip(), "        ")
    run(
        f"@pl.jit\ndef k({head}, o: {out(o.shape, dtype)}):\n    for g in pl.spmd({blocks}):\n{lines}\n    return o",
        x,
        v,
        o,
    )
    same(o, x + v[:, torch.arange(c) % width])


@few
@given(rows, columns, seeds)
def test_a_column_beside_more_axes(r: int, c: int, seed: int):
    """The operand to repeat may leave out axes of extent 1 in front."""
    r, c = padded(r, "FP32"), padded(c, "FP32")
    x, v, o = values((1, 1, r, c), "FP32", seed), values((r, 1), "FP32", seed + 1), sevens((1, 1, r, c), "FP32")
    parameters = {"x": tensor(x.shape, "FP32"), "v": tensor(v.shape, "FP32"), "o": out(o.shape, "FP32")}
    run(incore(parameters, "o[:, :, :, :] = pl.row_expand_mul(x, v)"), x, v, o)
    same(o, x * v)
