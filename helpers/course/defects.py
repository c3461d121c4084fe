"""The defects that reviewers of five pull requests to pypto-lib found, each as a kernel, and how it is found here.

`find("662a").check()` gives the findings of the kernel that has the defect; `repaired()` those of the one that has not.
Run as a module, it writes its table into docs/sanitizers.md; a test holds the page to it.
"""

from __future__ import annotations

import contextlib
import difflib
import html
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from golden import mistakes as golden
from golden import run_jit
from helpers.errors import InputError, WorkbookError, shown
from helpers.interpret.lowering.lower import compile_kernel
from helpers.sanitize import Finding, check, report
from helpers.sanitize.check_scripts import check_script
from kernels import mistakes_attention as attention
from kernels import mistakes_projection as projection
from kernels.qwen3 import BATCH, PAGE

ROOT = Path(__file__).parents[2]
PAGE_FILE = ROOT / "docs" / "sanitizers.md"


@dataclass(frozen=True)
class Defect:
    """One defect of one pull request.

    Attributes:
        name: Pull request and letter: "662a".
        title: What is wrong, in a line.
        symptom: What somebody who runs the kernel sees.
        kind: Of the finding, see helpers.sanitize.KINDS.
        line: A piece of the line that the finding is about.
        wrong, right: The kernel with the defect and without; a Path: a script.
        specs, reference, sweep, rtol, atol: As for helpers.sanitize.check.
        repair: What is given in place of these to the right one.
    """

    name: str
    title: str
    symptom: str
    kind: str
    line: str
    wrong: Any
    right: Any
    specs: Callable[..., list]
    reference: Callable[[dict], None]
    sweep: Mapping[str, Sequence[int]] = field(default_factory=dict)
    rtol: float = 1e-4
    atol: float = 1e-4
    repair: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> list[Finding]:
        """Findings of the kernel that has the defect."""
        if isinstance(self.wrong, Path):
            with contextlib.redirect_stdout(io.StringIO()):  # what the script prints has times in it
                return check_script(self.wrong, [])
        return self._checked(self.wrong)

    def repaired(self) -> list[Finding]:
        """Findings of the kernel that has not."""
        return self._checked(self.right, **self.repair)

    def _checked(self, kernel: Any, **other: Any) -> list[Finding]:
        options = {"reference": self.reference, "rtol": self.rtol, "atol": self.atol, "sweep": self.sweep, **other}
        return check(kernel, self.specs, **options)

    @property
    def place(self) -> tuple[str, int]:
        """File and line that the finding is about."""
        if isinstance(self.wrong, Path):
            return _line(self.wrong, 1, self.line)
        if self.reference is golden.wrong_golden:
            return _line(Path(golden.__file__), inspect.getsourcelines(golden.wrong_golden)[1], self.line)
        source = compile_kernel(self.wrong).source
        return _line(Path(source.file), source.tree.lineno, self.line)

    def run(self) -> str:
        """What somebody sees who runs the kernel with the defect on the specs' own sizes, beside its golden."""
        if isinstance(self.wrong, Path):
            return "PASS"
        try:
            result = run_jit(
                self.wrong, self.specs(), self.reference, runtime_cfg={"platform": "a2a3interp"}, rtol=self.rtol,
                atol=self.atol, quiet=True,
            )  # fmt: skip
        except WorkbookError as error:
            return f"refused: {str(error).splitlines()[0]}"
        return "PASS" if result.passed else "FAIL"

    def found(self, findings: Sequence[Finding]) -> Finding | None:
        """The finding that this defect is to give, if it is among these."""
        where = self.place
        return next((f for f in findings if f.kind == self.kind and (f.file, f.line) == where), None)


def _line(path: Path, first: int, piece: str) -> tuple[str, int]:
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if number >= first and piece in text:
            return shown(str(path)), number
    raise InputError(f"{path} has no line with {piece!r} from line {first} on")


NOTHING = "Nothing: the result is right."

