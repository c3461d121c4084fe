"""Kernels that are there to be mutated: task ids in manual scopes, axes that pl.split halves, sums and predicates.

The workbook's stages have few of these. Every kernel takes x and gives y, both [ROWS, WIDTH] FP32 unless it says so.
"""

import pypto.language as pl

ROWS = 64
WIDTH = 64
TILE = 16
TILES = ROWS // TILE
PHASES = 3
DEPTH = 128


@pl.jit
def chain(x: pl.Tensor[[ROWS, WIDTH], pl.FP32], y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]]):
    """(2 x + 1)^2 - 2 x: four launches of a manual scope, the last of which waits for two others."""
    doubled = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    more = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    squared = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(TILES, name_hint="times2") as first:
            i = pl.get_block_idx() * TILE
            doubled = pl.assemble(doubled, pl.mul(pl.slice(x, [TILE, WIDTH], [i, 0]), 2.0), [i, 0])
        with pl.spmd(TILES, name_hint="add_one", deps=[first]) as second:
            j = pl.get_block_idx() * TILE
            more = pl.assemble(more, pl.add(pl.slice(doubled, [TILE, WIDTH], [j, 0]), 1.0), [j, 0])
        with pl.spmd(TILES, name_hint="square", deps=[second]) as third:
            k = pl.get_block_idx() * TILE
            tile = pl.slice(more, [TILE, WIDTH], [k, 0])
            squared = pl.assemble(squared, pl.mul(tile, tile), [k, 0])
        with pl.spmd(TILES, name_hint="subtract", deps=[third]) as _done:
            m = pl.get_block_idx() * TILE
            left = pl.slice(squared, [TILE, WIDTH], [m, 0])
            y = pl.assemble(y, pl.sub(left, pl.slice(doubled, [TILE, WIDTH], [m, 0])), [m, 0])
    return y


@pl.jit
def phases(x: pl.Tensor[[ROWS, WIDTH], pl.FP32], y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]]):
    """PHASES times x plus a hundredth of its column sums; every task of a phase waits for all of the one before."""
    steps = pl.create_tensor([(PHASES + 1) * ROWS, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy") as ready:
            steps[0:ROWS, :] = pl.mul(x[:, :], 1.0)
        for p in pl.range(PHASES):
            for b in pl.parallel(TILES):
                with pl.at(level=pl.Level.CORE_GROUP, name_hint="phase", deps=[ready]) as done:
                    sums = pl.mul(pl.col_sum(steps[p * ROWS : p * ROWS + ROWS, :]), 0.01)
                    mine = steps[p * ROWS + b * TILE : p * ROWS + b * TILE + TILE, :]
                    row = (p + 1) * ROWS + b * TILE
                    steps[row : row + TILE, :] = pl.col_expand_add(mine, sums)
                ready = done
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="out", deps=[ready]):
            y[:, :] = pl.mul(steps[PHASES * ROWS : PHASES * ROWS + ROWS, :], 1.0)
    return y


@pl.jit
def reused(x: pl.Tensor[[ROWS, WIDTH], pl.FP32], y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]]):
    """Twice x, a tile after the other through one tile of scratch, which waits for whoever reads it."""
    scratch = pl.create_tensor([TILE, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        free = pl.system.task_invalid()
        for i in pl.range(TILES):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="fill", deps=[free]) as full:
                scratch[:, :] = pl.mul(x[i * TILE : i * TILE + TILE, :], 2.0)
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="drain", deps=[full]) as read:
                y[i * TILE : i * TILE + TILE, :] = pl.mul(scratch[:, :], 1.0)
            free = read
    return y


