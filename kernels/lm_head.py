"""Final RMSNorm, LM head and the greedy token of one decode step of Qwen3-14B, in two versions.

    normed = hidden / sqrt(mean(hidden^2) + EPS) * weight       rounded to BF16
    logits = normed @ lm_head_weight^T                          FP32; the weight has a row for each token
    token  = the column of each row's greatest logit            among the VOCAB real ones

It reads [VOCAB_PADDED, HIDDEN] of BF16, 1.56 GB, once, and next to that does nothing: its floor is what memory
gives, 1367 us at 1.139 TB/s (PR 391). What is above the floor is dispatches, and memory that waits for a core.

`narrow`  K in steps of 256, tiles of 64 columns, four a task; a second task trims the result to the real rows
`wide`    K in steps of 512, tiles of 256 columns, two a task; the result is trimmed where it is, by metadata

`chunks` says how much of the vocabulary is computed, in chunks of 256 columns from the first: all 594 of them,
one, to have a head in a run that is about something else, or none. Logits of the other chunks are zero, written
by the kernel and not left to whoever made the tensor. The token is the best of the chunks computed, 0 if none.

The weights of padding columns, VOCAB and up, may hold anything: those logits are computed and never chosen.
"""

import pypto.language as pl

from kernels.qwen3 import BATCH, EPS, HIDDEN, VOCAB, VOCAB_PADDED

BATCH_DYN = pl.dynamic("BATCH_DYN")  # real sequences, at most BATCH

VOCAB_CHUNK = 256  # columns of a chunk, the unit of `chunks`
CHUNKS = VOCAB_PADDED // VOCAB_CHUNK

NARROW_N = 64  # columns of a tile of `narrow`; four of them are a chunk
NARROW_TILES = VOCAB_CHUNK // NARROW_N
NARROW_K = 256
WIDE_CHUNKS = 2  # chunks of a task of `wide`; source of these five: PR 391 of hw-native-sys/pypto-lib
WIDE_K = 512  # with a chunk 272 KiB of L1: more than half, so loads cannot run a step ahead

NORM_N = 512  # columns of a step of the norm: 32 KiB of FP32
GREEDY_CHUNKS = 27  # chunks that a block of `chunk_best` looks through


