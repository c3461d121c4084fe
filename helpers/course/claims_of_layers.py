"""What notebooks 03 to 06b claim: the MLP and the projections, the LM head, layers, prefill."""

from __future__ import annotations

from helpers import chips, stages
from helpers.course.claim_kit import (
    CHIPS,
    Claim,
    between,
    climbed,
    predicted,
    profiled,
    published,
    saves,
    share,
    small,
    tasks,
    traced,
    written,
)
from helpers.errors import WorkbookError
from helpers.profile.ablation import REST
from helpers.tuning import tuned
from kernels import qkv_proj, qwen3
from kernels.prefill_parts import tiles
from kernels.rungs import mlp_rungs

_HIDDEN, _INTER = qwen3.HIDDEN, qwen3.INTERMEDIATE
_PROJECTIONS = _HIDDEN * (qwen3.HIDDEN + 2 * qwen3.KV_HIDDEN)  # weights of Q, K and V
_AFTER = _HIDDEN * qwen3.HIDDEN + 3 * _HIDDEN * _INTER  # of the output projection and the MLP
_HEAD = qwen3.VOCAB_PADDED * _HIDDEN
_32B = {"hidden": 8192, "inter": 25600}


def _of_pull_request_90() -> bool:
    """Its figures, and tasks of these kernels at both widths that it measured."""
    before, after = published("pypto-lib#90", "before"), published("pypto-lib#90", "after")
    first = traced("mlp", "partial_products", batch=16, hidden=5120, inter=25600).tasks
    return (
        (before["value_us"], before["tasks"], after["value_us"], after["tasks"])
        == ("63044.26", "33411", "3284.44", "1651")
        and "hidden 5120" in before["config"]
        and "hidden 8192" in after["config"]
        and abs(first / 33411 - 1) < 0.01
        and [climbed("mlp_32b").profiles["a2a3"][r].trace.tasks for r in ("partial_products", "accumulate")]
        == [52737, 1585]
    )


def _rounds(stage: str, rung: str, name: str) -> tuple[int, int]:
    """Blocks or tasks of a kernel name, and how many are left after whole rounds of the cubes of A2/A3."""
    n = profiled(stage, rung).trace.tasks_by_name()[name]
    return n, n % chips.chip("a2a3").cube_cores


def _head_is_full() -> bool:
    """`wide` with loads ahead does not fit: L1 would hold two steps."""
    stage = stages.find("lm_head")
    kernel = tuned(stage.versions["wide"], 2)
    try:
        stages.trace_kernel(kernel, stage.specs(batch=16), chip="a2a3")
    except WorkbookError as error:
        return "L1" in str(error)
    return False


def _us(rung: str, chip: str) -> float:
    return climbed("prefill").us(rung, chip)


def _ahead() -> float:
    """Microseconds of `per_token` with loads ahead."""
    stage = stages.find("prefill")
    kernel = tuned(stage.versions["per_token"], 2)
    return predicted(stages.trace_kernel(kernel, stage.specs(ctx=128), chip="a2a3"))


