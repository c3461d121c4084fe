"""docs/language.md, every name of `pl` and what interpret mode makes of it, and docs/operations.md, every operation.

Run as a module, it writes the two pages.
"""

from __future__ import annotations

import re
from pathlib import Path

from helpers.interpret.checks import rules
from helpers.interpret.language import element_types, followed, pl_names
from helpers.interpret.ops import LIMITS, NO_CODE, OPS
from helpers.interpret.pypto.operations import described, facts

PAGE = Path(__file__).parents[3] / "docs" / "language.md"
OPERATIONS = PAGE.with_name("operations.md")

# Names that are no operations and that interpret mode understands.
CONSTRUCTS = {
    "range", "parallel", "unroll", "pipeline", "while_", "yield_", "cond", "static_print", "static_assert", "func_attr",
    "at", "cluster", "spmd", "split_aiv", "split", "cross_core_slot", "scope", "manual_scope", "submit", "spmd_submit",
    "const", "MemRef", "TileView", "parse", "loads", "parse_program", "loads_program",
}  # fmt: skip

# Names that only make sense with something interpret mode does not have.
NEVER = {
    "TensorView": "without strides it runs; strides of a parameter are refused: they are those of the tensor passed",
    "RUNTIME": "for compiling; interpret mode has no use for it",
    "adir": "directions in printed programs of the compiler",
    "MemRefType": "of printed programs of the compiler",
    "Ptr": "of printed programs of the compiler",
    "PtrType": "of printed programs of the compiler",
}

HEAD = f"""# The language, as interpret mode has it

Written by `python -m helpers.interpret.pypto.language_pages`; a test holds it to the code. The names are those of
`pypto.language` in hw-native-sys/pypto at {followed.PYPTO}. **runs**: interpreted; **no**: refused, at its line in the\
 kernel.

"""


def state(path: str) -> str:
    """What becomes of `pl.<path>` in a kernel."""
    if path in NEVER:
        return NEVER[path]
    if path in NO_CODE:
        return "PyPTO cannot compile it"
    return "runs" if path in OPS or path in CONSTRUCTS else "no"


def listed() -> set[str]:
    """The names below `pl` that the page has."""
    kinds = (
        pl_names.DIRECTIVES,
        pl_names.NAMESPACES,
        pl_names.DTYPES,
        pl_names.ENUMS,
        pl_names.DECORATORS,
        pl_names.TYPES,
    )
    others = {n for k in (*kinds, pl_names.CONSTANTS, pl_names.MODULES, pl_names.HANDLES) for n in k}
    return others | set(operations()[""])


def operations() -> dict[str, list[str]]:
    """The operations of the language, by namespace: "" for those of `pl` itself."""
    out: dict[str, list[str]] = {space: [] for space in ("", *pl_names.NAMESPACES)}
    for path in sorted({*OPS, *NO_CODE}):
        space, _, name = path.rpartition(".")
        out[space].append(name)
    return out


def page() -> str:
    """The whole page."""
    out = [HEAD, "## Names\n\n"]
    for space, members in operations().items():
        members = members if space else [*members, *pl_names.DIRECTIVES]
        prefix = f"{space}." if space else ""
        found = {m: state(prefix + m) for m in sorted(set(members))}
        running = [m for m, s in found.items() if s == "runs"]
        out.append(f"### `pl.{prefix or '*'}`\n\n" if space else "### `pl.`\n\n")
        out.append(f"Runs ({len(running)} of {len(found)}): {', '.join(f'`{m}`' for m in running)}.\n\n")
        missing = [f"`{m}`" + (f" ({s})" if s != "no" else "") for m, s in found.items() if s != "runs"]
        if missing:
            out.append(f"No: {', '.join(missing)}.\n\n")
    kinds = {
        "Decorators": pl_names.DECORATORS, "Types": pl_names.TYPES, "Constants": pl_names.CONSTANTS,
        "Modules": pl_names.MODULES, "Enums": pl_names.ENUMS, "Handles": pl_names.HANDLES,
    }  # fmt: skip
    for kind, members in kinds.items():
        said = (f"`{n}`" + (f" (no: {NEVER[n]})" if n in NEVER else "") for n in members)
        out.append(f"{kind}: {', '.join(said)}.\n\n")
    out.append(
        f"Element types: {', '.join(f'`{n}`' for n in pl_names.DTYPES)}. `INT4` and `UINT4` are types of global memory:"
        " no tile has them, on either chip. `FP4` is for A5: passed as torch's `float4_e2m1fn_x2`, two to a byte,"
        " loaded, moved, cast and stored; nothing computes in it. `HF4` and `HF8` are refused.\n\n"
    )
    out.append(_element_types())
    out.append(
        "## What is refused\n\nTried on PyPTO's compiler, which refuses the same; the message says what to write.\n\n"
    )
    out.append("| construct | instead |\n|---|---|\n")
    for node, (what, fix) in {**rules.STATEMENTS, **rules.EXPRESSIONS}.items():
        out.append(f"| `{node.__name__}`: {what} | {fix} |\n")
    for what, fix in MORE:
        out.append(f"| {what} | {fix} |\n")
    return "".join(out)