@pl.jit.inline
def final_rmsnorm(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[1, HIDDEN], pl.FP32],
    normed: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    batch: pl.Scalar[pl.INDEX],
):
    """RMSNorm of the real rows in FP32, rounded to BF16, in one task; the other rows of `normed` become zero."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="final_rmsnorm"):
        square_sum = pl.full([1, BATCH], dtype=pl.FP32, value=0.0)
        for nb in pl.pipeline(HIDDEN // NORM_N, stage=2):
            rows = pl.slice(hidden_states, [BATCH, NORM_N], [0, nb * NORM_N], valid_shape=[batch, NORM_N])
            x = pl.cast(pl.fillpad(rows, pad_value=pl.PadValue.zero), target_type=pl.FP32)
            square_sum = pl.add(square_sum, pl.reshape(pl.row_sum(pl.mul(x, x)), [1, BATCH]))
        mean_square = pl.mul(square_sum, 1.0 / HIDDEN)
        scale = pl.reshape(pl.recip(pl.sqrt(pl.add(mean_square, EPS))), [BATCH, 1])
        for nb in pl.pipeline(HIDDEN // NORM_N, stage=2):
            rows = pl.slice(hidden_states, [BATCH, NORM_N], [0, nb * NORM_N], valid_shape=[batch, NORM_N])
            x = pl.cast(pl.fillpad(rows, pad_value=pl.PadValue.zero), target_type=pl.FP32)
            weight = pl.slice(norm_weight, [1, NORM_N], [0, nb * NORM_N])
            x = pl.col_expand_mul(pl.row_expand_mul(x, scale), weight)
            normed = pl.assemble(normed, pl.cast(x, target_type=pl.BF16, mode="rint"), [0, nb * NORM_N])
    return normed


@pl.jit.inline
def narrow_head(
    normed: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    logits: pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32],
    batch: pl.Scalar[pl.INDEX],
    chunks: pl.Scalar[pl.INDEX],
):
    """logits of the first `chunks` chunks, two tasks for each: products into scratch, and its real rows out."""
    staged = pl.create_tensor([BATCH, VOCAB_PADDED], dtype=pl.FP32)
    for chunk in pl.parallel(chunks):
        c0 = chunk * VOCAB_CHUNK
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="head_products"):
            for t in pl.range(NARROW_TILES):
                v0 = c0 + t * NARROW_N
                x = pl.slice(normed, [BATCH, NARROW_K], [0, 0])
                w = pl.slice(lm_head_weight, [NARROW_N, NARROW_K], [v0, 0])
                acc = pl.matmul(x, w, out_dtype=pl.FP32, b_trans=True)
                for kb in pl.range(1, HIDDEN // NARROW_K):
                    x_k = pl.slice(normed, [BATCH, NARROW_K], [0, kb * NARROW_K])
                    w_k = pl.slice(lm_head_weight, [NARROW_N, NARROW_K], [v0, kb * NARROW_K])
                    acc = pl.matmul_acc(acc, x_k, w_k, b_trans=True)
                staged = pl.assemble(staged, acc, [0, v0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="head_store"):
            rows = pl.slice(staged, [BATCH, VOCAB_CHUNK], [0, c0], valid_shape=[batch, VOCAB_CHUNK])
            logits = pl.assemble(logits, rows, [0, c0])
    return logits


@pl.jit.inline
def wide_head(
    normed: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    logits: pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32],
    batch: pl.Scalar[pl.INDEX],
    chunks: pl.Scalar[pl.INDEX],
):
    """logits of the first `chunks` chunks, a task for every WIDE_CHUNKS of them."""
    for dispatch in pl.parallel((chunks + WIDE_CHUNKS - 1) // WIDE_CHUNKS):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="head"):
            first = dispatch * WIDE_CHUNKS
            for chunk in pl.range(first, pl.min(first + WIDE_CHUNKS, chunks)):
                v0 = chunk * VOCAB_CHUNK
                x = pl.slice(normed, [BATCH, WIDE_K], [0, 0])
                w = pl.slice(lm_head_weight, [VOCAB_CHUNK, WIDE_K], [v0, 0])
                acc = pl.matmul(x, w, out_dtype=pl.FP32, b_trans=True)
                for kb in pl.range(1, HIDDEN // WIDE_K):
                    x_k = pl.slice(normed, [BATCH, WIDE_K], [0, kb * WIDE_K])
                    w_k = pl.slice(lm_head_weight, [VOCAB_CHUNK, WIDE_K], [v0, kb * WIDE_K])
                    acc = pl.matmul_acc(acc, x_k, w_k, b_trans=True)
                trimmed = pl.set_validshape(acc, batch, VOCAB_CHUNK)
                logits = pl.assemble(logits, trimmed, [0, v0])
    return logits


@pl.jit.inline
def zero_logits(
    logits: pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32],
    batch: pl.Scalar[pl.INDEX],
    chunks: pl.Scalar[pl.INDEX],
):
    """logits = 0 from chunk `chunks` on, in one task; none if there is nothing left."""
    if chunks < CHUNKS:
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero_logits"):
            for chunk in pl.range(chunks, CHUNKS):
                zero = pl.full([BATCH, VOCAB_CHUNK], dtype=pl.FP32, value=0.0)
                zero = pl.set_validshape(zero, batch, VOCAB_CHUNK)
                logits = pl.assemble(logits, zero, [0, chunk * VOCAB_CHUNK])
    return logits


@pl.jit.inline
def greedy(
    logits: pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32],
    tokens: pl.Tensor[[BATCH_DYN], pl.INT32],
    batch: pl.Scalar[pl.INDEX],
    chunks: pl.Scalar[pl.INDEX],
):
    """tokens = the column of each row's greatest logit among the real ones of the first `chunks` chunks.

    First the best of every chunk and where in it that is, GREEDY_CHUNKS chunks a block; a chunk is a row of the
    scratch and a sequence a column. Then the best chunk of every column, in one task.
    """
    best = pl.create_tensor([CHUNKS, BATCH], dtype=pl.FP32)
    place = pl.create_tensor([CHUNKS, BATCH], dtype=pl.INT32)
    blocks = (chunks + GREEDY_CHUNKS - 1) // GREEDY_CHUNKS
    for block in pl.spmd(blocks, name_hint="chunk_best"):
        first = block * GREEDY_CHUNKS
        for chunk in pl.range(first, pl.min(first + GREEDY_CHUNKS, chunks)):
            columns = pl.min(VOCAB_CHUNK, VOCAB - chunk * VOCAB_CHUNK)
            part = pl.slice(logits, [BATCH, VOCAB_CHUNK], [0, chunk * VOCAB_CHUNK], valid_shape=[batch, columns])
            part = pl.fillpad(part, pad_value=pl.PadValue.min)
            best = pl.assemble(best, pl.reshape(pl.row_max(part), [1, BATCH]), [chunk, 0])
            place = pl.assemble(place, pl.reshape(pl.row_argmax(part), [1, BATCH]), [chunk, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="greedy"):
        bests = pl.slice(best, [CHUNKS, BATCH], [0, 0], valid_shape=[chunks, BATCH])
        winner = pl.col_argmax(pl.fillpad(bests, pad_value=pl.PadValue.min))
        for b in pl.range(batch):
            row = pl.cast(pl.read(winner, [0, b]), pl.INDEX)
            pl.write(tokens, [b], pl.cast(row * VOCAB_CHUNK, pl.INT32) + pl.read(place, [row, b]))
    return tokens


@pl.jit.inline
def no_tokens(tokens: pl.Tensor[[BATCH_DYN], pl.INT32], batch: pl.Scalar[pl.INDEX]):
    """tokens = 0: nothing to choose from."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="no_tokens"):
        for b in pl.range(batch):
            pl.write(tokens, [b], pl.const(0, pl.INT32))
    return tokens


