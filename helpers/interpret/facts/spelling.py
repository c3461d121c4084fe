"""What was meant by a name that is not there: the names that look like it, and what stands in place of Python's own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from helpers.interpret.language.pl_names import NAMESPACES
from helpers.interpret.ops import exists

DEBUG = "`workbook debug FILE.py:KERNEL --line N`, or with helpers.inside.inside(...) in a notebook"

# What a kernel has in place of a function of Python's.
INSTEAD = {
    "print": f"leave it out, and see every tile with {DEBUG}",
    "breakpoint": f"leave it out, and step through the kernel with {DEBUG}",
    "abs": "pl.abs(tile)", "sum": "pl.row_sum(tile), pl.col_sum(tile)", "range": "pl.range(n)", "pow": "pl.mul(x, x)",
    "len": "tensor.shape[0]", "int": "pl.cast(n, pl.INDEX)", "float": "write the number as 2.0, or pl.cast(n, pl.FP32)",
    "enumerate": "for i in pl.range(n)", "zip": "for i in pl.range(n), and index both",
    "assert": "pl.static_assert(...)", "slice": "pl.slice(x, [rows, columns], [row, column])",
}  # fmt: skip


def meant(name: str, among: Iterable[str], before: str = "") -> str | None:
    """ "did you mean pl.mul or pl.muls?", of the names that look like it; None if none does."""
    known = dict.fromkeys(n for n in among if not n.startswith("_"))
    close = difflib.get_close_matches(name.lower(), {n.lower(): None for n in known}, n=3, cutoff=0.6)
    found = [n for c in close for n in known if n.lower() == c][:3]
    return f"did you mean {' or '.join(before + n for n in found)}?" if found else None


def of_language(path: str, members: Iterable[str]) -> str | None:
    """What was meant by `pl.<path>`, where its owner has `members`; its last name is not among these."""
    owner, _, name = path.rpartition(".")
    spaces = [s for s in ("", *NAMESPACES) if s != owner and exists(f"{s}.{name}".lstrip("."))]
    if spaces:
        return f"did you mean {' or '.join('pl.' + f'{s}.{name}'.lstrip('.') for s in spaces)}?"
    return meant(name, members, f"pl.{owner}." if owner else "pl.")