DEFECTS: tuple[Defect, ...] = (
    Defect(
        "662a", "The page is added to the scratch row, and scratch has no rows for pages",
        "Nothing with one page of 128 tokens. With more, other tasks' memory is overwritten.",
        "out-of-bounds", "parts = pl.assemble(parts", attention.wrong_scratch_row, attention.right_scratch_row,
        golden.scores, golden.top, {"ctx": (PAGE, 2 * PAGE, 3 * PAGE)},
    ),
    Defect(
        "662a'", "The same with scratch enough: rows of one page alias those of another",
        "Nothing with one page. With more, numbers that change from run to run.",
        "double-write", "parts = pl.assemble(parts", attention.wrong_aliased_row, attention.right_scratch_row,
        golden.scores, golden.top, {"ctx": (PAGE, 2 * PAGE, 3 * PAGE)},
    ),
    Defect(
        "662b", "Running max and sum are not merged from page to page",
        "Nothing with one page. With more, plausible numbers that are wrong.",
        "wrong-result", "total = pl.assemble(total", attention.wrong_unmerged, attention.right_unmerged,
        golden.denominators, golden.total, {"ctx": (PAGE, 2 * PAGE)},
    ),
    Defect(
        "662c", "Only a context of 128 was ever tried",
        "Nothing: every run anybody made is right.",
        "out-of-bounds", "page = pl.slice(scores", attention.wrong_one_page, attention.right_one_page,
        golden.one_head, golden.top, {"ctx": (1, PAGE - 1, PAGE, PAGE + 1)},
    ),
    Defect(
        "662d", "Ten windows are written out; a larger tile has more",
        "Nothing with 160 tokens. With more, the last rows are what they were.",
        "unwritten-output", "for w in pl.spmd(WINDOWS", attention.wrong_windows, attention.right_windows,
        golden.tokens, golden.double, {"tokens": (160, 192)},
    ),
    Defect(
        "662e", "Turn 0 of a pl.pipeline is peeled off, its load overlaps with nothing",
        "Nothing but time.",
        "peeled-pipeline", "a_tile = pl.slice(a", projection.wrong_peeled, projection.right_peeled,
        golden.product, golden.matmul,
    ),
    Defect(
        "387a", "The pair loop is commented out: only even groups are written, all are read",
        "NaN on the device; nothing where the comparison is of zeros with zeros.",
        "uninitialized-read", "total = pl.add(total", attention.wrong_groups, attention.right_groups,
        golden.groups, golden.group_sum,
    ),
    Defect(
        "387b", "Padded lanes of the batch tile read past seq_lens",
        "Nothing with 16 sequences. With fewer, whatever lies behind.",
        "out-of-bounds", "length = pl.tensor.read(seq_lens", attention.wrong_padded_lanes, attention.right_padded_lanes,
        golden.lanes, golden.by_length, {"batch": (1, BATCH - 1, BATCH)},
    ),
    Defect(
        "387c", "The tolerance is 3e-3 where 1.1e-2 was measured",
        "A test that fails, or that nobody runs.",
        "tolerance", "c = pl.assemble(c", projection.rounded, projection.rounded,
        golden.rounded_product, golden.scaled_matmul, {}, 3e-3, 3e-3, {"rtol": 2.0**-6, "atol": 2.0**-6},
    ),
    Defect(
        "387d", "Nothing reads a result, so the compiler may drop it, and its time reads as zero",
        NOTHING,
        "unread-result", "squared = pl.assemble(squared", projection.wrong_unread, projection.right_unread,
        golden.wide, golden.double,
    ),
    Defect(
        "387e", "Columns that nobody writes are zero because the harness fills outputs with zeros",
        "Nothing under the harness.",
        "unwritten-output", "y = pl.assemble(y", projection.wrong_first_chunk, projection.right_first_chunk,
        golden.wide, golden.first_chunk,
    ),
    Defect(
        "656a", "Independent tasks can hold a core that a syncall waits for",
        "A device that hangs, now and then.",
        "syncall", 'pl.system.syncall(core_type="aiv_only")', attention.wrong_barrier, attention.right_barrier,
        golden.rows_and_zeros, golden.double_and_zeros,
    ),
    Defect(
        "656b", "Instrumentation takes a core, and the syncall waits for it too",
        "A device that hangs when it is measured.",
        "syncall", 'pl.system.syncall(core_type="aiv_only")', attention.wrong_probe, attention.right_probe,
        golden.rows, golden.double,
    ),
    Defect(
        "656c", "Dumps of compiler passes are on by default",
        "Compilation that takes longer, and folders full of files.",
        "debug-option", "dump_passes: bool = True", ROOT / "notebooks" / "scripts" / "dumps_on.py",
        attention.right_loop, golden.rows, golden.double,
    ),
    Defect(
        "656d", "A loop variable that nothing uses",
        NOTHING,
        "unused-name", "for head in pl.range(4)", attention.wrong_loop, attention.right_loop,
        golden.rows, golden.double,
    ),
    Defect(
        "656e", "What its technique risks: in a manual scope, an edge that is neither declared nor inferred",
        "Nothing, as long as the tasks happen to run in program order.",
        "race", "tile2 = pl.slice(doubled", attention.wrong_manual, attention.right_manual,
        golden.rows, golden.double_and_one,
    ),
    Defect(
        "90a", "A [16, 8192] FP32 tile, 512 KiB, is kept on chip",
        "The compiler refuses it, without the line.",
        "on-chip-overflow", "tile = pl.slice(x", projection.wrong_wide, projection.right_wide,
        partial(golden.wide, projection.WIDE), golden.double,
    ),
    Defect(
        "90b", "A [16, 25600] BF16 tile, 800 KiB, is kept on chip",
        "The compiler refuses it, without the line.",
        "on-chip-overflow", "tile = pl.slice(x", projection.wrong_wider, projection.right_wider,
        partial(golden.wide, projection.WIDER, torch.bfloat16), golden.copied,
    ),
    Defect(
        "391a", "valid_rows is negative where a tile begins after the last real row",
        "Nothing with 20 sequences. With fewer than 16, an undefined transfer.",
        "valid-extent", "tile = pl.slice(x", projection.wrong_valid_rows, projection.right_valid_rows,
        golden.valid_rows, golden.double_valid, {"batch": (1, BATCH, BATCH + 1, 2 * BATCH)},
    ),
    Defect(
        "391b", "The golden takes a chunk size that it does not use",
        NOTHING,
        "unused-name", "chunk: int = 128", projection.right_unread, projection.right_unread,
        golden.wide, golden.wrong_golden, repair={"reference": golden.double},
    ),
)  # fmt: skip
"""Every defect that SOURCES lists, in its order."""