@pl.jit.inline
def narrow_logits(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[1, HIDDEN], pl.FP32],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    logits: pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32],
    tokens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunks: pl.Scalar[pl.INT32],
):
    """The work of `narrow`, which naive decode does too."""
    batch = pl.tensor.dim(seq_lens, 0)
    count = pl.cast(chunks, pl.INDEX)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    if count > 0:
        normed = final_rmsnorm(hidden_states, norm_weight, normed, batch)
        logits = narrow_head(normed, lm_head_weight, logits, batch, count)
        tokens = greedy(logits, tokens, batch, count)
    else:
        tokens = no_tokens(tokens, batch)
    logits = zero_logits(logits, batch, count)
    return logits, tokens


@pl.jit
def narrow(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[1, HIDDEN], pl.FP32],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    logits: pl.Out[pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32]],
    tokens: pl.Out[pl.Tensor[[BATCH_DYN], pl.INT32]],
    chunks: pl.Scalar[pl.INT32],
):
    """Two tasks for each chunk of 256 columns: 1,188 for the whole vocabulary, and 24 for the norm and the tokens.

    The idea: one chunk of the vocabulary after the other, the cube's part and the vector's part of each in a task
    of its own. The cube multiplies four tiles of 64 columns into scratch; a vector task loads the real rows of it
    and stores them. 20 MB more cross global memory than need to, and the cube waits for many small loads: K in
    steps of 256 is 512 bytes a row of the weight.
    """
    logits, tokens = narrow_logits(
        hidden_states, norm_weight, lm_head_weight, seq_lens, logits, tokens, chunks,
    )  # fmt: skip
    return logits, tokens


@pl.jit.inline
def wide_logits(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[1, HIDDEN], pl.FP32],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    logits: pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32],
    tokens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunks: pl.Scalar[pl.INT32],
):
    """The work of `wide`, which fused decode does too."""
    batch = pl.tensor.dim(seq_lens, 0)
    count = pl.cast(chunks, pl.INDEX)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    if count > 0:
        normed = final_rmsnorm(hidden_states, norm_weight, normed, batch)
        logits = wide_head(normed, lm_head_weight, logits, batch, count)
        tokens = greedy(logits, tokens, batch, count)
    else:
        tokens = no_tokens(tokens, batch)
    logits = zero_logits(logits, batch, count)
    return logits, tokens


@pl.jit
def wide(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[1, HIDDEN], pl.FP32],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    logits: pl.Out[pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32]],
    tokens: pl.Out[pl.Tensor[[BATCH_DYN], pl.INT32]],
    chunks: pl.Scalar[pl.INT32],
):
    """A task for each two chunks, stored from the accumulator: 297 for the whole vocabulary, and 24 as before.

    The idea: larger pieces, fewer handovers. A step of K is 512, a kilobyte of each of 256 rows, and two chunks
    share a dispatch. `set_validshape` says how many rows of the accumulator are real, which moves nothing, and the
    store takes just these: no scratch, no second task. A step of the loop fills more than half of L1, so loads
    cannot run a step ahead; that is what it costs.
    """
    logits, tokens = wide_logits(
        hidden_states, norm_weight, lm_head_weight, seq_lens, logits, tokens, chunks,
    )  # fmt: skip
    return logits, tokens
