"""What is said of a name of the language where it first occurs in a puzzle: one sentence each."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from helpers.interpret.ops import OPS
from helpers.puzzles import stub_text
from helpers.puzzles.found import Entry, puzzles

CONSTRUCTS = {
    "jit": "the function is a kernel: PyPTO parses it, and compiles what it finds.",
    "Tensor": "a parameter in GM, with its shape and element type.",
    "Out": "the kernel writes this parameter, all of it.",
    "InOut": "the kernel reads this parameter, or writes a part of it.",
    "Scalar": "a parameter that is a number.",
    "at": "launches one task, which is what stands in the `with`; `level=pl.Level.CORE_GROUP` is where.",
    "spmd": "launches n tasks, its blocks; the loop's variable, or `pl.get_block_idx()`, is the block's number.",
    "range": "a loop, inside a task or in orchestration; `pl.range(first, end, step)`.",
    "pipeline": "a loop in a task whose loads run ahead: `pl.pipeline(n, stage=2)`.",
    "dynamic": "an extent that is known when the kernel runs.",
    "manual_scope": "in it, launches wait for what their `deps=` name, and for nothing else.",
    "split": "an option of a launch, `optimizations=[pl.split(...)]`: how two vector cores share the vector part.",
    "split_aiv": "in a mixed task, what the vector cores do, the loop's variable being the number of the core.",
    "SplitMode.UP_DOWN": "the upper half of the rows to one, the lower half to the other.",
    "AtomicType.Add": "for `atomic=`: add to what is there.",
    "PadValue.min": "for `pl.fillpad`: the lowest number of the type.",
    "tile.MaskPattern.P0101": "for `pl.gather`: every second element, from the first on.",
    "tile.MaskPattern.P1010": "for `pl.gather`: every second element, from the second on.",
}
"""Names that are no operations."""

ELEMENT_TYPES = {"FP32", "BF16", "INT8", "INT32", "UINT32", "INDEX"}
SAID = {
    "slice": "in a task, loads a window of a tensor as a tile: `pl.slice(x, shape, [row, column])`.",
    "assemble": "stores a tile into a tensor at [row, column], and gives the tensor back.",
    "create_tensor": "new memory in GM; in a task a new tile.",
    "min": "the smaller of two numbers, such as extents.",
    "matmul": "a product of matrices, on the cube: `pl.matmul(lhs, rhs, out_dtype=pl.FP32)`.",
    "maximum": "the larger element; the second operand may be a number.",
    "full": "a tile filled with a number: `pl.full(shape, dtype=pl.FP32, value=0.0)`.",
    "system.available_aiv_count": "how many vector cores the chip has.",
    "arange": "a tile of numbers: start, start + 1 and so on.",
    "add": "the sum of elements.",
    "transpose": "two axes exchanged: `pl.transpose(x, axis, other)`.",
    "sub": "the difference of elements.",
    "div": "the quotient of elements.",
    "tensor.dim": "the extent of an axis of a tensor.",
    "tensor.read": "one element of a tensor, as a number: `pl.tensor.read(x, [i])`.",
    "mrgsort": "merges sorted runs of `block_len` elements, four by four.",
    "matmul_acc": "`pl.matmul_acc(acc, lhs, rhs)` is acc + lhs @ rhs, in L0C; `init_cond=` true: lhs @ rhs.",
    "cast": "another element type, of a tile or of a number; `mode=` says how it rounds.",
    "sort32": "sorts each 32 columns, the largest first, another tile of numbers with them.",
    "gather": "with `mask_pattern=`: the columns that a pattern marks, close together.",
    "system.cacheinvalid": "what a core holds of GM is written back and forgotten.",
    "system.fence": "what stands before it is done before what stands after it.",
    "system.syncall": "a barrier: no block goes on before all cores have come to it.",
}
"""Of operations that have more to be said, or less, than their own first sentence."""


def names(text: str) -> Iterator[str]:
    """The names below `pl` in a text, in order: "slice", "system.syncall", "SplitMode.UP_DOWN"."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        path, inner = [], node
        while isinstance(inner, ast.Attribute):
            path.insert(0, inner.attr)
            inner = inner.value
        if path and isinstance(inner, ast.Name) and inner.id == "pl":
            found.setdefault(".".join(path), (node.lineno, node.col_offset))
    parts = {".".join(p.split(".")[: i + 1]) for p in found for i in range(p.count("."))}
    yield from sorted(set(found) - parts, key=lambda p: found[p])


def new(entry: Entry) -> list[str]:
    """The names that a puzzle's stub or solution uses and none before it does, in the order of the text."""
    seen: set[str] = set()
    for one in puzzles().values():
        mine = [_plain(n) for text in (stub_text.stub(one), stub_text.solution(one)) for n in names(text)]
        if one is entry:
            return [n for n in dict.fromkeys(mine) if n not in seen and n not in ELEMENT_TYPES]
        seen |= set(mine)
    return []


def _plain(name: str) -> str:
    return "at" if name == "Level.CORE_GROUP" else name


def sentence(name: str) -> str:
    """What is said of a name.

    Raises:
        KeyError: it is neither an operation nor in CONSTRUCTS.
    """
    if name in CONSTRUCTS:
        return CONSTRUCTS[name]
    said = SAID.get(name) or OPS[name].says
    return said[0].lower() + said[1:] if said[1:2].islower() or said.startswith("A ") else said


def line(name: str) -> str:
    """The same as Markdown, with a link where it is an operation."""
    link = f"[`pl.{name}`](../docs/operations.md#pl{name.replace('.', '')})" if name in OPS else f"`pl.{name}`"
    return f"- {link}: {sentence(name)}"
