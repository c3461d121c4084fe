"""The cases of the hunt: for each its kernel, what it is to compute, what somebody noticed, a hint, and the answer.

The first twelve are in the notebook, one after the other; the tools that half of them need are those that open tasks.
The others are the rest of what reviewers of five pull requests found (`helpers.course.defects`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from golden import mistakes, mistakes_hunt
from helpers.course import defects
from helpers.course.defects import Defect
from kernels import mistakes_hunt as hunt
from kernels import mistakes_puzzles as puzzles


@dataclass(frozen=True)
class Record:
    """One case.

    Attributes:
        wrong, right: The kernel with the defect, and without; a Path: a script. None: there is none without.
        asked: What the kernel is to compute.
        symptom: What somebody noticed.
        hint: Which tool to take, and where to look.
        answer: What is wrong, and why.
        specs, reference, sweep, rtol, atol: As for helpers.sanitize.check.
        kinds: Kinds of findings that are an answer, see helpers.sanitize.KINDS; () where no sanitizer can name it.
        pieces: Of lines that are an answer, besides those that the repair changes.
    """

    wrong: Any
    right: Any
    asked: str
    symptom: str
    hint: str
    answer: str
    specs: Callable[..., list]
    reference: Callable[[dict], None]
    sweep: Mapping[str, Sequence[int]] = field(default_factory=dict)
    rtol: float = 1e-4
    atol: float = 1e-4
    kinds: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()


def _of(name: str, asked: str, symptom: str, hint: str, answer: str, named: bool = True) -> Record:
    """A case from a defect; `named`: the sanitizers name it, not only its result."""
    d: Defect = defects.find(name)
    return Record(
        d.wrong, None if d.right is d.wrong else d.right, asked, symptom, hint, answer, d.specs, d.reference, d.sweep,
        d.rtol, d.atol, (d.kind,) if named else (), (d.line,) if named else (),
    )  # fmt: skip


CHECK = "the sanitizers: c.check() runs the kernel at several sizes and prints what they find"

CASES: tuple[Record, ...] = (
    _of(
        "662a", "The largest score of each row, over all pages of 128 scores.",
        "Every test passes: they have 128 tokens. With 256 tokens, a kernel that runs beside it gets wrong numbers.",
        f"{CHECK}. The size that breaks it is named.",
        "The page is added to the scratch row, and scratch has no rows for pages: the last block writes past its end.",
    ),
    _of(
        "662b", "The softmax denominator of each row, page by page.",
        "PASS at 128 tokens. At 256, numbers look plausible and 15 of 16 are wrong. No sanitizer names a cause.",
        'open the task: c.inside(wrote="total[0, 0]", ctx=256), and print what `top` and `total_tile` are in each turn',
        "Each page's sum belongs to its own maximum. They are added without bringing them to one: pull request 662.",
        named=False,
    ),
    _of(
        "387a", "Twice the sum over eight groups.",
        "NaN on the device, now and then; PASS on a device that was switched on just before.",
        f"{CHECK}. It notes of each element whether anything has written it.",
        "Only even groups are written, for a loop is gone; the sum reads all of them. New memory held zeros by chance.",
    ),
    Record(
        hunt.wrong_rotation, hunt.right_rotation, "RoPE of 16 rows, row p being position p.",
        "Row 0 is right. In all other rows the first half is right and the second is not.",
        'c.inside(wrote="y[3, 100]"): which tile does the last line of the rotation take for the first half?',
        "The first half is overwritten before the second is made of it: a name is bound to the new value in between.",
        mistakes_hunt.rotation, mistakes_hunt.rotated,
    ),
    _of(
        "656e", "Twice x, plus one.",
        "PASS, always, here. On a device it fails once a day.",
        f"{CHECK}. It knows what each task touched and which tasks surely ran before it.",
        "In a manual scope nothing is inferred: the second launch names no dependency, so it may run first.",
    ),
    Record(
        hunt.wrong_join, hunt.right_join, "Attention from the partial results of two pages, in 16 rows.",
        "Rows whose two maxima are nearly equal are nearly right, all others are off. The sums are right.",
        'c.inside(wrote="y[0, 0]"): redo it in torch from .names(n), line by line',
        "The outputs of the two pages are scaled with each other's factor.",
        mistakes_hunt.pages, mistakes_hunt.joined,
    ),
    _of(
        "387b", "Each row of x times the length of its sequence; rows without a sequence are left alone.",
        "PASS with 16 sequences. With five, the last rows change from run to run.",
        f"{CHECK}. Which batch does it name?",
        "All 16 lanes of the batch tile look up a length, and there are only as many as there are sequences.",
    ),
    Record(
        hunt.wrong_page, hunt.right_page, "Twice what the cache holds for each of two heads of eight sequences.",
        "Sequence 0, head 0 is right; so is everything while the table lists the pages in order of their sequences.",
        'c.inside(wrote="y[32, 0]") opens a block: which entry of the table does it read, and of which sequence is it?',
        "A block is a sequence and a head. Its sequence is block // 2, not block % 8.",
        mistakes_hunt.paged, mistakes_hunt.looked_up,
    ),
    _of(
        "656a", "Twice x in two phases with a barrier between; zeros in another output.",
        "The device hangs, once in some hundred runs.",
        f"{CHECK}. What else can hold a core while the barrier waits?",
        "The zero-filling tasks may hold a core that the last block needs, and the others wait for that block: "
        "sync_start=True starts all blocks together.",
    ),
    Record(
        hunt.wrong_gate, hunt.right_gate, "(silu(x @ w_gate) * (x @ w_up)) @ w_down, in four tasks.",
        "Every element is wrong, by no common factor. The shapes are right, and so is each product.",
        "c.against() holds each tensor between the tasks against the golden's, and names the first that is wrong",
        "The sigmoid is taken of `up`, not of `gate`: u sigmoid(u) g for g sigmoid(g) u.",
        mistakes_hunt.mlp, mistakes_hunt.gated, rtol=2.0**-6, atol=2.0**-6,
    ),
    _of(
        "391a", "Twice the real rows of x, of which there are `batch`, in tiles of 16.",
        "PASS with 20 sequences. With fewer than 17 the transfer is refused by the device, or is not.",
        f"{CHECK}. Try the sizes around one tile.",
        "A tile that begins after the last sequence has a negative number of rows: min(16, batch - row).",
    ),
    Record(
        hunt.wrong_cast, hunt.right_cast, "RMSNorm of each row, rounded to BF16 at the end.",
        "FAIL: some elements are off by a whole ULP, and one rounding explains a half. The math is right.",
        "rounding(c.inside()) says of each line which part of the error it adds",
        "It is rounded twice: the normed row goes to BF16 before the weight, and again after it.",
        mistakes_hunt.rows_and_weight, mistakes_hunt.normed, rtol=2.0**-8, atol=2.0**-20, pieces=("weighted = ",),
    ),
    # ---- the rest
    _of(
        "662a'", "The largest score of each row, over all pages; scratch is larger here.",
        "PASS with one page. With two, numbers that change from run to run.", CHECK,
        "Page 1 of a group lies on page 0 of the next.",
    ),
    _of(
        "662c", "The largest score of each row, for any number of tokens.",
        "PASS at every length that was tried: 128.", CHECK,
        "The last page is taken to be full.",
    ),
    _of(
        "662d", "Twice x, in windows of 16 tokens.",
        "PASS with 160 tokens. With more, the last rows are what they were.", CHECK,
        "Ten windows are written out; a larger tile has more.",
    ),
    _of(
        "662e", "a @ b, with loads that run ahead.",
        "The numbers are right. It is slower than it should be.", CHECK,
        "Turn 0 stands before the pl.pipeline, so its loads overlap with nothing.",
    ),
    _of(
        "387c", "1.1 (a @ b), rounded to BF16. The test allows 3e-3.",
        "FAIL, and everybody says that it is right.", f"{CHECK}; answer with the kind of the finding",
        "The tolerance is below one ULP of the output: it measures rounding.",
    ),
    _of(
        "387d", "Twice x.",
        "The numbers are right. A task of it takes no time in the profile.", CHECK,
        "Nothing reads the square, so the compiler may drop it.",
    ),
    _of(
        "387e", "Twice x in the first 128 columns, zeros in the others.",
        "PASS. In the model, columns from 128 on are not zero.", CHECK,
        "They are never written; the test's harness had cleared the output.",
    ),
    _of(
        "656b", "Twice x in two phases with a barrier between.",
        "It hangs, but only while it is being profiled.", CHECK,
        "47 blocks; the barrier waits for all 48 vector cores.",
    ),
    _of(
        "656c", "A script that compiles a kernel.",
        "It takes minutes, and the disk is full of files.", CHECK,
        "Dumps of every compiler pass are on by default.",
    ),
    _of(
        "656d", "Twice x.",
        "The numbers are right. It takes four times as long as it should.", CHECK,
        "Nothing uses the loop's variable: every turn does the same.",
    ),
    _of(
        "90a", "Twice x, 8,192 columns wide.",
        "The compiler refuses it, without a line.", CHECK,
        "A [16, 8192] FP32 tile is 512 KiB.",
    ),
    _of(
        "90b", "A copy of x, 25,600 columns wide.",
        "The compiler refuses it, without a line.", CHECK,
        "A [16, 25600] BF16 tile is 800 KiB.",
    ),
    _of(
        "391b", "A golden: twice x, in chunks.",
        "Whatever chunk size a test gives, it passes.", CHECK,
        "The golden takes `chunk` and does not use it.",
    ),
    Record(
        puzzles.tail, None, "Twice x, for any number of rows.", "PASS with 16, 32 and 64 rows.", CHECK,
        "It runs rows // 16 blocks: what is left of a tile is not written.", mistakes.tokens, mistakes.double,
        {"tokens": (16, 17, 32)}, kinds=("unwritten-output",), pieces=("// TILE",),
    ),
    Record(
        puzzles.chain, None, "(2 x + 1)^2 - 2 x, in three launches.", "PASS here, always.", CHECK,
        "`subtract` reads what `square` writes, and waits for `times2` only.", mistakes.rows, mistakes.chained,
        kinds=("race",), pieces=('name_hint="subtract"', "pl.slice(b,"),
    ),
    Record(
        puzzles.steps, None, "The sum of 64 tiles of x, in FP16.",
        "Within the tolerance of an FP16 result, just.", CHECK,
        "64 additions in FP16 round 64 times; a sum in FP32 rounds once.", mistakes.steps, mistakes.summed,
        rtol=2.0**-7, atol=2.0**-7, kinds=("low-precision-accumulation",), pieces=("total = pl.add", "dtype=pl.FP16"),
    ),
    Record(
        puzzles.pairs, None, "Twice x, two rows of tiles a block.",
        "Some rows are not written, and some are written twice.", CHECK,
        "Block t has tiles 2 t and 2 t + 1, not t and t + 1.", mistakes.rows, mistakes.double,
        kinds=("unwritten-output", "double-write"), pieces=("row = (t + i)",),
    ),
)  # fmt: skip
"""The cases; number 1 is the first. The notebook goes through GUIDED of them."""

GUIDED = 12