def _element_types() -> str:
    """The tables of element types by operation."""
    out = [ELEMENT_TYPES, "| operation | A2/A3 | A5 |\n|---|---|---|\n"]
    alike: dict[tuple, list[str]] = {}
    for name, (_, by_chip) in sorted(LIMITS.items()):
        alike.setdefault(tuple(by_chip[c] for c in element_types.CHIPS), []).append(name)
    for (a2a3, a5), operations in alike.items():
        said = "the same" if set(a2a3) == set(a5) else " ".join(a5)
        out.append(f"| {', '.join(f'`{n}`' for n in operations)} | {' '.join(a2a3)} | {said} |\n")
    out.append("\n| cast from | to, on A2/A3 | and on A5 |\n|---|---|---|\n")
    for source, by_chip in element_types.CASTS.items():
        more = [t for t in by_chip["a5"] if t not in by_chip["a2a3"]]
        out.append(f"| {source} | {' '.join(by_chip['a2a3']) or 'none'} | {' '.join(more) or 'no more'} |\n")
    return "".join([*out, "\n"])


ELEMENT_TYPES = """## Element types by operation

What PyPTO's compiler and the chips' instructions take; anything else is refused at its line, when the kernel is parsed
where both chips refuse it, else when it runs on the one that does. An operation that is not in the table takes every
type. A name that ends in `s` is the operation with a number as second operand.

"""

