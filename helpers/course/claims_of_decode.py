"""What notebooks 00b to 02b claim: tasks and tiles, RoPE and the cache, attention."""

from __future__ import annotations

import torch

from golden.spec import values_of
from helpers import chips
from helpers.course.claim_kit import (
    CHIPS,
    CTX,
    Claim,
    between,
    climbed,
    fastest,
    longest,
    profiled,
    saves,
    small,
    tasks,
    written,
)
from helpers.errors import FaultError
from helpers.interpret.trace.depend import longest_chain
from helpers.interpret.trace.trace import Trace
from helpers.profile import profile
from helpers.run import run
from kernels import hello
from kernels.qwen3 import KV_HEADS, PAGE

ROPE, ATTENTION = "rope_kv_cache", "flash_attention"
LONG = 4096  # tokens of every sequence in the last section of 02b


def _rounding() -> bool:
    """Of the error of `hello.two_tasks`, nearly all is what rounding the exact result leaves; none is larger than half
    a step of its value, but for the little that FP32 adds."""
    torch.manual_seed(0)
    x, weight = 3 * torch.randn(64, hello.WIDTH), 0.5 + torch.rand(1, hello.WIDTH)
    out = torch.zeros(64, hello.WIDTH, dtype=torch.bfloat16)
    run(hello.two_tasks, [x, weight, out], platform="a2a3interp")
    exact = x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + 1e-6) * weight.double()
    error, rounding = ((t.double() - exact).abs() for t in (out, exact.bfloat16()))
    step = 2.0 ** (torch.floor(torch.log2(exact.abs())) - 7)
    return bool((error <= 0.501 * step).all()) and between(0.99, float(error.sum() / rounding.sum()), 1.01)


def _dispatching(rung: str) -> float:
    """Share of a rung's time that its vector cores wait for a dispatch."""
    return profiled(ROPE, rung).losses["dispatch"]