def find(name: str) -> Defect:
    """The defect called `name`.

    Raises:
        InputError: there is none; says which there are.
    """
    for d in DEFECTS:
        if d.name == name:
            return d
    raise InputError(f"there is no defect {name!r}; there are: {', '.join(d.name for d in DEFECTS)}")


class Shown:
    """Findings, or a change of a kernel, as text and as HTML."""

    def __init__(self, text: str, page: str):
        self.text, self.page = text, page

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.page


def findings(name: str) -> Shown:
    """What is found in the kernel of a defect, for a notebook."""
    found = find(name).check()
    return Shown(report.text(found), report.as_html(found))


def repair(name: str) -> Shown:
    """What changes from the kernel with a defect to the one without, and what is then found."""
    d = find(name)
    left = report.summary(d.repaired())
    if d.wrong is d.right or isinstance(d.wrong, Path):
        return Shown(left, f"<div>{left}</div>")
    before, after = (_body(k) for k in (d.wrong, d.right))
    changed = [line for line in difflib.ndiff(before, after) if not line.startswith("?")]
    near = [i for i, line in enumerate(changed) if line[0] in "+-"]
    kept = [line for i, line in enumerate(changed) if any(abs(i - n) < 2 for n in near)]
    colours = {"+": "#1b7f3b", "-": "#b3261e", " ": "#666"}
    page = "".join(f"<span style='color:{colours[line[0]]}'>{html.escape(line)}</span>\n" for line in kept)
    return Shown("\n".join([*kept, "", left]), f"<pre style='font-family:monospace'>{page}</pre><div>{left}</div>")


def _body(kernel: Any) -> list[str]:
    source = compile_kernel(kernel).source
    lines = Path(source.file).read_text().splitlines()
    return lines[source.tree.body[1].lineno - 1 : source.tree.end_lineno]


BEGIN, END = "<!-- defects: written by python -m helpers.course.defects -->", "<!-- end of defects -->"


def table() -> str:
    """The defects as a table in Markdown: what is wrong, what shows, what is found and where."""
    out = ["| | defect | what shows without a sanitizer | finding | line |", "|---|---|---|---|---|"]
    for d in DEFECTS:
        found = d.found(d.check())
        if found is None:
            raise InputError(f"defect {d.name} is not found")
        with_ = f" with {found.case}" if found.case else ""
        code = found.place.code.strip()
        out.append(f"| {d.name} | {d.title} | {d.symptom} | {found.severity}: {d.kind}{with_} | `{code}` |")
    return "\n".join(out)


def written(page: str) -> str:
    """The page with this table between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE_FILE.write_text(written(PAGE_FILE.read_text()))