@pl.jit
def slots(x: pl.Tensor[[ROWS, WIDTH], pl.FP32], y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]]):
    """y: each tile of 2 x less the tile after it (the first after the last), whose tasks' ids lie in an array."""
    doubled = pl.create_tensor([ROWS, WIDTH], dtype=pl.FP32)
    with pl.manual_scope():
        ids = pl.array.create(TILES, pl.TASK_ID)
        for i in pl.range(TILES):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="times2") as one:
                doubled[i * TILE : i * TILE + TILE, :] = pl.mul(x[i * TILE : i * TILE + TILE, :], 2.0)
            ids[i] = one
        for j in pl.range(TILES):
            after = (j + 1) % TILES
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="less", deps=[ids[j], ids[after]]) as _done:
                mine = doubled[j * TILE : j * TILE + TILE, :]
                y[j * TILE : j * TILE + TILE, :] = pl.sub(mine, doubled[after * TILE : after * TILE + TILE, :])
    return y


@pl.jit
def gated(
    n: pl.Tensor[[1, 8], pl.INT32], x: pl.Tensor[[ROWS, WIDTH], pl.FP32], y: pl.InOut[pl.Tensor[[ROWS, WIDTH], pl.FP32]]
):
    """y = 2 x where n + 1 is positive, else y as it was: the scheduler reads what a task has counted."""
    count = pl.create_tensor([1, 8], dtype=pl.INT32)
    with pl.manual_scope():
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero") as zeroed:
            count[:, :] = pl.full([1, 8], dtype=pl.INT32, value=0)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="count", deps=[zeroed]) as counted:
            count[:, :] = pl.add(n[:, :], 1)
        with pl.spmd(TILES, name_hint="expert", deps=[counted], predicate=(count[0, 0] > 0)) as _done:
            i = pl.get_block_idx() * TILE
            y[i : i + TILE, :] = pl.mul(x[i : i + TILE, :], 2.0)
    return y


@pl.jit
def summed(x: pl.Tensor[[ROWS, WIDTH], pl.FP32], y: pl.Out[pl.Tensor[[TILE, WIDTH], pl.FP32]]):
    """y [TILE, WIDTH]: the sum of the tiles of x, added up by blocks in the order in which they end."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero"):
        y = pl.assemble(y, pl.full([TILE, WIDTH], dtype=pl.FP32, value=0.0), [0, 0])
    for i in pl.spmd(TILES, name_hint="add"):
        tile = pl.slice(x, [TILE, WIDTH], [i * TILE, 0])
        y = pl.assemble(y, tile, [0, 0], atomic=pl.AtomicType.Add)
    return y


@pl.jit
def upper(
    a: pl.Tensor[[TILE, DEPTH], pl.BF16],
    b: pl.Tensor[[DEPTH, WIDTH], pl.BF16],
    y: pl.Out[pl.Tensor[[TILE, WIDTH], pl.FP32]],
):
    """y [TILE, WIDTH]: softmax of the rows of a @ b; the vector cores beside the cube take half of the rows each."""
    for _i in pl.spmd(1, name_hint="upper", optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        scores = pl.matmul(a[:, :], b[:, :], out_dtype=pl.FP32)
        exponentials = pl.exp(pl.row_expand_sub(scores, pl.row_max(scores)))
        y = pl.assemble(y, pl.row_expand_div(exponentials, pl.row_sum(exponentials)), [0, 0])
    return y


@pl.jit
def beside(
    a: pl.Tensor[[TILE, DEPTH], pl.BF16],
    b: pl.Tensor[[DEPTH, WIDTH], pl.BF16],
    y: pl.Out[pl.Tensor[[TILE, WIDTH], pl.FP32]],
):
    """y [TILE, WIDTH]: a @ b less the largest of each column; the vector cores take half of the columns each."""
    for _i in pl.spmd(1, name_hint="beside", optimizations=[pl.split(pl.SplitMode.LEFT_RIGHT)]):
        product = pl.matmul(a[:, :], b[:, :], out_dtype=pl.FP32)
        y = pl.assemble(y, pl.col_expand_sub(product, pl.col_max(product)), [0, 0])
    return y
