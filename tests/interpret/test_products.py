"""Products of a K-loop are worked out as one, in pieces, when they are read: nothing of that shows in the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few, kernel, run, same, values
from test_lanes import groups, one_by_one

from helpers.interpret.values import products


@contextmanager
def pieces(size: int, threads: int) -> Iterator[None]:
    """Products of more than `size` elements in pieces, on so many threads."""
    names = ("PIECE", "SHARED", "COLUMNS", "_threads")
    before = [getattr(products, n) for n in names]
    for n, v in zip(names, (size, size, 8, threads)):
        setattr(products, n, v)
    try:
        yield
    finally:
        for n, v in zip(names, before):
            setattr(products, n, v)


def loop(rows: int, columns: int, step: int, turns: int, turned: bool, dtype: str, blocks: int) -> str:
    w = [columns * blocks, step * turns] if turned else [step * turns, columns * blocks]
    at = (lambda k: f"[c, {k}]") if turned else (lambda k: f"[{k}, c]")
    size = [columns, step] if turned else [step, columns]
    return f"""
@pl.jit
def k(
    x: pl.Tensor[[{rows}, {step * turns}], pl.{dtype}],
    w: pl.Tensor[{w}, pl.{dtype}],
    o: pl.Out[pl.Tensor[[{rows}, {columns * blocks}], pl.FP32]],
):
    for b in pl.spmd({blocks}):
        c = b * {columns}
        acc = pl.matmul(x[:, 0:{step}], pl.slice(w, {size}, {at(0)}), out_dtype=pl.FP32, b_trans={turned})
        for i in pl.range(1, {turns}):
            k0 = i * {step}
            a = pl.slice(x, [{rows}, {step}], [0, k0])
            acc = pl.matmul_acc(acc, a, pl.slice(w, {size}, {at("k0")}), b_trans={turned})
        o[:, c : c + {columns}] = acc
    return o
"""


@few
@given(
    st.sampled_from([16, 48]), st.sampled_from([16, 32]), st.sampled_from([16, 48]), st.integers(2, 4), st.booleans(),
    st.sampled_from(["BF16", "FP16", "FP32"]), st.integers(1, 5), st.sampled_from([256, 1 << 18]), st.integers(0, 99),
)  # fmt: skip
def test_k_loops(rows, columns, step, turns, turned, dtype, blocks, size, seed):
    k = kernel(loop(rows, columns, step, turns, turned, dtype, blocks))
    x = values((rows, step * turns), dtype, seed)
    w = values((columns * blocks, step * turns) if turned else (step * turns, columns * blocks), dtype, seed + 1)
    out = [torch.zeros(rows, columns * blocks) for _ in range(3)]
    with pieces(size, 1):
        run(k, x, w, out[0])
    with pieces(size, 3):
        run(k, x, w, out[1])
        with one_by_one():
            run(k, x, w, out[2])
    same(out[0], out[1])
    same(out[0], out[2])
    want = x.double() @ (w.double().T if turned else w.double())
    torch.testing.assert_close(out[0].double(), want, rtol=1e-5, atol=1e-4 * float(want.abs().max()))


def test_blocks_of_a_large_product_run_together():
    """Tiles of weights that are too large for a batch of copies: the first alone, then all others."""
    k = kernel(loop(16, 256, 512, 2, True, "BF16", 8))
    x, w, o = values((16, 1024), "BF16", 0), values((2048, 1024), "BF16", 1), torch.zeros(16, 2048)
    assert groups(run(k, x, w, o)) == [1, 7]


CASES = {
    # weights that change after they were loaded; the tile keeps what it held
    "overwritten": """
        acc = pl.matmul(x[:, 0:16], w[0:16, :], out_dtype=pl.FP32)
        acc = pl.matmul_acc(acc, x[:, 16:32], w[16:32, :])
        w[0:32, :] = pl.cast(pl.full([32, 16], dtype=pl.FP32, value=7.0), target_type=pl.BF16)
        o[:, :] = acc
    """,
    # an accumulator that is read on its way
    "read twice": """
        acc = pl.matmul(x[:, 0:16], w[0:16, :], out_dtype=pl.FP32)
        o[:, :] = acc
        acc = pl.matmul_acc(acc, x[:, 16:32], w[16:32, :])
        o[:, :] = acc
    """,
    # steps in another order than memory, and one twice
    "any order": """
        acc = pl.matmul(x[:, 16:32], w[16:32, :], out_dtype=pl.FP32)
        acc = pl.matmul_acc(acc, x[:, 0:16], w[0:16, :])
        o[:, :] = acc
    """,
    # the operands do not go on side by side
    "apart": """
        acc = pl.matmul(x[:, 0:16], w[16:32, :], out_dtype=pl.FP32)
        acc = pl.matmul_acc(acc, x[:, 16:32], w[0:16, :])
        o[:, :] = acc
    """,
}


@pytest.mark.parametrize("case", CASES)
def test_what_stands_between_the_steps(case: str):
    k = kernel(
        "@pl.jit\ndef k(x: pl.Tensor[[16, 32], pl.BF16], w: pl.InOut[pl.Tensor[[32, 16], pl.BF16]],"
        " o: pl.Out[pl.Tensor[[16, 16], pl.FP32]]):\n    with pl.at(level=pl.Level.CORE_GROUP):"
        f"{CASES[case]}\n    return o, w\n"
    )
    x, w, o = values((16, 32), "BF16", 0), values((32, 16), "BF16", 1), torch.zeros(16, 16)
    a, b = x.double(), w.double()
    want = a[:, :16] @ b[16:] + a[:, 16:] @ b[:16] if case == "apart" else a @ b
    run(k, x, w, o)
    torch.testing.assert_close(o.double(), want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))
    assert (w == 7).all() == (case == "overwritten")


def test_a_fault_in_a_thread_is_not_lost():
    def piece(b: int, c: int) -> None:
        if c == 3:
            raise ValueError("piece 3")

    with pieces(1, 4), pytest.raises(ValueError, match="piece 3"):
        products._share(piece, [(0, c) for c in range(8)], True)