MORE = (
    ("an operator between tensors or tiles, a number on the left of one", "pl.add(a, b), the tensor first"),
    ("a tensor operation outside an InCore region", "with pl.at(...), or a @pl.jit.incore function"),
    ("`**`, `@`, `&`, `\\|`, `^` but on constants", "multiply; pl.matmul; pl.and_ ..."),
    ("Python's range, min, max, abs, int, float, len, print", "pl.range, pl.min, pl.max, pl.cast"),
    ("a loop over anything but a pl loop; `else` after a loop", "for i in pl.range(n)"),
    ("a slice with a step, a negative or missing index, `...`", "slice contiguously, count from the start"),
    ("a slice whose extent is known only at run time, in a region", "a constant extent and valid_shape="),
    ("a name read outside the loop or branch that binds it", "bind it before"),
    ("an integer as a condition; a chained comparison; `in`, `is`", "a comparison; a < b and b < c"),
    ("names of the module that are not int, float or bool; attributes", "NAME = config.name at module level"),
    ("a = b = x; a, b = x, y in a region; a list bound to a name", "one name at a time"),
    (
        "a kernel called inside an expression, with a computed tensor, or an inline one with two shapes",
        "bind arguments and result to names",
    ),
    ("pl.at or pl.spmd inside a region; pl.pipeline and pl.full outside one", "launch from orchestration"),
    ("two element types in one operation; a cast to the same type", "pl.cast where they differ"),
    ("an element type that the operation does not take (table above)", "pl.cast"),
    ("a pipe that is not set up, a pop without a push or a tfree, two sides that differ", "see `pipes.py`"),
    ("an integer scalar met by a float one; a comparison used as a number", "pl.cast one of them"),
    ("two literals of two kinds in pl.min, pl.max, pl.add and their like: pl.min(2, 3.0)", "pl.min(2.0, 3.0)"),
    ("a type, a padding, a memory or a layout as text; any text by position", "pl.FP32, pl.PadValue.zero, pl.Mem.Vec"),
    ("indices of pl.mgather in a tensor; on A2/A3 a column of them for rows", "pl.load them, as [1, n]"),
    ("an INDEX scalar (a loop variable, a named literal) as operand of a tile operation", "pl.cast(i, pl.INT32)"),
    (
        "a tile (pl.load, pl.create_tile) beside a tensor; pl.store of a tensor",
        "one level: pl.load both, or slice both",
    ),
    ("a tensor of dynamic extent in compute; a tile shape known only at run time", "slice a constant extent, and loop"),
    ("another shape or type for a name in a loop, a branch or a later pl.spmd; straight lines may", "use another name"),
    ("a row fold, pl.rem, pl.xor or pl.prelu of tiles without its scratch", "tmp_tile=pl.create_tile(...)"),
    ("a float cast of an INDEX scalar in a region", "pl.cast(pl.cast(i, pl.INT32), pl.FP32)"),
    ("a store of a tile of one axis", "pl.reshape(x, [1, n])"),
    ("an extent read in place: pl.spmd(pl.tensor.dim(x, 0)) in an inline function", "n = pl.tensor.dim(x, 0)"),
    (
        "a number read in place in orchestration, in a list or a number of blocks: pl.spmd(i[0] * 2)",
        "n = i[0]",
    ),
    ("what is computed in place for a task of its own: f(x, i * 16, out) of an incore function", "row = i * 16"),
    ("arithmetic of what is read in what is valid of a tile: pl.load(..., valid_shape=[i[0] * 2, 64])", "n = i[0]"),
    ("a window of orchestration, computed with, of which the run says what is valid", "pl.slice it in the region"),
    ("a number of another type than its annotation, but an INDEX", "the type it has"),
    (
        "an argument that PyPTO's operation does not have, or the lack of one that it needs",
        "the operation's own, in docs/operations.md",
    ),
    ("a number as index where two axes are wanted: out[0, :] = [1, n]", "out[0:1, :]"),
    (
        "break or continue in pl.parallel, pl.unroll, pl.spmd; pl.scope with automatic scopes",
        "pl.range; auto_scope=False",
    ),
    ("while, break and continue in orchestration (PyPTO does not follow them)", "pl.range, and an if"),
    ("a return before the end (PyPTO goes on after it)", "return once, at the end"),
    ("an entry without a return whose last region has loops, ifs, loads or products", "return out at its end"),
    ("an incore function without a return; the old name of its output", "o = f(x, o)"),
    ("@pl.jit.opaque, of which PyPTO generates no code", "@pl.jit.inline"),
    ("init_values= without a pl.yield_ at the end of the body", "n_ = pl.yield_(n + 1)"),
    (
        "a pl.yield_ before the end of its block; in one arm of an if, of another type or to other names there",
        "the same names = pl.yield_(...) at the end of both",
    ),
    ("a name bound again, or a store, in an if that hands values on with pl.yield_", "hand it on as well"),
    ("a tile of one axis that leaves its region", "pl.reshape(x, [1, n])"),
    ("`and`, `or` and `/` of numbers that only the run knows, in orchestration; `/` of integers", "an if in an if; //"),
    ("a sum of floats in a region", "a - (-b)"),
    ("an `if` that orders an FP32 number that has a name or is read", "larger = x[0, 0] > 2.0, and if larger:"),
    ("a constant comparison bound to a name", "write it in the if"),
    ("tiles stored and single numbers written to one tensor in one region", "pl.write to the tile, then store it"),
    ("a loop that writes one number to a row of a tile", "t = pl.assemble(t, pl.full(...), [...])"),
    ("a number read from a tile where the cube half of the region needs it", "read it from global memory"),
    (
        "another valid extent for a name in a loop or a branch; an INT32 one at all",
        "another name; pl.cast(k, pl.INDEX)",
    ),
    ("a tile of which nothing is valid, stored", "remove the store"),
    ("a product by name that becomes a tile of UB in a loop", "another name"),
    ("pl.row_min, pl.row_expand_add, pl.gather of a product and what keeps its layout", "store it, and load it"),
    ("moves between buffers that have no way: UB to L0A, L0C to L1 ...", "see `ops/movement.py`"),
    ("tiles that exceed an on-chip buffer of the chip", "smaller tiles, fewer stages"),
    ("a tile in UB whose rows, or whose single column, are not a multiple of 32 bytes", "pad it; valid_shape="),
    ("operands of a product and accumulators that are not blocks of 16 rows and 32 bytes", "pad them; valid_shape="),
    ("pl.full, pl.arange or pl.transpose that gives a column [n, 1]", "make it [1, n], then pl.reshape"),
    ("pl.full by position, of a number of the other kind (FP32 with 0), of a run-time number", "value=0.0"),
    ("a valid extent, written as a number, that is zero or larger than its window's", "pl.min(rows, n)"),
    ("a part of a tile whose valid extent only the run knows", "pl.slice(..., valid_shape=[...]), or pl.fillpad"),
    (
        "a number where an operation takes a tile, a tile where it takes a number or a list",
        "see `lowering/operands.py`",
    ),
    ("a number of another type than the tensor it is written to, a literal too", "pl.cast(3, pl.INT32)"),
    (
        "an operation that PyPTO has for tiles only (relu, rem, sel, cmps, addc, move, gemv ...) on tensors",
        "pl.load and pl.store",
    ),
    ("a column [n, 1] beside a tile, or as operand of a row fold or pl.row_expand_*", "pl.row_expand_*(tile, column)"),
    ("tiles of L1, L0A and L0B in vector operations and stores; a move to L0C", "pl.load into pl.Mem.Vec"),
    ("a column, or on A2/A3 a part of the columns, assembled into a tile", "store each part into the tensor"),
    ("scratch of another type than the operation's", "pl.create_tile(..., the type of the operand)"),
    ("a row [1, C] beside a tile, in pl.mul and its like", "pl.col_expand_mul(tile, row)"),
    ("a quotient by `/` as an extent, an offset or a bound of a loop", "//"),
    ("a part of a product at a place, known, that is no multiple of 512 bytes", "a product of each part"),
    ("an operation whose result nothing takes", "name it, or remove it"),
    (
        "a number read from a tensor (INT32) in an extent of a pl.create_tensor that a region uses",
        "pl.cast(n, pl.INDEX)",
    ),
)


