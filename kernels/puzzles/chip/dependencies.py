"""Puzzle dependencies: launches that say what they wait for."""

import pypto.language as pl

ROWS = 128
WIDTH = 64
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """y = exp(x) + x^2, in three launches of a manual scope."""
    powers = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    squares = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(ROWS // TILE, name_hint="powers") as _powers_made:
            i = pl.get_block_idx() * TILE
            powers = pl.assemble(powers, pl.exp(pl.slice(x, [TILE, WIDTH], [i, 0])), [i, 0])
        with pl.spmd(ROWS // TILE, name_hint="squares") as _squares_made:
            j = pl.get_block_idx() * TILE
            tile = pl.slice(x, [TILE, WIDTH], [j, 0])
            squares = pl.assemble(squares, pl.mul(tile, tile), [j, 0])
        with pl.spmd(ROWS // TILE, name_hint="sum") as _done:
            k = pl.get_block_idx() * TILE
            left = pl.slice(powers, [TILE, WIDTH], [k, 0])
            y = pl.assemble(y, pl.add(left, pl.slice(squares, [TILE, WIDTH], [k, 0])), [k, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """y = exp(x) + x^2, in three launches of a manual scope."""
    powers = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    squares = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(ROWS // TILE, name_hint="powers") as powers_made:
            i = pl.get_block_idx() * TILE
            powers = pl.assemble(powers, pl.exp(pl.slice(x, [TILE, WIDTH], [i, 0])), [i, 0])
        with pl.spmd(ROWS // TILE, name_hint="squares") as squares_made:
            j = pl.get_block_idx() * TILE
            tile = pl.slice(x, [TILE, WIDTH], [j, 0])
            squares = pl.assemble(squares, pl.mul(tile, tile), [j, 0])
        with pl.spmd(ROWS // TILE, name_hint="sum", deps=[powers_made, squares_made]) as _done:
            k = pl.get_block_idx() * TILE
            left = pl.slice(powers, [TILE, WIDTH], [k, 0])
            y = pl.assemble(y, pl.add(left, pl.slice(squares, [TILE, WIDTH], [k, 0])), [k, 0])
    return y


@pl.jit
def wrong_one_of_two(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """The sum waits for the launch before it, and not for the one before that."""
    powers = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    squares = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(ROWS // TILE, name_hint="powers") as _powers_made:
            i = pl.get_block_idx() * TILE
            powers = pl.assemble(powers, pl.exp(pl.slice(x, [TILE, WIDTH], [i, 0])), [i, 0])
        with pl.spmd(ROWS // TILE, name_hint="squares") as squares_made:
            j = pl.get_block_idx() * TILE
            tile = pl.slice(x, [TILE, WIDTH], [j, 0])
            squares = pl.assemble(squares, pl.mul(tile, tile), [j, 0])
        with pl.spmd(ROWS // TILE, name_hint="sum", deps=[squares_made]) as _done:
            k = pl.get_block_idx() * TILE
            left = pl.slice(powers, [TILE, WIDTH], [k, 0])
            y = pl.assemble(y, pl.add(left, pl.slice(squares, [TILE, WIDTH], [k, 0])), [k, 0])
    return y


@pl.jit
def wrong_chain(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """One after the other: right, and the squares wait for nothing that they need."""
    powers = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    squares = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(ROWS // TILE, name_hint="powers") as powers_made:
            i = pl.get_block_idx() * TILE
            powers = pl.assemble(powers, pl.exp(pl.slice(x, [TILE, WIDTH], [i, 0])), [i, 0])
        with pl.spmd(ROWS // TILE, name_hint="squares", deps=[powers_made]) as squares_made:
            j = pl.get_block_idx() * TILE
            tile = pl.slice(x, [TILE, WIDTH], [j, 0])
            squares = pl.assemble(squares, pl.mul(tile, tile), [j, 0])
        with pl.spmd(ROWS // TILE, name_hint="sum", deps=[squares_made]) as _done:
            k = pl.get_block_idx() * TILE
            left = pl.slice(powers, [TILE, WIDTH], [k, 0])
            y = pl.assemble(y, pl.add(left, pl.slice(squares, [TILE, WIDTH], [k, 0])), [k, 0])
    return y