def _narrow_end() -> float:
    """Milliseconds of 40 layers of `spmd` with tiles of 128 columns, the pull request's."""
    stage = stages.find("prefill")
    kernel = tuned(stage.versions["spmd"], **{"tiles.WIDE_N": 128})
    trace = stages.trace_kernel(kernel, stage.specs(ctx=128), chip="a2a3")
    return 40 * predicted(trace) / 1e3


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "03_swiglu_mlp",
        "587 MB in BF16",
        "the weights' shapes",
        lambda: round(2 * _AFTER / 1e6) == 587,
    ),
    Claim(
        "03_swiglu_mlp",
        "22,787 tasks, and all but 1,027 are `down_product` and `down_add`",
        "tasks by name",
        lambda: (
            sum(
                n
                for name, n in profiled("mlp", "partial_products").trace.tasks_by_name().items()
                if name not in ("down_product", "down_add")
            )
            == 1027
        ),
    ),
    Claim(
        "03_swiglu_mlp",
        "40 tasks of the same length are two rounds on 24 cubes, and in the second round cubes are left over.",
        "tasks of down_proj, and what is left of them after a whole round",
        lambda: _rounds("mlp", "accumulate", "down_proj") == (40, 16),
    ),
    Claim(
        "03_swiglu_mlp",
        "This is the step of pull request 90, which measured it at a wider shape: 63.0 to 3.28 ms.",
        "published.csv",
        _of_pull_request_90,
    ),
    Claim(
        "03b_wide_and_mixed",
        "`partial_products` takes about 45,000, `accumulate` about 1,600.",
        "their predicted times",
        lambda: (
            between(44e3, climbed("mlp").us("partial_products"), 46e3)
            and between(1550, climbed("mlp").us("accumulate"), 1650)
        ),
    ),
    Claim(
        "03b_wide_and_mixed",
        "the sum in L0C is worth a factor of nearly thirty, for it makes one task of 272 products and 272 additions.",
        "the rung's time; tasks of a tile of the down projection",
        lambda: between(25, 1 / (1 - saves("mlp", "accumulate")), 30) and _INTER // 64 == 272,
    ),
    Claim(
        "03b_wide_and_mixed",
        "After that **the width of the tiles is most of it**: more than half the time. A row of 256 columns is 512 "
        "bytes, the line in which memory is read, and a row of 64 is a quarter of it.",
        "the rung's share of the time, its share over all orders; the chip's line",
        lambda: (
            all(saves("mlp", "+ 256 columns", c) > 0.5 for c in CHIPS)
            and share("mlp", "tiles of 256 columns") > 0.6
            and chips.chip("a2a3").memory.line == 512 == 4 * 64 * 2
        ),
    ),
    Claim(
        "03b_wide_and_mixed",
        "Loads ahead save a ninth, one launch a step a fifteenth on A2/A3 and a tenth on A5.",
        "the rungs' shares of the time",
        lambda: (
            all(between(0.1, saves("mlp", "+ loads ahead", c), 0.13) for c in CHIPS)
            and between(0.055, saves("mlp", "a launch a step"), 0.075)
            and between(0.09, saves("mlp", "a launch a step", "a5"), 0.12)
        ),
    ),
    Claim(
        "03b_wide_and_mixed",
        "The shared loop saves nothing: $x$ is small beside the weights.",
        "the rung saves less than 1 % on both chips; bytes of a step of x and of a weight",
        lambda: (
            all(small(saves("mlp", "+ shared loop", c), 0.01) for c in CHIPS) and qwen3.BATCH / mlp_rungs.OUT_N < 0.1
        ),
    ),
    Claim(
        "03b_wide_and_mixed",
        "The region itself saves a twentieth. On A2/A3 what the cube makes goes through GM as before: as many bytes "
        "are written. On A5 it stays on chip.",
        "the rung's share of the time; bytes written by the two rungs on both chips",
        lambda: (
            all(between(0.04, saves("mlp", "mixed", c), 0.065) for c in CHIPS)
            and written("mlp", "mixed", "a2a3") == written("mlp", "+ shared loop", "a2a3")
            and written("mlp", "mixed", "a5") < written("mlp", "mixed", "a2a3")
        ),
    ),
    Claim(
        "03b_wide_and_mixed",
        "its first kernel at hidden 5,120, with 33,411 tasks. These kernels take any width. Beside it what is "
        "predicted for them on A2/A3, a rung at a time, all at the wider shape: 52,737 tasks in the first, 1,585 in "
        "the second, which has 1,651 there.",
        "published.csv; tasks of these kernels at both widths",
        _of_pull_request_90,
    ),
    Claim(
        "03b_wide_and_mixed",
        "In the mean, the region, its launches and the shared loop are worth a fifth of the gain.",
        "what is left of the gain over all orders",
        lambda: between(0.16, share("mlp", REST), 0.24),
    ),
    Claim(
        "03c_qkv_proj",
        "73 MB of weights",
        "the weights' shapes",
        lambda: round(2 * _PROJECTIONS / 1e6) == 73,
    ),
    Claim(
        "03c_qkv_proj",
        "28 blocks on 24 core groups are two rounds, the second nearly empty. Quarters of K are 112 shorter blocks.",
        "blocks of `spmd` and of `split_k`",
        lambda: (
            _rounds("qkv_proj", "spmd", "project_block") == (28, 4)
            and _rounds("qkv_proj", "split_k", "project_split")[0] == 112 == 28 * qkv_proj.SPLITS
        ),
    ),
    Claim(
        "03c_qkv_proj",
        "wide tiles save a quarter on A2/A3, and two fifths on A5.",
        "the rung's share of the time",
        lambda: (
            between(0.23, saves("qkv_proj", "+ 256 columns"), 0.3)
            and between(0.38, saves("qkv_proj", "+ 256 columns", "a5"), 0.45)
        ),
    ),
    Claim(
        "03c_qkv_proj",
        "One launch a projection saves nothing on A2/A3, and an eighth on A5.",
        "the rung's share of the time",
        lambda: (
            small(saves("qkv_proj", "spmd, no loads ahead"))
            and between(0.1, saves("qkv_proj", "spmd, no loads ahead", "a5"), 0.15)
        ),
    ),
    Claim(
        "03c_qkv_proj",
        "Loads ahead save a seventh on A2/A3, and next to nothing on A5.",
        "the rung's share of the time",
        lambda: between(0.12, saves("qkv_proj", "spmd"), 0.16) and small(saves("qkv_proj", "spmd", "a5")),
    ),
    Claim(
        "03c_qkv_proj",
        "Products that do not wait for the norm save a seventh, and a fifth on A5. Sums in GM cost a little on both.",
        "the rungs' shares of the time",
        lambda: (
            between(0.12, saves("qkv_proj", "factor at the end"), 0.17)
            and between(0.17, saves("qkv_proj", "factor at the end", "a5"), 0.23)
            and all(between(-0.08, saves("qkv_proj", "split_k, whole K", c), 0) for c in CHIPS)
        ),
    ),
    Claim(
        "03c_qkv_proj",
        "K in four parts saves a sixth on A2/A3, for no cube is idle in a second round; on A5, whose 36 groups take 28 "
        "blocks at once, nothing.",
        "the rung's share of the time; the chip's groups",
        lambda: (
            between(0.14, saves("qkv_proj", "split_k"), 0.2)
            and saves("qkv_proj", "split_k", "a5") < 0.01
            and chips.chip("a5").clusters == 36
        ),
    ),
    Claim(
        "04_lm_head",
        "1.56 GB, and a decode step reads them once",
        "the weights' shape",
        lambda: round(2 * _HEAD / 1e7) == 156,
    ),
    Claim("04_lm_head", "the run makes 1.56 GB of weights", "the same", lambda: round(2 * _HEAD / 1e7) == 156),
    Claim(
        "04_lm_head",
        "Blocks go through 27 chunks each",
        "chunks by blocks of chunk_best",
        lambda: 594 / profiled("lm_head", "narrow").trace.tasks_by_name()["chunk_best"] == 27,
    ),
    Claim(
        "04_lm_head",
        "16 numbers leave the device, not 10 MB of logits.",
        "the logits' size",
        lambda: round(16 * qwen3.VOCAB_PADDED * 4 / 1e6) == 10,
    ),
    Claim(
        "04_lm_head",
        "L1 is more than half full, so the next step cannot load while this one is multiplied: that is the price.",
        "`wide` with loads ahead is refused for L1",
        _head_is_full,
    ),
    Claim(
        "04_lm_head",
        "`narrow` takes about 1,700; the floor is one pass over the weights.",
        "its predicted time; the published floor",
        lambda: (
            between(1650, climbed("lm_head").us("narrow"), 1780)
            and published("pypto-lib#391", "1.557 GB")["value_us"] == "1367"
        ),
    ),
    Claim(
        "04_lm_head",
        "Every tile of columns loads all of $x$, 160 KiB for each 64 columns or for each 256.",
        "bytes of x",
        lambda: 16 * _HIDDEN * 2 == 160 << 10,
    ),
    Claim(
        "04_lm_head",
        "the pull request's step from K in 256 to all of this was worth 5 %.",
        "published.csv",
        lambda: between(0.045, 1 - _head_us("after") / _head_us("before"), 0.055),
    ),
    Claim(
        "04_lm_head",
        "Two chunks a task take longer than one, on either chip.",
        "the rung's time on both chips",
        lambda: all(saves("lm_head", "wide", c) < 0 for c in CHIPS),
    ),
    Claim(
        "05_decode_layer",
        "A layer has 661 MB of weights",
        "the weights' shapes",
        lambda: round(2 * (_PROJECTIONS + _AFTER) / 1e6) == 661,
    ),
    Claim(
        "05_decode_layer",
        "`naive` takes about 45,000.",
        "its predicted time",
        lambda: between(44e3, climbed("decode_layer").us("naive"), 46e3),
    ),
    Claim(
        "05_decode_layer",
        "Predicted: nearly all is the MLP's partial products.",
        "what the rung mlp_mixed saves of the whole gain, on both chips",
        lambda: all(
            climbed("decode_layer").saved("mlp_mixed", c)
            > 0.98 * (climbed("decode_layer").us("naive", c) - climbed("decode_layer").us("fused", c))
            for c in CHIPS
        ),
    ),
    Claim(
        "05_decode_layer",
        "Of the layer that is left, one kernel for attention saves about a third",
        "the rung's time on both chips",
        lambda: all(between(0.27, saves("decode_layer", "attention_fused", c), 0.37) for c in CHIPS),
    ),
    Claim(
        "05_decode_layer",
        "projections with K in four parts about a seventh of the rest.",
        "the rung's time on both chips",
        lambda: all(between(0.12, saves("decode_layer", "fused", c), 0.16) for c in CHIPS),
    ),
    Claim(
        "05_decode_layer",
        "the projections, whose 112 blocks are four rounds of 24 and a rest",
        "blocks of project_split",
        lambda: _rounds("qkv_proj", "split_k", "project_split") == (112, 16),
    ),
    Claim(
        "05_decode_layer",
        "| #90, output projection to the end of the layer, 8,192 × 25,600 wide | 33,411 tasks, 63.0 ms | 1,651 tasks, "
        "3.28 ms | 52,737 → 165 tasks |",
        "published.csv; tasks at that width",
        lambda: _of_pull_request_90() and climbed("mlp_32b").profiles["a2a3"]["mixed"].trace.tasks == 165,
    ),
    Claim(
        "05_decode_layer",
        "16,768 → 25 tasks at 4,096 tokens each",
        "tasks of the first and the last version of attention",
        lambda: (
            [traced("flash_attention", v, batch=16, ctx=(4096,) * 16).tasks for v in ("separate", "fused")]
            == [16768, 25]
        ),
    ),
    Claim(
        "05b_decode_tokens",
        "660.6 MB for each of 40 layers, 1.557 GB for the LM head",
        "the weights' shapes",
        lambda: round(2 * (_PROJECTIONS + _AFTER) / 1e5) == 6606 and round(2 * _HEAD / 1e6) == 1557,
    ),
    Claim(
        "06_prefill",
        "676 tasks a tile at full widths.",
        "tasks of a tile, without 58 for each of its 64 tokens",
        lambda: traced("prefill", "per_token", ctx=64).tasks - 58 * 64 == 676,
    ),
    Claim(
        "06_prefill",
        "a layer of 128 tokens is 8,776 tasks. Cut into work items that a fixed number of blocks stride over, it is "
        "504.",
        "tasks of both versions, without the mask, which is made once",
        lambda: (
            tasks("prefill", "per_token") == 8776
            and tasks("prefill", "spmd") - profiled("prefill", "spmd").trace.tasks_by_name()["causal_mask"] == 504
        ),
    ),
    Claim(
        "06_prefill",
        "in a tile nearly all is attention",
        "tasks of attention, 58 for each of 64 tokens, of a tile's 4,388",
        lambda: between(0.8, 58 * 64 / (tasks("prefill", "per_token") / 2), 0.9),
    ),
    Claim(
        "06_prefill",
        "a page is loaded once for 80 rows",
        "the constants of the kernel",
        lambda: tiles.WINDOW_ROWS == 80 and tiles.PAGE_WINDOWS == 8,
    ),
    Claim(
        "06_prefill",
        "8 blocks for the norms, 20 for Q, 24 for gate and up",
        "the constants of the kernel",
        lambda: (tiles.NORM_BLOCKS, tiles.Q_BLOCKS, tiles.MLP_BLOCKS) == (8, 20, 24),
    ),
    Claim(
        "06b_prefill_chunks",
        "`per_token` takes about 12,000.",
        "its predicted time",
        lambda: between(11.5e3, climbed("prefill").us("per_token"), 12.7e3),
    ),
    Claim(
        "06b_prefill_chunks",
        "**No single change is everything.** Four save a third or more of what there is at their place",
        "the rungs' shares of the time",
        lambda: (
            [r.name for r in climbed("prefill").rungs[1:] if saves("prefill", r.name) > 1 / 3]
            == ["16 tokens", "all in steps", "+ 256 columns", "+ loads ahead"]
        ),
    ),
    Claim(
        "06b_prefill_chunks",
        "16 tokens at once halve the time: every key is loaded for 80 rows, not for five. One launch a step of "
        "all but attention halves it again; one of attention saves little, for it has few tasks by now.",
        "the rungs' shares of the time, on both chips; rows of a window and heads of a token",
        lambda: (
            all(between(0.45, saves("prefill", r, c), 0.6) for r in ("16 tokens", "all in steps") for c in CHIPS)
            and all(saves("prefill", "attention in steps", c) < 0.1 for c in CHIPS)
            and (tiles.WINDOW_ROWS, qwen3.Q_PER_KV) == (80, 5)
        ),
    ),
    Claim(
        "06b_prefill_chunks",
        "Then tiles of 256 columns save two fifths, and loads ahead a third. In `per_token`, whose thousands of tasks "
        "keep the cores waiting, loads ahead would save nothing.",
        "the rungs' shares of the time; tasks of `per_token`, and its time with loads ahead",
        lambda: (
            between(0.38, saves("prefill", "+ 256 columns"), 0.45)
            and between(0.31, saves("prefill", "+ loads ahead"), 0.38)
            and tasks("prefill", "per_token") > 8000
            and small(1 - _ahead() / climbed("prefill").us("per_token"), 0.01)
        ),
    ),
    Claim(
        "06b_prefill_chunks",
        "A head's end in one task, lower tiles of vector work, shared loops and norms that wait for RoPE save next to "
        "nothing.",
        "the rungs' shares of the time",
        lambda: all(small(saves("prefill", r)) for r in ("one end", "+ 32 rows", "shared loops", "spmd")),
    ),
    Claim(
        "06b_prefill_chunks",
        "`chunked` reads each weight once for both tiles of 64 tokens, and saves a tenth.",
        "the rung's share of the time; loads of the weights",
        lambda: between(0.08, saves("prefill", "chunked"), 0.12),
    ),
    Claim(
        "06b_prefill_chunks",
        "3,712 for each tile of 64 tokens. A task costs a dispatch, whatever it does: 1.8 µs of one of the three "
        "threads that hand tasks out. That is 2.2 ms a tile.",
        "58 tasks a token; constants of the chip",
        lambda: (
            58 * 64 == 3712
            and round(chips.chip("a2a3").runtime.dispatch + chips.chip("a2a3").runtime.complete, 1) == 1.8
            and round(3712 * 1.8 / chips.chip("a2a3").runtime.threads / 1e3, 1) == 2.2
        ),
    ),
    Claim(
        "06b_prefill_chunks",
        "Its after has 12.6 times fewer tasks, `spmd` 17.4",
        "published tasks, and those counted",
        lambda: round(351050 / 27866, 1) == 12.6 and round(351040 / (40 * 504 + 1), 1) == 17.4,
    ),
    Claim(
        "06b_prefill_chunks",
        "`spmd` is ahead of the pull request's after.",
        "its predicted time for 40 layers",
        lambda: 40 * climbed("prefill").us("spmd") / 1e3 < 96.103,
    ),
    Claim(
        "06b_prefill_chunks",
        "With such tiles it is predicted to take three tenths less than what was measured",
        "the time of `spmd` with tiles of 128 columns for 40 layers",
        lambda: between(0.26, 1 - _narrow_end() / 96.103, 0.34),
    ),
)
"""Notebook by notebook."""


def _head_us(note: str) -> float:
    return float(published("pypto-lib#391", note)["value_us"])
