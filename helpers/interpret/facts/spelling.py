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

# What to write in place of a function that other languages for kernels have, and pl has not.
FOREIGN = {
    "dot": "pl.matmul(a, b, out_dtype=pl.FP32)", "mm": "pl.matmul(a, b, out_dtype=pl.FP32)",
    "cdiv": "(a + b - 1) // b", "ceil_div": "(a + b - 1) // b", "zeros": "pl.full(shape, dtype=pl.FP32, value=0.0)",
    "ones": "pl.full(shape, dtype=pl.FP32, value=1.0)", "sum": "pl.row_sum(tile), pl.col_sum(tile)",
    "mean": "pl.mul(pl.row_sum(tile), 1.0 / WIDTH)", "square": "pl.mul(x, x)", "pow": "pl.mul(x, x)",
    "where": "pl.sel(mask, a, b)", "program_id": "the variable of `for i in pl.spmd(n)`, or pl.get_block_idx()",
    "num_programs": "pl.get_block_num()", "syncthreads": "nothing in a task; pl.system.syncall() between blocks",
    "atomic_add": "pl.assemble(y, tile, offset, atomic=pl.AtomicType.Add)",
    "softmax": "pl.row_max, pl.row_expand_sub, pl.exp, pl.row_sum, pl.row_expand_div",
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
    if name in FOREIGN:
        return FOREIGN[name]
    spaces = [s for s in ("", *NAMESPACES) if s != owner and exists(f"{s}.{name}".lstrip("."))]
    if spaces:
        return f"did you mean {' or '.join('pl.' + f'{s}.{name}'.lstrip('.') for s in spaces)}?"
    return meant(name, members, f"pl.{owner}." if owner else "pl.")