OPERATIONS_HEAD = """# The operations of `pl`

Written by `python -m helpers.interpret.pypto.language_pages`, from what is declared beside each operation in
`helpers/interpret/ops/`; a test holds it to the code. `help(pl.add)`, and Shift-Tab in JupyterLab, say the same.
A parameter with `=...` may be left out.

"""


def operations_page() -> str:
    """The reference of the operations, a section each."""
    uses = _uses()
    out = [OPERATIONS_HEAD]
    for record in sorted({id(o.signatures): o for o in OPS.values()}.values(), key=lambda o: next(iter(o.signatures))):
        path = next(iter(record.signatures))
        taken = str(record.signatures[path]).replace("=None", "=...")
        first, *rest = described(record, path).split("\n\n")
        out.append(f"### `pl.{path}`\n\n`pl.{path}{taken}`\n\n{first}\n\n")
        out += [f"{part}\n\n" for part in rest[:-1]]
        out += [f"- {name}: {text}\n" for name, text in facts(record, path)]
        if record.name in uses:
            out.append(f"- For example: {uses[record.name]}\n")
        out.append("\n")
    return "".join(out).rstrip() + "\n"


def _uses() -> dict[str, str]:
    """Operation -> the first line of the workbook's kernels that calls it, and in which file."""
    found: dict[str, str] = {}
    for file in sorted((PAGE.parents[1] / "kernels").glob("*.py")):
        for line in file.read_text().splitlines():
            for name in re.findall(r"\bpl\.(?:tile\.|tensor\.|system\.)?(\w+)\(", line.partition("#")[0]):
                whole = line.count("(") == line.count(")") and line.count("[") == line.count("]")
                if whole and not line.strip().startswith("with"):
                    found.setdefault(name, f"`{line.strip()}` ([{file.stem}](../kernels/{file.name}))")
    return found


if __name__ == "__main__":
    PAGE.write_text(page())
    OPERATIONS.write_text(operations_page())
