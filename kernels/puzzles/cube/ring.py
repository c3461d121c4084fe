"""Puzzle ring: scores of many tiles, from the cube to the vector cores, in one task."""

import pypto.language as pl

KEYS_DYN = pl.dynamic("KEYS_DYN")
M = 16
DIM = 128
TILE = 128


@pl.jit
def stub(
    q: pl.Tensor[[M, DIM], pl.BF16],
    k: pl.Tensor[[KEYS_DYN, DIM], pl.BF16],
    w: pl.Out[pl.Tensor[[M, KEYS_DYN], pl.FP32]],
):
    """w = exp(q @ k^T), by way of scores in global memory."""
    keys = pl.tensor.dim(k, 0)
    scores = pl.create_tensor([M, keys], dtype=pl.FP32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="scores"):
        query = pl.slice(q, [M, DIM], [0, 0])
        for t in pl.pipeline(keys // TILE, stage=2):
            key = pl.slice(k, [TILE, DIM], [t * TILE, 0])
            scores = pl.assemble(scores, pl.matmul(query, key, out_dtype=pl.FP32, b_trans=True), [0, t * TILE])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="weights"):
        for t in pl.pipeline(keys // TILE, stage=2):
            w = pl.assemble(w, pl.exp(pl.slice(scores, [M, TILE], [0, t * TILE])), [0, t * TILE])
    return w


@pl.jit
def solution(
    q: pl.Tensor[[M, DIM], pl.BF16],
    k: pl.Tensor[[KEYS_DYN, DIM], pl.BF16],
    w: pl.Out[pl.Tensor[[M, KEYS_DYN], pl.FP32]],
):
    """w = exp(q @ k^T), scores handed over tile by tile."""
    keys = pl.tensor.dim(k, 0)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="weights"):
        query = pl.slice(q, [M, DIM], [0, 0])
        for t in pl.pipeline(keys // TILE, stage=2):
            key = pl.slice(k, [TILE, DIM], [t * TILE, 0])
            scores = pl.matmul(query, key, out_dtype=pl.FP32, b_trans=True)
            for lane in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN):
                half = pl.exp(pl.aiv_shard(scores))
                w = pl.assemble(w, half, [lane * (M // 2), t * TILE])
    return w


@pl.jit
def wrong_lane(
    q: pl.Tensor[[M, DIM], pl.BF16],
    k: pl.Tensor[[KEYS_DYN, DIM], pl.BF16],
    w: pl.Out[pl.Tensor[[M, KEYS_DYN], pl.FP32]],
):
    """Both vector cores store their half in the upper rows."""
    keys = pl.tensor.dim(k, 0)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="weights"):
        query = pl.slice(q, [M, DIM], [0, 0])
        for t in pl.pipeline(keys // TILE, stage=2):
            key = pl.slice(k, [TILE, DIM], [t * TILE, 0])
            scores = pl.matmul(query, key, out_dtype=pl.FP32, b_trans=True)
            for _lane in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN):
                half = pl.exp(pl.aiv_shard(scores))
                w = pl.assemble(w, half, [0, t * TILE])
    return w


@pl.jit
def wrong_untransposed(
    q: pl.Tensor[[M, DIM], pl.BF16],
    k: pl.Tensor[[KEYS_DYN, DIM], pl.BF16],
    w: pl.Out[pl.Tensor[[M, KEYS_DYN], pl.FP32]],
):
    """The tile of keys is not transposed."""
    keys = pl.tensor.dim(k, 0)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="weights"):
        query = pl.slice(q, [M, DIM], [0, 0])
        for t in pl.pipeline(keys // TILE, stage=2):
            key = pl.slice(k, [TILE, DIM], [t * TILE, 0])
            scores = pl.matmul(query, key, out_dtype=pl.FP32)
            for lane in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN):
                half = pl.exp(pl.aiv_shard(scores))
                w = pl.assemble(w, half, [lane * (M // 2), t * TILE])
    return w