def _pages() -> list[int]:
    return [-(-n // PAGE) for n in CTX[ATTENTION]]


def _phases_on(chip: str, of: str) -> Trace:
    """The barrier of defect 656a, with as many blocks as chip `of` has vector cores."""
    from golden import mistakes
    from kernels.mistakes_attention import wrong_barrier

    return run(wrong_barrier, values_of(mistakes.rows_and_zeros()), platform=f"{of}interp", dry=True).trace


def _too_many() -> bool:
    """Blocks that meet at a barrier, more than there are cores: told to never complete."""
    trace = _phases_on("a2a3", "a5")
    try:
        profile(trace, chips.chip("a2a3"))
    except FaultError as error:
        return "never completes" in str(error)
    return False


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "00b_tasks_and_tiles",
        "most of that is the last step, which rounds to BF16",
        "the error beside that of rounding the exact result",
        _rounding,
    ),
    Claim(
        "00b_tasks_and_tiles",
        "the error of most elements is smaller because the values are",
        "no error is larger than half a step of its own value",
        _rounding,
    ),
    Claim(
        "01_rope_kv_cache",
        "`naive` takes nearly 1,000.",
        "its predicted time",
        lambda: between(930, climbed(ROPE).us("naive"), 1000),
    ),
    Claim(
        "01_rope_kv_cache",
        "The steps of a head in one task: a fifth.",
        "the rung saves 12 to 26 %",
        lambda: all(between(0.12, saves(ROPE, "head_at_once", c), 0.26) for c in CHIPS),
    ),
    Claim(
        "01_rope_kv_cache",
        "Eight heads in one task: half the time, for the chain is 16 long, not 128.",
        "the rung saves 45 to 60 %; the longest chains of both",
        lambda: (
            all(between(0.45, saves(ROPE, "per_sequence", c), 0.6) for c in CHIPS)
            and [longest_chain(profiled(ROPE, n).trace) for n in ("head_at_once", "per_sequence")] == [128, 16]
        ),
    ),
    Claim(
        "01_rope_kv_cache",
        "One launch whose blocks wait for nobody: nearly all that is left.",
        "the rung saves over 90 % of what is above the roof",
        lambda: all(climbed(ROPE).share("side_by_side", c) > 0.9 for c in CHIPS),
    ),
    Claim(
        "01_rope_kv_cache",
        "A block for each head, not for each sequence: **no time** on A2/A3. 128 blocks are handed out one by one.",
        "the rung saves less than 1 %; cores wait for a dispatch for a larger share of the time than with 16 blocks",
        lambda: saves(ROPE, "flat") < 0.01 and _dispatching("flat") > _dispatching("side_by_side"),
    ),
    Claim(
        "01_rope_kv_cache",
        "48 blocks that stride over the heads are the fastest.",
        "the least time of all rungs",
        lambda: all(fastest(ROPE, c) == "striding" for c in CHIPS),
    ),
    Claim(
        "02_flash_attention",
        "One sequence above is four times as long as the next.",
        "the lengths",
        lambda: between(3.9, sorted(CTX[ATTENTION])[-1] / sorted(CTX[ATTENTION])[-2], 4.2),
    ),
    Claim(
        "02_flash_attention",
        "Each page's `merge` needs that of the page before it, 31 times for the longest sequence. But the longest "
        "chain is that of `finish`",
        "pages of the longest; the depth of every launch in the graph",
        lambda: max(_pages()) - 1 == 31 and longest("finish"),
    ),
    Claim(
        "02b_mixed_and_fused",
        "`separate` takes about 3,500.",
        "its predicted time",
        lambda: between(3400, climbed(ATTENTION).us("separate"), 3600),
    ),
    Claim(
        "02b_mixed_and_fused",
        "Pages that wait for nobody, alone: a fifth. 2,152 tasks",
        "the rung saves 15 to 23 %; its tasks",
        lambda: between(0.15, saves(ATTENTION, "merged_last"), 0.23) and tasks(ATTENTION, "merged_last") == 2152,
    ),
    Claim(
        "02b_mixed_and_fused",
        "One region for cube and vector saves a tenth on A2/A3, where scores and weights go through GM as before, and "
        "a quarter on A5, where they do not.",
        "the rung's share of the time on both chips; bytes written",
        lambda: (
            between(0.08, saves(ATTENTION, "mixed"), 0.14)
            and between(0.2, saves(ATTENTION, "mixed", "a5"), 0.3)
            and written(ATTENTION, "mixed", "a2a3") > written(ATTENTION, "mixed", "a5")
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "`flat` with loads ahead is faster on A2/A3.",
        "the two rungs' times",
        lambda: climbed(ATTENTION).us("flat") < climbed(ATTENTION).us("mixed"),
    ),
    Claim(
        "02b_mixed_and_fused",
        "Loads ahead save between a twelfth and a sixth, on either kernel.",
        "both rungs' shares of the time, on both chips",
        lambda: all(between(0.07, saves(ATTENTION, r, c), 0.18) for r in ("flat", "shared_out") for c in CHIPS),
    ),
    Claim(
        "02b_mixed_and_fused",
        "**All pages of a head in one task**: four fifths of what was left. One launch a step: two thirds of the rest.",
        "both rungs' shares of the time, on both chips",
        lambda: all(
            between(0.77, saves(ATTENTION, "walking", c), 0.85)
            and between(0.62, saves(ATTENTION, "flat, no loads ahead", c), 0.7)
            for c in CHIPS
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "the table still saves: 24 groups share 1,024 halves of a page more evenly than 128 heads.",
        "the rung's saving on both chips; the busiest group's pieces beside an even share",
        lambda: (
            all(saves(ATTENTION, "shared_out, no loads ahead", c, LONG) > 0.05 for c in CHIPS)
            and -(-1024 // 24) * 24 / 1024 < -(-128 // 24) * 24 / 128
            and 16 * LONG // PAGE * 2 == 1024
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "One region **costs** an eighth on A2/A3, and saves a tenth on A5; `shared_out` is the fastest on both.",
        "the rung's share of the time on both chips; the least time of all rungs",
        lambda: (
            between(-0.15, saves(ATTENTION, "mixed", "a2a3", LONG), -0.1)
            and between(0.08, saves(ATTENTION, "mixed", "a5", LONG), 0.13)
            and all(fastest(ATTENTION, c, LONG) == "shared_out" for c in CHIPS)
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "An even share of the pages saves a sixth to a fifth, on lengths this ragged.",
        "the rung's share of the time on both chips",
        lambda: all(between(0.15, saves(ATTENTION, "shared_out, no loads ahead", c), 0.22) for c in CHIPS),
    ),
    Claim(
        "02b_mixed_and_fused",
        "Barriers for launches: **no time** on either chip. `fused` has 256 tasks less, owns the whole chip, and rests "
        "on a barrier that is assumed to take 1.5 µs.",
        "the rung saves less than 3 % on both chips; tasks; the chip's constant, which is marked as assumed",
        lambda: (
            all(small(saves(ATTENTION, "fused", c)) or saves(ATTENTION, "fused", c) < 0 for c in CHIPS)
            and tasks(ATTENTION, "shared_out") - tasks(ATTENTION, "fused") == 256
            and chips.chip("a2a3").runtime.barrier == 1.5
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "If there are more blocks than cores, the last ones never start, the others wait for them, and nothing ever "
        "ends.",
        "the schedule refuses a launch with more blocks than cores; the film ends in a deadlock (test_films_chip)",
        _too_many,
    ),
    Claim(
        "02b_mixed_and_fused",
        "no block has more than one such piece more than another",
        "pages that the table of 79 pages of eight heads gives each of 24 blocks",
        lambda: sum(_pages()) == 79 and -(-sum(_pages()) * 2 // 24) - sum(_pages()) * 2 // 24 <= 1 and KV_HEADS == 8,
    ),
)
"""Notebook by notebook."""
