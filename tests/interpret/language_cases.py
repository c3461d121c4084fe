"""What the language refuses and accepts, as small kernels: the rows of test_refusals.py.

Every row of REFUSED and ACCEPTED was tried on PyPTO's compiler (sample arguments, a2a3sim). A row's body stands in the
`pl.at` of an entry (REGION), in the entry itself (ENTRY), or is a module of its own with an entry `k` (MODULE). In a
refused row the mark `#!` ends the line that must be reported and `at` is the text that the column must point to.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

REGION, ENTRY, MODULE = "region", "entry", "module"

PARAMETERS = (
    "x: pl.Tensor[[64, 64], pl.FP32], y: pl.Tensor[[64, 64], pl.FP32], b: pl.Tensor[[64, 64], pl.BF16], "
    "idx: pl.Tensor[[16], pl.INT32], dy: pl.Tensor[[DYN, 64], pl.FP32], n: pl.Scalar[pl.INT32], "
    "f: pl.Scalar[pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]"
)

BEFORE = """
import math

import numpy as np

DYN = pl.dynamic("DYN")
K = 64
K1 = 7
F = 0.25
B = True
NONE = None
WORD = "abc"
LIST = [16, 64]
TABLE = {"a": 1}
SIZE = np.int32(4)
DTYPE = pl.FP32


class M:
    h = 16


def plain(v):
    return v


@pl.jit.inline
def scale(t: pl.Tensor[[16, 64], pl.FP32], s: pl.Scalar[pl.FP32]):
    v = pl.mul(t, s)
    return v


@pl.jit.inline
def first_row(t: pl.Tensor[[16, 64], pl.FP32]):
    v = pl.row_max(t)
    w = pl.row_min(t)
    return v, w


@pl.jit.incore
def times2(t: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    o[:, :] = pl.mul(t, 2.0)
    return o


@pl.jit
def other(t: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.mul(t, 2.0)
"""


@dataclass(frozen=True)
class Case:
    """One construct. `want` gives the output of an accepted one from the arguments; `at` is for a refused one."""

    title: str
    body: str
    at: str = ""
    where: str = REGION
    want: Callable[[Arguments], torch.Tensor] | None = None

    def source(self) -> str:
        body = textwrap.dedent(self.body).strip("\n")
        if self.where == MODULE:
            future = "from __future__ import annotations\n"
            return (future if body.startswith(future) else "") + BEFORE + "\n\n" + body.removeprefix(future) + "\n"
        if self.where == REGION:
            body = "with pl.at(level=pl.Level.CORE_GROUP):\n" + textwrap.indent(body, "    ")
        if "return" not in body:
            body += "\nreturn out"
        return f"{BEFORE}\n\n@pl.jit\ndef k({PARAMETERS}):\n{textwrap.indent(body, '    ')}\n"


@dataclass
class Arguments:
    """The arguments of every row; `out` holds sevens before the call."""

    x: torch.Tensor
    y: torch.Tensor
    b: torch.Tensor
    idx: torch.Tensor
    dy: torch.Tensor
    n: int
    f: float
    out: torch.Tensor

    @staticmethod
    def new() -> Arguments:
        g = torch.Generator().manual_seed(0)
        x, y, b = (torch.randn(64, 64, generator=g) for _ in range(3))
        idx = (torch.arange(16, dtype=torch.int32) * 5 + 3) % 16  # idx[0] is 3
        dy = torch.randn(128, 64, generator=g)
        return Arguments(x, y, b.bfloat16(), idx, dy, 2, 1.5, torch.full((64, 64), 7.0))


def refused(title: str, body: str, at: str, where: str = REGION) -> Case:
    return Case(title, body, at, where)


def rows(start: int, value: Callable[[Arguments], torch.Tensor]) -> Callable[[Arguments], torch.Tensor]:
    """Sevens, but for `value` from row `start` on."""

    def want(a: Arguments) -> torch.Tensor:
        out, v = torch.full((64, 64), 7.0), value(a)
        out[start : start + v.shape[0], : v.shape[1]] = v
        return out

    return want


def accepted(title: str, body: str, want: Callable[[Arguments], torch.Tensor], where: str = REGION) -> Case:
    return Case(title, body, where=where, want=want)


def untouched(a: Arguments) -> torch.Tensor:
    return torch.full((64, 64), 7.0)


def module(body: str, parameters: str | None = None, decorator: str = "@pl.jit") -> str:
    p = PARAMETERS if parameters is None else parameters
    return f"{decorator}\ndef k({p}):\n{textwrap.indent(textwrap.dedent(body).strip(chr(10)), '    ')}\n"


XO = "x: pl.Tensor[[64, 64], pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]"
COPY = "with pl.at(level=pl.Level.CORE_GROUP):\n    out[:, :] = pl.mul(x, 2.0)"


def in_region(*lines: str) -> str:
    """An entry on x and out whose body is a region of these lines."""
    return module("with pl.at(level=pl.Level.CORE_GROUP):\n" + "\n".join("    " + line for line in lines), XO)


def no_return(*lines: str) -> str:
    """An entry on x, idx and out that ends with a region of these lines."""
    head = "@pl.jit\ndef k(x: pl.Tensor[[64, 64], pl.FP32], idx: pl.Tensor[[16], pl.INT32], n: pl.Scalar[pl.INT32], "
    head += "out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):\n    with pl.at(level=pl.Level.CORE_GROUP):\n"
    return head + textwrap.indent("\n".join(lines), "        ")


def inner(*lines: str) -> str:
    """`in_region` inside an f-string that is indented by eight."""
    return in_region(*lines).replace("\n", "\n" + " " * 8)


def twice(a: Arguments) -> torch.Tensor:
    return a.x * 2


AT = "with pl.at(level=pl.Level.CORE_GROUP):"

LOADED = (
    "t = pl.load(x, [0, 0], [16, 64])\nu = pl.load(y, [0, 0], [16, 64])\nw = pl.create_tile([16, 64], pl.FP32)\n"
    "c = pl.row_max(t, w)\n"
)
CUT = "t = pl.add(x[0:16, :], 1.0)\nu = pl.add(y[0:16, :], 1.0)\nc = pl.row_max(t)\nv = pl.col_max(t)\n"
STORED, WRITTEN = "out = pl.store(r, [0, 0], out)", "out[0:16, :] = r"


def operand_cases() -> Iterator[tuple[str, str, str, str, str, bool]]:
    """Title, lines before, the call, lines after, what the column points to, and whether only the assembler refuses.

    Found by exchanging every operand of every operation for each other kind, on PyPTO and its assembler.
    """
    for name in ("adds", "subs", "muls", "divs"):
        yield f"pl.tile.{name} of two tiles", LOADED, f"pl.tile.{name}(t, u)", STORED, "u)", False
        yield f"pl.tensor.{name} of two tensors", CUT, f"pl.tensor.{name}(t, u)", WRITTEN, "u)", False
    for name in ("maximums", "minimums", "fmods"):
        yield f"pl.{name} of two tiles", LOADED, f"pl.{name}(t, u)", STORED, "u)", False
    for name in ("maximum", "minimum", "fmod"):
        yield f"pl.tile.{name} with a number", LOADED, f"pl.tile.{name}(t, 1.0)", STORED, f"pl.tile.{name}", False
        yield f"pl.{name} of a column", CUT, f"pl.{name}(t, c)", WRITTEN, f"pl.{name}", False
    for name in ("add", "sub", "mul", "div"):
        yield f"pl.{name} of a tile and a column", LOADED, f"pl.{name}(t, c)", STORED, f"pl.{name}", False
    for call in (
        "relu(t)",
        "lrelu(t, 0.5)",
        "maximums(t, 1.0)",
        "minimums(t, 1.0)",
        "addc(t, u, t)",
        "subsc(t, 1.0, u)",
    ):
        yield f"pl.{call} of tensors", CUT, f"pl.{call}", WRITTEN, "t", False
    for name in ("addc", "subc"):
        yield f"pl.{name} with a number", LOADED, f"pl.{name}(t, u, 1.0)", STORED, "1.0", False
    for name in ("row_expand", "col_expand"):
        yield f"pl.{name} of two wide tensors", CUT, f"pl.{name}(t, u)", WRITTEN, f"pl.{name}", False
    yield "pl.div by a row", CUT, "pl.div(t, v)", WRITTEN, "pl.div", False
    yield "pl.div of a column", CUT, "pl.div(c, t)", WRITTEN, "pl.div", False
    yield "pl.row_min of a column", CUT, "pl.row_min(c)", "out[0:16, 0:1] = r", "pl.row_min", False
    yield "pl.row_max of a column", CUT, "pl.row_max(c)", "out[0:16, 0:1] = r", "pl.row_max", True
    yield (
        "pl.row_expand_sub of a column",
        CUT,
        "pl.row_expand_sub(c, c)",
        "out[0:16, 0:1] = r",
        "pl.row_expand_sub",
        True,
    )
    yield "a column assembled", CUT, "pl.assemble(t, c, [0, 3])", WRITTEN, "pl.assemble", True
    yield (
        "some columns assembled",
        CUT,
        "pl.assemble(t, pl.add(y[0:16, 0:8], 1.0), [0, 8])",
        WRITTEN,
        "pl.assemble",
        True,
    )
    yield "an axis transposed with itself", CUT, "pl.transpose(t, 1, 1)", WRITTEN, "pl.transpose", False
    yield "pl.arange of rows", "", "pl.arange(0, [16, 64], dtype=pl.INT32)", "idx2 = pl.add(r, r)", "[16, 64]", False
    yield "pl.arange from a float", "", "pl.arange(1.5, [1, 64], dtype=pl.INT32)", "idx2 = pl.add(r, r)", "1.5", False
    yield "pl.tri from a float", "", "pl.tri(1.5, [16, 64])", STORED, "1.5", False
    yield "pl.move of a tensor", CUT, "pl.move(t, pl.Mem.Vec)", WRITTEN, "t, pl.Mem", False
    yield "pl.move to L0C", LOADED, "pl.move(t, pl.Mem.Acc)", STORED, "pl.move", False
    mat = "m = pl.load(x, [0, 0], [16, 64], target_memory=pl.Mem.Mat)\n"
    for call in ("pl.fillpad(m)", "pl.add(m, m)", "pl.cast(m, pl.BF16)"):
        yield f"{call} in L1", mat, call, "pl.store(r, [0, 0], out)", call.partition("(")[0], True
    yield (
        "pl.rsqrt with scratch of another type",
        LOADED,
        "pl.tile.rsqrt(t, tmp=pl.create_tile([16, 64], pl.INT32))",
        STORED,
        "pl.tile.rsqrt",
        False,
    )
    for value, dtype in (("1", "out"), ("idx[0]", "out"), ("n", "out"), ("1.0", "idx"), ("1", "idx")):
        at = "[3, 4]" if dtype == "out" else "[3]"
        yield f"{value} written to {dtype}", "", f"pl.write({dtype}, {at}, {value})", "", value + ")", False


PRODUCT = "p = pl.matmul(b[0:16, :], b[0:64, 0:16], out_dtype=pl.FP32)\nc = pl.row_max(y[0:16, :])\n"
OPERANDS = (
    "m = pl.load(b, [0, 0], [16, 64], target_memory=pl.Mem.Mat)\n"
    "w = pl.load(b, [0, 0], [64, 16], target_memory=pl.Mem.Mat)\n"
)
ACCUMULATED = "p = pl.matmul(pl.move(m, pl.Mem.Left), pl.move(w, pl.Mem.Right))\n"
PARTLY = "s = pl.slice(x, [16, 64], [0, 0], valid_shape=[8, 64])\n"
RUN_TIME = "s = pl.slice(x, [16, 64], [0, 0], valid_shape=[pl.cast(pl.read(idx, [0]), pl.INDEX), 64])\n"


def buffer_cases() -> Iterator[tuple[str, str, str, str, str, bool]]:
    """As `operand_cases`: where tiles lie, how they are laid out, and what is valid of them."""
    after = "out[0:16, 0:1] = r"
    for value in ("p", "pl.mul(p, 2.0)", "pl.exp(pl.neg(p))", "pl.add(p, x[0:16, 0:16])", "pl.row_expand_mul(p, c)"):
        yield f"pl.row_min of {value}", f"{PRODUCT}s = {value}\n", "pl.row_min(s)", after, "pl.row_min", False
    after = "out[0:16, 0:16] = r"
    for name in ("row_expand_add", "add"):
        yield f"pl.{name} of what a product gives", f"{PRODUCT}s = pl.exp(p)\n", f"pl.{name}(s, c)", after, "pl.", False
    index = "i = pl.cast(x[0:16, 0:16], pl.INT32)\n"
    yield "pl.gather of a product", PRODUCT + index, "pl.gather(p, -1, i)", after, "pl.gather", True
    for start in ("pl.full([16, 16], dtype=pl.FP32, value=0.0)", "x[0:16, 0:16]", "pl.exp(y[0:16, 0:16])"):
        call = "pl.matmul_acc(a, b[0:16, :], b[0:64, 0:16])"
        yield f"pl.matmul_acc into {start}", f"a = {start}\n", call, after, "pl.matmul_acc", False
    yield "from L1 to L1", OPERANDS, "pl.matmul(m, pl.move(w, pl.Mem.Mat))", STORED, "pl.move", True
    yield "from L1 to UB", OPERANDS, "pl.cast(pl.move(m, pl.Mem.Vec), pl.FP32)", STORED, "pl.move", True
    moved = "pl.move(p, pl.Mem.Left)"
    yield "from L0C to L0A", OPERANDS + ACCUMULATED, f"pl.matmul({moved}, p)", STORED, "pl.move", True
    moved = "pl.move(pl.move(m, pl.Mem.Left), pl.Mem.Mat)"
    yield "from L0A to L1", OPERANDS, f"pl.matmul({moved}, w)", STORED, "pl.move(pl.move", True
    matrix = "m = pl.load(b, [0, 0], [16, 64], target_memory=pl.Mem.Mat)\n"
    yield "pl.row_expand to a tile in L1", LOADED + matrix, "pl.row_expand(m, c)", STORED, "pl.row_expand", True
    yield "rows of which the run knows how many, reshaped", RUN_TIME, "pl.reshape(s, [32, 32])", "", "pl.reshape", False
    gap = "pl.assemble(s, y[0:4, :], [10, 0])"
    yield "assembled beyond what is valid", PARTLY, gap, WRITTEN, "pl.assemble", False
    corner = "pl.assemble(s, pl.slice(y, [8, 64], [0, 0], valid_shape=[8, 32]), [8, 0])"
    yield "assembled to no rectangle", PARTLY, corner, WRITTEN, "pl.assemble", False
    slope = "t = pl.load(x, [0, 0], [16, 64], valid_shape=[8, 64])\nu = pl.load(y, [0, 0], [16, 64])\n"
    slope += "w = pl.create_tile([32, 64], pl.UINT8)\n"
    yield "pl.prelu by a slope that is valid further", slope, "pl.prelu(t, u, w)", STORED, "pl.prelu", False
    small = LOADED + "s = pl.create_tile([16, 16], pl.FP32)\n"
    yield "pl.rems with small scratch", small, "pl.rems(t, 2.0, s)", STORED, "pl.rems", False
    yield "pl.tile.expands", LOADED, "pl.tile.expands(t, 2.0)", STORED, "pl.tile", False
    yield "pl.expands", CUT, "pl.expands(t, 2.0)", WRITTEN, "pl.expands", False
    yield "a pattern by position", LOADED, "pl.tile.gather_mask(t, 1)", STORED, "1)", False
    yield "a column of what is valid in part", PARTLY, "pl.slice(s, [16, 1], [0, 8])", after, "pl.slice", True
    yield "pl.transpose of a product", PRODUCT, "pl.transpose(p, 0, 1)", after, "pl.transpose", True
    yield "pl.transpose of a third axis", CUT, "pl.transpose(t, 2, 1)", WRITTEN, "pl.transpose", False
    for call in ("pl.matmul(p, x[0:16, 0:16])", "pl.matmul(x[0:16, 0:16], p)"):
        yield f"{call} of a product", PRODUCT, call, after, "pl.matmul", True
    yield "pl.gemv of several rows", OPERANDS, "pl.gemv(m, w)", STORED, "pl.gemv", False
    yield "pl.cmp of columns", CUT, "pl.cmp(c, c)", "out[0:16, 0:1] = r", "pl.cmp", True
    yield (
        "pl.cmp with an index",
        CUT + "k = pl.cast(n, pl.INDEX) + pl.cast(idx[0], pl.INDEX)\n",
        "pl.cmp(t, k)",
        WRITTEN,
        "k)",
        False,
    )
    yield "pl.rems of a column", LOADED, "pl.rems(c, 2.0, w)", STORED, "pl.rems", True
    yield "pl.fillpad_expand of a tile in L1", OPERANDS, "pl.fillpad_expand(m, [32, 64])", STORED, "pl.fillpad", True
    high = "pl.div(t, 2.0, high_precision=True)"
    yield "pl.div by a number with high precision", CUT, high, WRITTEN, "pl.div", False
    yield "pl.store with one shape", LOADED, "pl.store(t, [0, 0], out, shapes=[1024])", "", "pl.store", False
    into = "pl.assemble(s, y[0:16, :], [0, 0])"
    yield "assembled where the run knows what is valid", RUN_TIME, into, WRITTEN, "pl.assemble", False


BOTH_UNITS = "i = pl.cast(pl.mul(x[0:16, :], 0.0), pl.INT32)\n"
ON_CUBE = "p = pl.matmul(b[0:16, :], b, out_dtype=pl.FP32)"
INTEGER_QUOTIENT = "a quotient of integers"
PART = "v = pl.slice(x, [16, 64], [0, 0], valid_shape=[8, 64])\n"
ADDED = "out[0:16, :] = pl.add(x[0:16, :], y[0:16, :])"

REFUSED = [
    # augmented assignment
    refused("x += tensor", "x += y  #!", "x += y"),
    refused("tile *= number", "t = pl.add(x, y)\nt *= 2.0  #!\nout[:, :] = t", "t *= 2.0"),
    refused("scalar += in a region", "k2 = 0\nk2 += 1  #!", "k2 += 1"),
    refused("scalar += in orchestration", "k2 = 0\nk2 += 1  #!", "k2 += 1", ENTRY),
    refused("out[:] += x", "out[:] += x  #!", "out[:] += x"),
    refused("out[0:16, :] -= window", "out[0:16, :] -= x[0:16, :]  #!", "out[0:16, :] -="),
    # expressions
    refused("conditional expression", "v = 1 if n > 0 else 2  #!", "1 if n > 0"),
    refused("conditional expression, orchestration", "v = 1 if n > 0 else 2  #!", "1 if n > 0", ENTRY),
    refused("conditional expression on constants", "v = 1 if K == 64 else 2  #!", "1 if K"),
    refused("conditional expression as argument", "t = pl.add(x, 1.0 if K == 64 else 2.0)  #!", "1.0 if K"),
    refused("conditional expression choosing tensors", "t = pl.add(x if n > 0 else y, 1.0)  #!", "x if n > 0"),
    refused("tensor ** 2", "t = x ** 2  #!", "x ** 2"),
    refused("tensor @ tensor", "t = x @ y  #!", "x @ y"),
    refused("-tensor", "t = -x  #!", "-x"),
    refused("+tensor", "t = +x  #!", "+x"),
    refused("~tensor", "t = ~x  #!", "~x"),
    refused("+scalar", "m = +idx[0]  #!", "+idx[0]"),
    refused("chained comparison", "if 0 < n < 4:  #!\n    out[:, :] = pl.add(x, 1.0)", "0 < n < 4"),
    refused("integer parameter as condition", "if n:  #!\n    out[:, :] = pl.add(x, 1.0)", "n:"),
    refused("in", "if n in (1, 2):  #!\n    out[:, :] = pl.add(x, 1.0)", "n in"),
    refused("is None", "if n is None:  #!\n    out[:, :] = pl.add(x, 1.0)", "n is"),
    refused("walrus", "if (v := n) > 0:  #!\n    out[:, :] = pl.add(x, 1.0)", "v := n"),
    refused("lambda", "g = lambda v: v  #!", "lambda"),
    refused("f-string", 'g = f"{n}"  #!', 'f"'),
    refused("string bound to a name", 'g = "abc"  #!', '"abc"'),
    refused(
        "list bound to a name, used as shape", "s = [16, 64]  #!\nt = pl.full(s, dtype=pl.FP32, value=0.0)", "[16, 64]"
    ),
    refused("tuple bound to a name, used as offsets", "o = (0, 0)  #!\nt = pl.slice(x, [16, 64], o)", "(0, 0)"),
    refused("dict", 'd = {"a": 1}  #!', "{"),
    refused("set", "d = {1, 2}  #!", "{1"),
    refused("list comprehension", "d = [i for i in (1, 2)]  #!", "[i for"),
    refused(
        "list comprehension as shape", "t = pl.full([16 for _ in (1, 2)], dtype=pl.FP32, value=0.0)  #!", "[16 for"
    ),
    refused("generator expression", "d = (i for i in (1, 2))  #!", "(i for"),
    refused("None bound to a name", "d = None  #!", "None"),
    refused("starred arguments", "t = pl.add(*[x, y])  #!", "*[x"),
    refused("double-starred keywords", 't = pl.add(x, **{"rhs": y})  #!', ""),
    refused("complex literal", "d = 1j  #!", "1j"),
    refused("ellipsis statement", "...  #!", "..."),
    refused("yield", "d = yield n  #!", "yield n"),
    refused("await in no async function", "out[:, :] = x[..., 0:64]  #!", "..."),
    # operators on tensors
    *(
        refused(f"{left} {sign} {right}", f"t = {left} {sign} {right}  #!", f"{left} {sign}")
        for sign in ("+", "-", "*", "/", "//", "%", "&", "<")
        for left, right in (("2.0", "x"), ("x", "2.0"), ("x", "y"))
        if sign in "+-*/" or left == "x"
    ),
    refused("full of nothing", "out[0:16, :] = pl.full([16, 64], dtype=pl.FP32, value=None)  #!", "None"),
    refused("full of two numbers", "out[0:16, :] = pl.full([16, 64], dtype=pl.FP32, value=(1, 2))  #!", "(1, 2)"),
    refused(
        "a pipeline of no stages",
        "for i in pl.pipeline(4, stage=None):  #!\n    out[i * 16 : i * 16 + 16, :] = x[i * 16 : i * 16 + 16, :]",
        "None",
    ),
    refused("an axis that is text", "d = pl.tensor.dim(dy, 'a')  #!", "'a'", ENTRY),
    refused("an axis that is no number", "t = pl.transpose(x, None, 1)  #!", "None", ENTRY),
    refused("an axis that is a fraction", "d = pl.tensor.dim(dy, 1.5)  #!", "1.5", ENTRY),
    refused("the language as a number", "m = pl.min(pl, 4)  #!", "pl, 4", ENTRY),
    refused("a type as a number", "m = pl.max(n, pl.INDEX)  #!", "pl.INDEX", ENTRY),
    refused("numbers as a number", "m = pl.min(n, (1, 2))  #!", "(1, 2)", ENTRY),
    refused("a module as a valid shape", "t = pl.load(x, [0, 0], [16, 64], pl)  #!", "pl)"),
    refused("a valid shape that is no list", "t = pl.slice(x, [16, 64], [8, 0], valid_shape=True)  #!", "True"),
    refused(
        "a valid shape of another rank", "t = pl.slice(x, [16, 64], [8, 0], valid_shape=[4, 64, 64])  #!", "pl.slice"
    ),
    refused("number on the left of a computed value", "t = pl.add(x, y)\nu = 2.0 * t  #!", "2.0 * t"),
    refused("scalar parameter on the left of a tensor", "t = f * x  #!", "f * x"),
    refused("tensor times scalar parameter", "t = x * f  #!", "x * f"),
    refused("tensor plus int", "t = x + 1  #!", "x + 1"),
    refused("pl.mul with a number first", "t = pl.mul(2.0, x)  #!", "pl.mul"),
    refused("pl.sub with a number first", "t = pl.sub(2.0, x)  #!", "pl.sub"),
    refused("tensor == tensor", "if x == y:  #!\n    out[:, :] = pl.add(x, 1.0)", "x == y"),
    refused("x.T", "t = x.T  #!", "x.T"),
    refused("method call", "t = x.add(y)  #!", "x.add"),
    refused("nested operators", "t = (x + y) * 2.0 - x / y  #!", "("),
    refused("operator on a slice", "t = x[0:16, :] * 2.0  #!", "x[0:16, :]"),
    refused("operators on tiles", "t = pl.load(x, [0, 0], [16, 64])\nu = t + t  #!", "t + t"),
    refused("number times tile", "t = pl.load(x, [0, 0], [16, 64])\nu = 2.0 * t  #!", "2.0 * t"),
    refused("minus tile", "t = pl.load(x, [0, 0], [16, 64])\nu = -t  #!", "-t"),
    refused("comparison of tiles", "t = pl.load(x, [0, 0], [16, 64])\nu = t < t  #!", "t < t"),
    refused(
        "operator in an incore function",
        """
        @pl.jit.incore
        def h(a: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
            o[:, :] = a + a  #!
            return o


        @pl.jit
        def k(x: pl.Tensor[[64, 64], pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
            out = h(x, out)
        """,
        "a + a",
        MODULE,
    ),
    # tensor operations outside an InCore region
    refused("pl.add in orchestration", "t = pl.add(x, y)  #!", "pl.add", ENTRY),
    refused(
        "pl.add in orchestration for a region",
        "t = pl.add(x, y)  #!\nwith pl.at(level=pl.Level.CORE_GROUP):\n    out[:, :] = pl.mul(t, 2.0)",
        "pl.add",
        ENTRY,
    ),
    refused("operator in orchestration", "t = x + y  #!", "x + y", ENTRY),
    *(
        refused(f"{call} in orchestration", f"t = {call}  #!", call.split("(")[0], ENTRY)
        for call in (
            "pl.cast(x, pl.BF16)",
            "pl.full([16, 64], dtype=pl.FP32, value=0.0)",
            "pl.row_sum(x)",
            "pl.row_max(x)",
            "pl.matmul(b, b)",
            "pl.load(x, [0, 0], [16, 64])",
            "pl.set_validshape(x, 16, 64)",
            "pl.fillpad(x)",
            "pl.exp(x)",
            "pl.arange(0, [1, 16], dtype=pl.INT32)",
        )
    ),
    # loops
    refused("Python's range", "for i in range(4):  #!\n    out[0:16, :] = pl.add(x[0:16, :], 1.0)", "range(4)"),
    refused(
        "Python's range in orchestration",
        "for i in range(4):  #!\n    with pl.at(level=pl.Level.CORE_GROUP):\n        out[:, :] = pl.add(x, 1.0)",
        "range(4)",
        ENTRY,
    ),
    refused("for over a tuple", "for i in (0, 1):  #!\n    out[0:16, :] = pl.add(x[0:16, :], 1.0)", "(0, 1)"),
    refused("for over a list of the module", "for i in LIST:  #!\n    out[0:16, :] = pl.add(x[0:16, :], 1.0)", "LIST"),
    refused("enumerate", "for i, j in enumerate(pl.range(4)):  #!\n    out[0:16, :] = pl.exp(x[0:16, :])", "enumerate"),
    refused("keyword of pl.range", "for i in pl.range(0, 64, step=16):  #!\n    t = pl.exp(x)", "16"),
    *(
        refused(
            f"atomic assemble in orchestration{', by a loop' * loop}",
            f"{'for i in pl.range(2):' + chr(10) + '    ' if loop else ''}out = pl.assemble(out, x, [0, 0],"
            " atomic=pl.AtomicType.Add)  #!",
            "pl.AtomicType",
            ENTRY,
        )
        for loop in (False, True)
    ),
    refused("step of nothing", "for i in pl.range(4, 8, 0):  #!\n    t = pl.exp(x)", "0):"),
    refused("step of nothing in pl.unroll", "for i in pl.unroll(4, 8, 0):  #!\n    t = pl.exp(x)", "0):"),
    refused("negative step of a pipeline", "for i in pl.pipeline(4, 0, -1, stage=2):  #!\n    t = pl.exp(x)", "-1"),
    refused("negative step", "for i in pl.range(4, 0, -1):  #!\n    t = pl.exp(x)", "-1"),
    refused("loop variable after the loop", "for i in pl.range(4):\n    t = pl.exp(x)\nk2 = i + 1  #!", "i + 1"),
    refused("loop name after the loop", "for i in pl.range(4):\n    t = pl.exp(x)\nout[:, :] = t  #!", "t  #!"),
    refused("float bound", "for i in pl.range(4.0):  #!\n    t = pl.exp(x)", "4.0"),
    refused("unroll of a runtime bound", "m = idx[0]\nfor i in pl.unroll(m):  #!\n    t = pl.exp(x)", "pl.unroll"),
    refused("pipeline without stage", "for i in pl.pipeline(4):  #!\n    t = pl.exp(x)", "pl.pipeline"),
    refused(
        "pipeline in orchestration",
        """
        for i in pl.pipeline(4, stage=2):  #!
            with pl.at(level=pl.Level.CORE_GROUP):
                out[i * 16 : i * 16 + 16, :] = pl.exp(x[i * 16 : i * 16 + 16, :])
        """,
        "pl.pipeline",
        ENTRY,
    ),
    refused("spmd in a region", "for i in pl.spmd(4):  #!\n    t = pl.exp(x)", "pl.spmd"),
    refused("continue in pl.parallel", "for i in pl.parallel(4):\n    if i > 1:\n        continue  #!", "continue"),
    refused("break in pl.parallel", "for i in pl.parallel(4):\n    if i > 1:\n        break  #!", "break"),
    refused("two positionals of spmd", "for i in pl.spmd(0, 4):  #!\n    t = pl.exp(x)", "pl.spmd", ENTRY),
    refused(
        "spmd in spmd",
        "for i in pl.spmd(2):\n    for j in pl.spmd(2):  #!\n        t = pl.exp(x)",
        "pl.spmd(2):  #!",
        ENTRY,
    ),
    refused(
        "at in spmd",
        "for i in pl.spmd(2):\n    with pl.at(level=pl.Level.CORE_GROUP):  #!\n        t = pl.exp(x)",
        "pl.at",
        ENTRY,
    ),
    refused("with spmd that reads no block index", "with pl.spmd(4):  #!\n    t = pl.exp(x)", "pl.spmd", ENTRY),
    refused("nested at", "with pl.at(level=pl.Level.CORE_GROUP):  #!\n    t = pl.exp(x)", "pl.at"),
    refused("at without level", "with pl.at():  #!\n    t = pl.exp(x)", "pl.at", ENTRY),
    refused(
        "name_hint from a name",
        "with pl.at(level=pl.Level.CORE_GROUP, name_hint=WORD):  #!\n    t = pl.exp(x)",
        "WORD",
        ENTRY,
    ),
    refused(
        "name_hint that is no identifier",
        'with pl.at(level=pl.Level.CORE_GROUP, name_hint="b c"):  #!\n    t = pl.exp(x)',
        '"b c"',
        ENTRY,
    ),
    refused(
        "name_hint that is a keyword",
        'with pl.at(level=pl.Level.CORE_GROUP, name_hint="for"):  #!\n    t = pl.exp(x)',
        '"for"',
        ENTRY,
    ),
    refused(
        "unknown keyword of at",
        "with pl.at(level=pl.Level.CORE_GROUP, color=1):  #!\n    t = pl.exp(x)",
        "1):",
        ENTRY,
    ),
    refused(
        "two contexts in one with",
        "with pl.at(level=pl.Level.CORE_GROUP), pl.manual_scope():  #!\n    t = pl.exp(x)",
        "with pl.at",
        ENTRY,
    ),
    refused("another context", 'with open("g") as g:  #!\n    t = pl.exp(x)', "open", ENTRY),
    refused("pl.scope", f"with pl.scope():  #!\n{textwrap.indent(COPY, '    ')}", "pl.scope", ENTRY),
    # statements
    refused("try", "try:  #!\n    t = pl.exp(x)\nexcept ValueError:\n    pass", "try"),
    refused("nested function", "def g(v):  #!\n    return v", "def g"),
    *(
        refused(
            f"{'assembled: ' if valid == '0' else ''}{name} with {valid} valid rows of 16",
            f"{before}t = {call}, valid_shape=[{valid}, 64])  #!\nout[0:16, :] = pl.add(t, 1.0)",
            valid,
        )
        for name, before, call in (
            ("slice", "", "pl.slice(x, [16, 64], [0, 0]"),
            ("load", "", "pl.load(x, [0, 0], [16, 64]"),
            ("slice of a tile", "w = pl.load(x, [0, 0], [32, 64])\n", "pl.slice(w, [16, 64], [0, 0]"),
        )
        for valid in ("32", "10 + 10", "0")
    ),
    # operands of another kind; `LOADED` has tiles, the others tensors
    *(
        refused(f"{'assembled: ' if assembled else ''}{title}", f"{before}r = {call}  #!\n{after}", at)
        for title, before, call, after, at, assembled in (*operand_cases(), *buffer_cases())
    ),
    refused(
        "assembled: a mask stored as FP32", f"{LOADED}r = pl.cmp(t, u)\nout = pl.store(r, [0, 0], out)  #!", "pl.store"
    ),
    # an FP32 number in a condition
    *(
        refused(f"if {test}", f"r = pl.read(x, [0, 3])\nq = pl.read(x, [0, 4])\nif {test}:  #!\n    {ADDED}", at)
        for test, at in (
            ("r > 0.0", "r > 0.0"),
            ("0.0 <= r", "0.0 <= r"),
            ("r < q", "r < q"),
            ("not (r > 0.0)", "r > 0.0"),
            ("n > 1 and r > 0.0", "r > 0.0"),
        )
    ),
    refused("if a BF16 number is larger", f"r = b[0, 3]\nq = b[0, 4]\nif r > q:  #!\n    {ADDED}", "r > q"),
    *(
        refused(
            f"assembled: a sum of floats, {title}", f"{before}\nq = {a}  #!\nout[0:1, :] = pl.mul(x[0:1, :], {q})", a
        )
        for title, before, a, q in (
            ("BF16", "r = b[0, 3]", "r + r", "pl.cast(q, pl.FP32)"),
            ("FP16", "r = pl.cast(idx[0], pl.FP16)", "r + r", "pl.cast(q, pl.FP32)"),
            ("FP32", "r = x[0, 3]", "r + r", "q"),
            ("with a literal", "r = x[0, 3]", "1.0 + r", "q"),
            ("with a constant name", "r = 2.0", "r + x[0, 3]", "q"),
            ("with a parameter", "r = x[0, 3]", "r + f", "q"),
            ("as a call", "r = x[0, 3]", "pl.add(r, 1.0)", "q"),
            ("of a quotient", "r = x[0, 3]", "r / 3.0 + x[0, 4]", "q"),
            ("of a larger", "r = x[0, 3]", "pl.max(r, 0.5) + 1.0", "q"),
        )
    ),
    refused(
        "assembled: a carried sum",
        "w = x[0, 0]\nfor i in pl.range(1, 4):\n    w = w + x[i, 0]  #!\nout[0:16, :] = pl.mul(x[0:16, :], w)",
        "w + x",
    ),
    *(
        refused(f"z = {test}", f"{before}z = {test}  #!\nif z:\n    {ADDED}", "z =")
        for before, test in (
            ("", "n > 1"),
            ("", "K == 64"),
            ("", "not (f > 0.5)"),
            ("m = n + 1\n", "m > 1"),
            ("", "True"),
        )
    ),
    # tiles and numbers to one tensor
    refused("stored and written", f"{ADDED}\npl.write(out, [40, 0], 1.0)  #!", "pl.write"),
    refused("written and stored", f"pl.write(out, [40, 0], 1.0)\n{ADDED}  #!", "out[0:16"),
    refused(
        "stored and written by another name",
        "o = pl.assemble(out, pl.add(x, y), [0, 0])\npl.write(o, [4, 0], 1.0)  #!",
        "pl.write",
    ),
    refused(
        "stored or written", f"if idx[0] > 1:\n    {ADDED}\nelse:\n    pl.write(out, [40, 0], 1.0)  #!", "pl.write"
    ),
    refused(
        "stored, and written by an inline function",
        "@pl.jit.inline\ndef h(o: pl.Tensor[[64, 64], pl.FP32]):\n    pl.write(o, [40, 0], 1.0)\n\n\n"
        f"{in_region('out[0:16, :] = pl.exp(x[0:16, :])', 'h(out)  #!')}",
        "h(out)",
        MODULE,
    ),
    *(
        refused(
            f"filled as a whole and written, {title}",
            f"{before}out[:, :] = pl.full([64, 64], dtype=pl.FP32, value=1.0)\n"
            f"{after}pl.write(out, [4, 0], 2.0)  #!{rest}",
            "pl.write",
        )
        for title, before, after, rest in (
            ("then read", "", "", "\nt = pl.read(out, [0, 0])"),
            ("stored before", f"{ADDED}\n", "", ""),
            ("stored again", "", f"{ADDED}\n", ""),
        )
    ),
    refused(
        "filled as a whole and written by another name",
        "o = pl.assemble(out, pl.full([64, 64], dtype=pl.FP32, value=1.0), [0, 0])\npl.write(o, [4, 0], 2.0)  #!",
        "pl.write",
    ),
    refused(
        "written, then filled as a whole",
        "pl.write(out, [4, 0], 2.0)\nout[:, :] = pl.full([64, 64], dtype=pl.FP32, value=1.0)  #!",
        "out[:",
    ),
    refused(
        "written, then filled in an if",
        "pl.write(out, [4, 0], 2.0)\nif idx[0] > 1:\n    out[:, :] = pl.full([64, 64], dtype=pl.FP32, value=1.0)  #!",
        "out[:",
    ),
    refused(
        "a fill that is used again",
        "t = pl.full([64, 64], dtype=pl.FP32, value=1.0)\nout[:, :] = t\npl.write(out, [4, 0], 2.0)  #!\n"
        "s = pl.exp(t)\npl.write(s, [0, 0], 1.0)",
        "pl.write",
    ),
    *(
        refused(
            f"a number of a tile for both units, {title}", before + BOTH_UNITS + f"k = pl.read(i, [0, 0])\n{use}", at
        )
        for title, before, use, at in (
            ("written", "", f"{ON_CUBE}\ny[0:16, :] = p\npl.write(out, [40, k], 1.0)  #!", "pl.write"),
            (
                "written value",
                "",
                f"v = pl.cast(k, pl.FP32)\n{ON_CUBE}\ny[0:16, :] = p\npl.write(out, [4, 0], v)  #!",
                "pl.write",
            ),
            ("operand", "", "p = pl.matmul(b[k : k + 16, :], b, out_dtype=pl.FP32)  #!\nout[0:16, :] = p", "pl.matmul"),
            (
                "named operand",
                "",
                "a = pl.slice(b, [16, 64], [k * 16, 0])\np = pl.matmul(a, b, out_dtype=pl.FP32)  #!\nout[0:16, :] = p",
                "pl.matmul",
            ),
            ("place", "", f"{ON_CUBE}\nout[k : k + 16, :] = p  #!", "out[k"),
            ("assembled place", "", f"{ON_CUBE}\nout = pl.assemble(out, p, [k, 0])  #!", "pl.assemble"),
            ("condition", "", f"if k > 0:  #!\n    {ON_CUBE}\n    out[0:16, :] = pl.mul(p, 2.0)", "k > 0"),
            ("bound", "", f"for j in pl.range(k):  #!\n    {ON_CUBE}\n    out[0:16, :] = pl.mul(p, 2.0)", "k)"),
            ("of the product", f"{ON_CUBE}\n", "r = pl.read(p, [0, 0])\npl.write(out, [40, 0], r)  #!", "pl.write"),
            (
                "of a window",
                "",
                f"{ON_CUBE}\ny[0:16, :] = p\nt = x[0:16, :]\npl.write(out, [40, 0], t[0, 0])  #!",
                "pl.write",
            ),
        )
    ),
    *(
        refused(f"stored and a loop of {title}", f"{ADDED}\nfor i in {loop}:\n    pl.write(out, {at})  #!", "pl.write")
        for title, loop, at in (
            ("60 numbers", "pl.range(60)", "[20, i], 2.0"),
            ("a column", "pl.range(64)", "[i, 20], 2.0"),
            ("every second", "pl.range(32)", "[20, i * 2], 2.0"),
            ("a start", "pl.range(32, 64)", "[20, i], 2.0"),
            ("numbers read", "pl.range(64)", "[20, i], x[0, i]"),
            ("a run-time count", "pl.range(idx[0])", "[20, i], 2.0"),
            ("an unrolled one", "pl.unroll(32)", "[20, i], 2.0"),
        )
    ),
    refused(
        "a filling loop and a number",
        "for i in pl.range(64):\n    pl.write(out, [20, i], 2.0)\npl.write(out, [4, 0], 2.0)  #!",
        "pl.write",
    ),
    *(
        refused(
            f"a loop that fills a row of {title}",
            f"t = {tile}\nfor i in pl.range({n}):\n    pl.write(t, [3, {i}], 2.0)  #!\nout[0:16, :] = t",
            "pl.write",
        )
        for title, tile, n, i in (
            ("a sum", "pl.add(x[0:16, :], y[0:16, :])", "64", "i"),
            ("a part of it", "pl.add(x[0:16, :], y[0:16, :])", "0, 8", "40 + i"),
            ("a window", "x[0:16, :]", "64", "i"),
            ("a created tensor", "pl.create_tensor([16, 64], dtype=pl.FP32)", "64", "i"),
        )
    ),
    refused(
        "a quotient of integers written to FP32",
        "r = pl.read(idx, [0])\npl.write(out, [0, 0], pl.div(r, r))  #!",
        "pl.div",
    ),
    *(
        refused(f"assembled: nothing is valid, {title}", f"t = pl.load(x, [0, 0], [16, 64])\n{body}", at)
        for title, body, at in (
            ("stored", "r = pl.set_validshape(t, 0, 64)\npl.store(r, [0, 0], out)  #!", "pl.store"),
            ("no columns", "r = pl.set_validshape(t, 16, 0)\npl.store(r, [0, 0], out)  #!", "pl.store"),
            (
                "computed",
                "n0 = 0\nr = pl.mul(pl.set_validshape(t, n0, 64), 2.0)\npl.store(r, [0, 0], out)  #!",
                "pl.store",
            ),
        )
    ),
    refused(
        "assembled: nothing is valid, assigned",
        "t = pl.set_validshape(pl.add(x[0:16, :], 1.0), 0, 64)\nout[0:16, :] = t  #!",
        "out[0:16",
    ),
    *(
        refused(
            f"assembled: pl.col_expand of {of} to {to}",
            f"i = pl.create_tile([16, 64], dtype=pl.{to}, target_memory=pl.Mem.Vec)\n"
            f"s = pl.create_tile([1, 64], dtype=pl.{of}, target_memory=pl.Mem.Vec)\nr = pl.tile.col_expand(i, s)  #!",
            "pl.tile.col_expand",
        )
        for of, to in (("INT32", "BF16"), ("INT32", "FP32"), ("FP16", "FP32"), ("FP16", "BF16"), ("INT16", "INT32"))
    ),
    *(
        refused(
            f"assembled: pl.sels, {title}",
            f"c = pl.create_tile([16, 32], dtype=pl.{mask}, target_memory=pl.Mem.Vec)\n"
            f"s = pl.create_tile([16, 64], dtype=pl.{of}, target_memory=pl.Mem.Vec)\n"
            "w = pl.create_tile([1, 64], dtype=pl.UINT8, target_memory=pl.Mem.Vec)\n"
            f"r = pl.tile.sels(c, s, w, {number})  #!",
            "pl.tile.sels",
        )
        for title, mask, of, number in (
            ("an FP32 mask", "FP32", "FP32", "1.0"),
            ("of BF16", "UINT8", "BF16", "1.0"),
            ("of INT8 on A2/A3", "UINT8", "INT8", "1"),
        )
    ),
    refused(
        "assembled: a tile of FP16 in L0C",
        "r = pl.create_tile([16, 64], dtype=pl.FP16, target_memory=pl.Mem.Acc)  #!\npl.store(r, [0, 0], b)",
        "pl.create_tile",
    ),
    *(
        refused(
            f"another valid extent, {title}",
            f"{PART}t = pl.add(x[0:16, :], 1.0)\nif idx[0] > 1:\n    {body}  #!\nout[0:16, :] = x[0:16, :]",
            body[:3],
        )
        for title, body in (
            ("a part", "t = v"),
            ("computed", "t = pl.exp(pl.add(v, 1.0))"),
            ("of two parts", "t = pl.minimum(v, v)"),
            ("cast", "t = pl.cast(pl.cast(v, pl.BF16), pl.FP32)"),
            ("a whole", "v = t"),
            ("a whole window", "v = y[0:16, :]"),
            ("of a part and a whole", "v = pl.add(v, t)"),
            ("a created tensor", "v = pl.create_tensor([16, 64], dtype=pl.FP32)"),
            ("a product", "v = pl.matmul(pl.cast(v, pl.BF16), b, out_dtype=pl.FP32)"),
            ("expanded", "v = pl.col_expand_mul(x[0:16, :], y[0:1, :])"),
            ("fewer", "v = pl.slice(x, [16, 64], [0, 0], valid_shape=[4, 64])"),
            ("known at run time", "t = pl.slice(x, [16, 64], [0, 0], valid_shape=[pl.min(16, idx[2]), 64])"),
        )
    ),
    *(
        refused(
            f"another valid extent of a tile, {title}",
            "t = pl.load(x, [0, 0], [16, 64])\nv = pl.load(x, [0, 0], [16, 64], valid_shape=[8, 64])\n"
            f"if idx[0] > 1:\n    {body}  #!\npl.store(t, [0, 0], out)",
            body[:3],
        )
        for title, body in (
            ("a part", "t = v"),
            ("computed", "t = pl.add(pl.exp(v), 1.0)"),
            ("set", "t = pl.set_validshape(t, 8, 64)"),
        )
    ),
    *(
        refused(
            f"assembled: an INT32 valid extent {title}",
            "k = pl.read(idx, [0])\nv = pl.slice(x, [16, 64], [0, 0], valid_shape=[k, 64])\n"
            f"{head}:\n    v = pl.add(v, 1.0)  #!\nout[0:16, :] = v",
            "v = ",
        )
        for title, head in (("in turns", "for i in pl.range(4)"), ("in an arm", "if idx[1] > 2"))
    ),
    *(
        refused(f"assembled: no return, {title}", no_return(*lines), at, MODULE)
        for title, at, lines in (
            ("a loop", "for i", ("for i in pl.range(4):  #!", "    out[i * 16 : i * 16 + 16, :] = pl.exp(x[0:16, :])")),
            (
                "a pipeline",
                "for i",
                ("for i in pl.pipeline(4, stage=2):  #!", "    out[i * 16 : i * 16 + 16, :] = pl.exp(x[0:16, :])"),
            ),
            ("an if", "if", ("if idx[0] > 1:  #!", "    out[0:16, :] = pl.exp(x[0:16, :])")),
            (
                "a tile in an if",
                "if",
                ("t = pl.add(x, 1.0)", "if idx[0] > 1:  #!", "    t = pl.mul(t, 2.0)", "out[:, :] = t"),
            ),
            ("pl.store", "t = ", ("t = pl.load(x, [0, 0], [16, 64])  #!", "pl.store(t, [0, 0], out)")),
            ("a product", "out[", ("out[0:16, :] = pl.matmul(x[0:16, :], x, out_dtype=pl.FP32)  #!",)),
            ("a row", "out[3", ("out[3, :] = pl.mul(x[3, :], 2.0)  #!",)),
            (
                "a bare one",
                "for i",
                ("for i in pl.range(4):  #!", "    out[i * 16 : i * 16 + 16, :] = pl.exp(x[0:16, :])", "return"),
            ),
        )
    ),
    *(
        refused(f"if a number that is read is larger, {title}", f"if {test}:  #!\n    {ADDED}", test)
        for title, test in (
            ("an element", "x[0, 0] > 2.0"),
            ("pl.read", "pl.read(x, [0, 0]) > 2.0"),
            ("of two", "x[0, 0] > x[0, 1]"),
            ("on the right", "2.0 < x[0, 0]"),
        )
    ),
    refused("if not a number that is read", f"if not x[0, 0] > 2.0:  #!\n    {ADDED}", "x[0, 0]"),
    refused("if a number that is read and", f"if idx[0] > 1 and x[0, 0] > 2.0:  #!\n    {ADDED}", "x[0, 0]"),
    *(
        refused(f"in orchestration: {test}", f"if {test}:  #!\n    {AT}\n        {ADDED}", at, ENTRY)
        for test, at in (
            ("idx[0] > 1 and idx[1] > 1", "idx[0]"),
            ("idx[0] > 1 or idx[1] > 1", "idx[0]"),
            ("not (idx[0] > 1 and idx[1] > 1)", "idx[0]"),
            ("n > 1 and idx[0] > 1 and idx[1] > 1", "n > 1"),
            ("x[0, 0] > 2.0", "x[0, 0]"),
        )
    ),
    *(
        refused(f"in orchestration: {v}", f"v = {v}  #!\n{AT}\n    out[:, :] = pl.mul(x, v)", v, ENTRY)
        for v in ("x[0, 0] / 2.0", "x[0, 0] / x[0, 1]", "pl.div(x[0, 0], 2.0)", "f / x[0, 0]")
    ),
    refused(
        "in orchestration: idx[0] / 2",
        f"v = idx[0] / 2  #!\n{AT}\n    out[0:16, :] = pl.exp(x[v : v + 16, :])",
        "idx[0] / 2",
        ENTRY,
    ),
    *(
        refused(f"{INTEGER_QUOTIENT}, {v}", f"v = {v}  #!\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)", v)
        for v in ("idx[0] / 2", "idx[0] / idx[1]", "pl.div(idx[0], idx[1])")
    ),
    *(
        refused(f"more than 64 bits: {n}", f"out[:, :] = pl.mul(x, {n})  #!", n)
        for n in ("2 ** 64", "18446744073709551616", "2 ** 62 * 2")
    ),
    *(
        refused(f"a bound that is no integer: {b}", f"for i in pl.range(0, {b}, 16):  #!\n    {ADDED}", b)
        for b in ("f + 48", "1.5 + 48", "F * 64")
    ),
    refused("a pl.dynamic as operand", "out[:, :] = pl.mul(x, DYN)  #!", "DYN"),
    *(
        refused(f"a return before the end, {title}", body, "return", ENTRY)
        for title, body in (
            ("in an if", f"if idx[0] > 1:\n    return x  #!\n{COPY}\nreturn out"),
            ("in a loop", f"for i in pl.range(2):\n    return x  #!\n{COPY}\nreturn out"),
            ("in a region", f"{AT}\n    out[:, :] = pl.exp(x)\n    return x  #!\n{COPY}\nreturn out"),
            ("twice", f"{COPY}\nreturn out  #!\nreturn x"),
        )
    ),
    refused(
        "no return in an incore function",
        """
        @pl.jit.incore
        def h(x: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):  #!
            o[:, :] = pl.mul(x, 2.0)


        @pl.jit
        def k(x: pl.Tensor[[64, 64], pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
            h(x, out)
            return x
        """,
        "def h",
        MODULE,
    ),
    refused(
        "the result of an inline function that returns nothing",
        """
        @pl.jit.inline
        def h(t: pl.Tensor[[64, 64], pl.FP32]):
            u = pl.mul(t, 2.0)


        @pl.jit
        def k(x: pl.Tensor[[64, 64], pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
            with pl.at(level=pl.Level.CORE_GROUP):
                v = h(x)  #!
                out[:, :] = v
            return out
        """,
        "v = h(x)",
        MODULE,
    ),
    refused("incore result bound to another name", "z = times2(x, out)\nreturn out  #!", "out  #!", ENTRY),
    refused(
        "an opaque function",
        """
        @pl.jit.opaque
        def h(x: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
            with pl.at(level=pl.Level.CORE_GROUP):
                o[:, :] = pl.mul(x, 2.0)
            return o


        @pl.jit
        def k(x: pl.Tensor[[64, 64], pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
            out = h(x, out)  #!
            return out
        """,
        "h(x, out)",
        MODULE,
    ),
    *(
        refused(f"carried values that are not handed on, {title}", body, at)
        for title, body, at in (
            (
                "while_",
                f"for (c,) in pl.while_(init_values=(0,)):  #!\n    pl.cond(c < 4)\n    c = c + 1\n{ADDED}",
                "for",
            ),
            ("range", f"for i, (c,) in pl.range(4, init_values=(0,)):  #!\n    c = c + 1\n{ADDED}", "for"),
            ("nothing", f"for i, (c,) in pl.range(4, init_values=(0,)):  #!\n    {ADDED}", "for"),
            (
                "twice",
                "for i, (c,) in pl.range(4, init_values=(0,)):\n    d = c + 1\n    e = pl.yield_(d)  #!\n"
                f"    e = pl.yield_(d)\n{ADDED}",
                "e = ",
            ),
        )
    ),
    refused("pl.tri in a tensor", "r = pl.tri(0, [16, 64], dtype=pl.FP32)\nout[0:16, :] = r  #!", "out[0:16"),
    refused("nested class", "class C:  #!\n    pass", "class C"),
    refused("global", "global K  #!", "global"),
    refused("del", "t = pl.exp(x)\ndel t  #!", "del t"),
    refused("assert", "assert n > 0  #!", "assert"),
    refused("assert on a constant", "assert K == 64  #!", "assert"),
    refused("raise", "raise ValueError  #!", "raise"),
    refused("import", "import math  #!", "import"),
    refused("from import", "from math import pi  #!", "from"),
    refused("match", "match n:  #!\n    case 1:\n        pass", "match"),
    refused("tuple swap", "t = pl.exp(x)\nu = pl.exp(y)\nt, u = u, t  #!\nout[:, :] = pl.sub(t, u)", "u, t"),
    refused("two tensors at once", "t, u = pl.exp(x), pl.exp(y)  #!", "pl.exp(x), pl.exp(y)"),
    refused("two scalars at once in a region", "p, q = 1, 2  #!\nt = pl.mul(x, p)", "1, 2"),
    refused("starred target", "p, *q = 1, 2  #!", "*q"),
    refused("two targets", "t = u = pl.add(x, 1.0)  #!", "t = u"),
    refused("two scalar targets", "t = u = 1  #!", "t = u"),
    refused("attribute target", "x.a = 1  #!", "x.a"),
    refused("annotation with another shape", "t: pl.Tensor[[32, 64], pl.FP32] = pl.exp(x)  #!", ""),
    refused("annotation with another dtype", "t: pl.Tensor[[64, 64], pl.BF16] = pl.exp(x)  #!", ""),
    refused("annotation int", "t: int = 3  #!", "int"),
    refused("annotation without value", "t: pl.Tensor[[64, 64], pl.FP32]  #!", "t:"),
    # builtins and calls
    *(
        refused(call, f"t = {call}  #!", at or call.split("(")[0])
        for call, at in (
            ("len(x)", ""),
            ("int(n)", ""),
            ("float(n)", ""),
            ("float(K)", ""),
            ("min(n, 4)", ""),
            ("max(n, 4)", ""),
            ("min(K, 4)", ""),
            ("abs(n)", ""),
            ("abs(x)", ""),
            ("bool(n)", ""),
            ("round(f)", ""),
            ("sum(x)", ""),
            ("isinstance(n, int)", ""),
            ("math.sqrt(2.0)", ""),
            ("plain(2.0)", ""),
            ("plain(x)", ""),
            ("pl.nosuchop(x)", ""),
            ("pl.tensor.nosuchop(x)", ""),
            ("pl.add(x, y, foo=1)", ""),
            ("pl.add(x, y, y)", ""),
            ("pl.add(x)", ""),
            ("zzz(x)", ""),
            ("pl.add(x, zzz)", "zzz"),
            ("pl.mul(x, math.pi)", "math.pi"),
            ("pl.exp", "pl.exp"),
            ("pl.sort32(x)", "pl.sort32"),
        )
    ),
    refused("print", "print(n)  #!", "print"),
    refused("int() in a slice", "t = x[0 : int(K / 2), :]  #!", "int("),
    refused("false static_assert", 'pl.static_assert(K == 3, "no")  #!', "pl.static_assert"),
    refused("pl.max on tensors", "t = pl.max(x, y)  #!", "pl.max"),
    # binding and branches
    refused("name of one arm", "if n > 1:\n    t = pl.exp(x)\nout[:, :] = t  #!", "t  #!"),
    refused("scalar of one arm", "if n > 1:\n    k2 = 3\nt = pl.mul(x, k2)  #!", "k2)"),
    refused(
        "carried tile changes shape",
        "t = pl.exp(x)\nfor i in pl.range(2):\n    t = x[0:32, :]  #!\nu = pl.exp(t)",
        "t = x",
    ),
    refused(
        "carried tile changes dtype",
        "t = pl.exp(x)\nfor i in pl.range(2):\n    t = pl.cast(x, pl.BF16)  #!\nu = pl.exp(t)",
        "t = pl",
    ),
    # subscripts
    refused("step", "out[0:32, :] = pl.exp(x[0:64:2, :])  #!", "2, :"),
    refused("step of one", "out[:, :] = pl.exp(x[0:64:1, :])  #!", "1, :"),
    refused("negative start", "out[0:16, :] = pl.exp(x[-16:, :])  #!", "x[-16"),
    refused("negative stop", "out[0:48, :] = pl.exp(x[:-16, :])  #!", "x[:-16"),
    refused("None subscript", "t = x[None, :, :]  #!", "None"),
    refused("row assigned to a window of two axes", "out[0:1, :] = x[0, :]  #!", "out[0:1, :]"),
    refused("x[0] assigned to a window of two axes", "out[0:1, :] = x[0]  #!", "out[0:1, :]"),
    refused("too many indices", "t = x[0:1, 0:1, 0:1]  #!", "x[0:1"),
    refused("boolean mask", "t = x[y > 0]  #!", "y > 0"),
    refused("fancy index", "t = x[[0, 1], :]  #!", "[0, 1]"),
    refused("static slice past the end", "t = x[0:65, :]  #!", "x[0:65"),
    refused("static window past the end", "t = x[60:76, :]  #!", "x[60:76"),
    refused("pl.slice past the end", "t = pl.slice(x, [16, 64], [60, 0])  #!", "pl.slice"),
    refused("pl.slice larger than the tensor", "t = pl.slice(x, [128, 64], [0, 0])  #!", "pl.slice"),
    refused("pl.slice with a negative offset", "t = pl.slice(x, [16, 64], [-1, 0])  #!", "pl.slice"),
    refused("empty slice", "t = x[4:4, :]  #!", "x[4:4"),
    refused("wrong number of offsets", "t = pl.slice(x, [16, 64], [0])  #!", "pl.slice"),
    refused("write past the end", "out[60:76, :] = pl.exp(x[0:16, :])  #!", "out[60:76"),
    refused("write with other extents", "out[0:8, :] = pl.exp(x[0:16, :])  #!", "out[0:8"),
    refused("element written by subscript", "out[0, 0] = 1.0  #!", "out[0, 0]"),
    refused("element written by subscript, scalar", "out[0, 0] = f  #!", "out[0, 0]"),
    refused("tile element written by subscript", "t = pl.exp(x)\nt[0, 0] = f  #!", "t[0, 0]"),
    refused("number written to a window", "out[:] = 1.0  #!", "out[:]"),
    refused("two axes written to a row", "out[0, :] = pl.exp(x[0:1, :])  #!", "out[0, :]"),
    refused("write with a step", "out[0:64:2, :] = pl.exp(x[0:32, :])  #!", "2, :"),
    refused("copy without an operation", "out[:] = x  #!", "out[:]"),
    # shapes and dtypes
    refused("mixed operators", "t = b + x  #!", "b + x"),
    refused("shapes that do not match", "t = pl.add(x, y[0:32, :])  #!", "pl.add"),
    refused("col_expand_mul with two rows", "t = pl.col_expand_mul(x, y[0:2, :])  #!", "pl.col_expand_mul"),
    refused("row_expand_mul of other rows", "t = pl.row_expand_mul(x, pl.row_sum(y[0:32, :]))  #!", "pl.row_expand"),
    refused("matmul of other K", "t = pl.matmul(b, b[0:32, :])  #!", "pl.matmul"),
    refused("matmul of two types", "t = pl.matmul(x, b)  #!", "pl.matmul"),
    refused("reshape to another count", "t = pl.reshape(x, [32, 64])  #!", "pl.reshape"),
    refused("cast to the same type", "t = pl.cast(x, pl.FP32)  #!", "pl.cast"),
    refused("full of runtime shape", "m = idx[0]\nt = pl.full([m, 64], dtype=pl.FP32, value=0.0)  #!", "pl.full"),
    refused(
        "too large for UB",
        "with pl.at(level=pl.Level.CORE_GROUP):  #!\n"
        "    t = pl.full([256, 512], dtype=pl.FP32, value=0.0)\n"
        "    u = pl.exp(t)",
        "pl.at",
        ENTRY,
    ),
    refused("an index times a tensor", "for i in pl.range(4):\n    t = pl.mul(x, i * 2)  #!", "i * 2"),
    refused("a read integer times three", "m = idx[0]\nout[:, :] = pl.mul(x, m * 3)  #!", "m * 3"),
    refused("a named literal times a tensor", "s = 2\nout[:, :] = pl.mul(x, s)  #!", "s)"),
    refused("pl.store of a tensor", "t = pl.mul(x, 2.0)\nout = pl.store(t, [0, 0], out)  #!", "pl.store"),
    refused(
        "a tile assembled into a tensor",
        "t = pl.load(x, [0, 0], [16, 64])\nout = pl.assemble(out, t, [0, 0])  #!",
        "pl.assemble",
    ),
    refused("pl.tile.add of tensors", "t = pl.tile.add(x, y)  #!", "pl.tile"),
    refused("row assigned a column vector", "out[:, 0] = pl.row_sum(x)  #!", "out[:, 0]"),
    refused("axis of run time by a slice", "t = dy[:, 0:64]  #!\nu = pl.exp(t)", "dy"),
    refused(
        "reshape with -1",
        "t = pl.reshape(x[0:2, :], [-1, 32])  #!\nout = pl.assemble(out, pl.mul(t, 2.0), [0, 0])",
        "pl.reshape",
    ),
    refused("break in pl.unroll", "for i in pl.unroll(4):\n    if i > 1:\n        break  #!", "break"),
    refused("break in pl.spmd", "for i in pl.spmd(4):\n    if i > 1:\n        break  #!", "break", ENTRY),
    refused(
        "a branch changes a shape", "t = pl.exp(x)\nif idx[0] > 1:\n    t = x[0:32, :]  #!\nu = pl.exp(t)", "t = x"
    ),
    refused(
        "subscript write of a create_tile",
        "t = pl.create_tile([16, 64], dtype=pl.FP32, target_memory=pl.Mem.Vec)\nout[0:16, :] = t  #!",
        "out[0:16",
    ),
    refused("tile and tensor mixed", "t = pl.load(x, [0, 0], [64, 64])\nu = pl.add(t, y)  #!", "pl.add"),
    # scratch, indices and floats, one axis
    *(
        refused(
            f"pl.{op} of a tile without scratch",
            f"t = pl.load(x, [0, 0], [16, 64])\nv = pl.{op}(t{more})  #!",
            f"pl.{op}",
        )
        for op, more in (
            ("row_sum", ""),
            ("row_max", ""),
            ("row_min", ""),
            ("row_prod", ""),
            ("row_argmax", ""),
            ("row_argmin", ""),
            ("col_argmax", ""),
            ("col_argmin", ""),
            ("tile.row_sum", ""),
            ("tile.col_argmax", ""),
            ("rem", ", t"),
            ("rems", ", 2.0"),
            ("prelu", ", t"),
            ("tile.rem", ", t"),
            ("tile.xor", ", t"),
        )
    ),
    refused("pl.maximum of scalars", "s = x[0, 0]\nout[:, :] = pl.mul(x, pl.maximum(s, 0.5))  #!", "s, 0.5"),
    refused("pl.exp of a scalar", "s = x[0, 0]\nout[:, :] = pl.mul(x, pl.exp(s))  #!", "s))"),
    refused("pl.add of INT32 and float", "s = idx[0]\nout[:, :] = pl.mul(x, pl.add(s, 1.5))  #!", "pl.add"),
    refused("pl.add of a scalar and a tensor", "s = x[0, 0]\nout[:, :] = pl.add(s, x)  #!", "pl.add"),
    refused("scratch for a column fold", "t = pl.load(x, [0, 0], [16, 64])\nv = pl.col_max(t, t)  #!", "pl.col_max"),
    refused("an extent as FP32", "d = pl.tensor.dim(dy, 0)\nout[:, :] = pl.mul(x, pl.cast(d, pl.FP32))  #!", "pl.cast"),
    refused(
        "a loop variable as FP32",
        "for i in pl.range(4):\n    out[:, :] = pl.mul(x, pl.cast(i, pl.FP32))  #!",
        "pl.cast",
    ),
    refused(
        "a block as FP32",
        "s = pl.tile.get_block_idx()\nv = pl.cast(s, target_type=pl.FP32)  #!\nout[:, :] = pl.mul(x, v)",
        "pl.cast",
    ),
    refused(
        "an index times an integer, as FP32",
        "for i in pl.range(4):\n    out[:, :] = pl.mul(x, pl.cast(idx[0] * i, pl.FP32))  #!",
        "pl.cast",
    ),
    refused("a literal as FP32", "out[:, :] = pl.mul(x, pl.cast(3, pl.FP32))  #!", "pl.cast"),
    # What PyPTO's parser takes, and its code generator or assembler refuses.
    *(
        refused(f"assembled: {body}", f"{body}  #!\nout[:, :] = pl.mul(x, 2.0)", at)
        for body, at in [
            ("t = pl.full([16, 64], dtype=pl.FP32, value=2)", "2"),
            ("t = pl.full([16, 64], pl.FP32, 2.0)", "2.0"),
            ("t = pl.full([16, 64], dtype=pl.INT32, value=2.0)", "2.0"),
            ("t = pl.full([16, 64], dtype=pl.INT32, value=idx[0])", "idx"),
            ("t = pl.full([16, 64], dtype=pl.FP32, value=pl.cast(idx[0], pl.FP32))", "pl.cast"),
            ("pl.exp(x)", "pl.exp"),
            ("pl.read(x, [0, 0])", "pl.read"),
            ("x[0:16, :]", "x["),
            ("pl.row_max(x)", "pl.row_max"),
            ("pl.matmul(b, b, out_dtype=pl.FP32)", "pl.matmul"),
            ("t = x[0:16, :]; v = scale(t, n + 1)", "n + 1"),
            ("t = x[0:16, :]; v = scale(t, 3)", "3"),
        ]
    ),
    refused(
        "assembled: an extent of INT32",
        f"m = idx[0]\nt = pl.create_tensor([m * 16, 64], dtype=pl.FP32)  #!\n{AT}\n"
        f"    t[0:16, :] = pl.mul(x[0:16, :], 2.0)\n{AT}\n    out[0:16, :] = pl.exp(t[0:16, :])",
        "m * 16",
        ENTRY,
    ),
    *(
        refused(
            f"assembled: {part} of what is valid as {valid}",
            f"""
            m = pl.cast(idx[0], pl.INDEX)
            t = pl.slice(x, [16, 64], [0, 0], valid_shape={valid})
            u = pl.mul(t, 2.0)
            out = pl.assemble(out, {part}, [0, 0])  #!
        """,
            at,
        )
        for part, valid, at in [
            ("u[:, 0:32]", "[m, 64]", "u[:"),
            ("u[0:8, :]", "[m, 64]", "u[0:8"),
            ("u[0:8, :]", "[16, m]", "u[0:8"),
            ("pl.slice(u, [8, 64], [0, 0])", "[m, 64]", "pl.slice"),
            ("t[:, 0:32]", "[pl.min(m, 16), 64]", "t[:"),
        ]
    ),
    refused("a parameter as FP32", "out[:, :] = pl.mul(x, pl.cast(n, pl.FP32))  #!", "pl.cast"),
    *(
        refused(
            f"store of one axis: {body[-28:]}",
            f"""
            @pl.jit
            def k(x: pl.Tensor[[64, 64], pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
                v = pl.create_tensor([64], dtype=pl.FP32)
                with pl.at(level=pl.Level.CORE_GROUP):
                    t = pl.mul(x[0, :], 2.0)
                    {body}  #!
                return out
        """,
            at,
            MODULE,
        )
        for body, at in (
            ("v[:] = t", "v[:]"),
            ("v[0:16] = pl.full([16], dtype=pl.FP32, value=1.0)", "v[0:16]"),
            ("v = pl.assemble(v, t, [0])", "pl.assemble"),
            ("out = pl.assemble(out, t, [0, 0])", "pl.assemble"),
            ("out = pl.store(pl.reshape(pl.load(x, [0, 0], [1, 16]), [16]), [0, 0], out)", "pl.store"),
        )
    ),
    # extents in inline functions
    *(
        refused(
            f"blocks of an inline function: {count}",
            f"""
            @pl.jit.inline
            def h(t: pl.Tensor[[64, DYN], pl.FP32], o: pl.Tensor[[64, DYN], pl.FP32]):
                for g in pl.spmd({count}):  #!
                    o[g * 16 : g * 16 + 16, 0:64] = pl.mul(t[g * 16 : g * 16 + 16, 0:64], 2.0)
                return o

            @pl.jit
            def k({XO}):
                out = h(x, out)
                return out
        """,
            count,
            MODULE,
        )
        for count in (
            "pl.tensor.dim(t, 1) // 16",
            "pl.dim(t, 1) // 16",
            "t.shape[1] // 16",
            "DYN // 16",
            "pl.min(pl.dim(t, 1), 4)",
        )
    ),
    *(
        refused(
            f"inline of a computed extent: {extent}",
            f"""
            @pl.jit.inline
            def h(t: pl.Tensor[[DYN, 64], pl.FP32], o: pl.Tensor[[64, 64], pl.FP32]):
                with pl.at(level=pl.Level.CORE_GROUP):
                    o[0:64, :] = pl.mul(t[0:64, :], 2.0)
                return o

            @pl.jit
            def k({XO}, dy: pl.Tensor[[DYN, 64], pl.FP32]):
                {before}
                t = pl.create_tensor([{extent}, 64], dtype=pl.FP32)
                out = h(t, out)  #!
                return out
        """,
            "t, out",
            MODULE,
        )
        for before, extent in (
            ("pass", "pl.tensor.dim(dy, 0)"),
            ("pass", "pl.tensor.dim(dy, 0) * 2"),
            ("pass", "dy.shape[0]"),
            ("d = pl.tensor.dim(dy, 0) * 2", "d"),
        )
    ),
    # signatures
    refused(
        "parameter without annotation",
        "@pl.jit\ndef k(x, out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):  #!\n    pass",
        "x, out",
        MODULE,
    ),
    refused("annotation int of a parameter", module("pass", "n: int").replace("):", "):  #!"), "int", MODULE),
    refused("bare pl.Scalar", module("pass", "n: pl.Scalar").replace("):", "):  #!"), "pl.Scalar", MODULE),
    refused("string annotation", module("pass", 'n: "pl.INT32"').replace("):", "):  #!"), '"pl', MODULE),
    refused("keyword-only parameter", module("pass", "*, n: pl.INT32").replace("):", "):  #!"), "n: pl", MODULE),
    refused(
        "positional-only parameter",
        module("t = x", "x: pl.Tensor[[64, 64], pl.FP32], /").replace("):", "):  #!"),
        "x: pl",
        MODULE,
    ),
    refused("async def", "@pl.jit\nasync def k(n: pl.INT32):  #!\n    pass", "", MODULE),
    refused(
        "another alias",
        f"import pypto.language as P\n\n\n@pl.jit\ndef k({XO}):\n    with P.at(level=pl.Level.CORE_GROUP):  #!\n"
        "        out[:, :] = pl.mul(x, 2.0)",
        "P.at",
        MODULE,
    ),
    refused(
        "operation imported by name",
        f"from pypto.language import add\n\n\n@pl.jit\ndef k({XO}):\n    with pl.at(level=pl.Level.CORE_GROUP):\n"
        "        out[:, :] = add(x, 2.0)  #!",
        "add",
        MODULE,
    ),
    refused("whole dynamic tensor in compute", "t = pl.exp(dy)  #!", "pl.exp"),
    # names from outside
    *(
        refused(f"{value} of the module", f"t = pl.mul(x, {value})  #!", value.split("[")[0])
        for value in ("NONE", "WORD", "LIST[0]", "TABLE['a']", "SIZE", "M.h")
    ),
    refused("dtype alias of the module", "t = pl.cast(x, DTYPE)  #!", "DTYPE"),
    refused("list of the module as shape", "t = pl.full(LIST, dtype=pl.FP32, value=0.0)  #!", "LIST"),
    refused("dtype bound to a local", "t = pl.BF16  #!", "pl.BF16"),
    refused("list element as bound", "t = x[0 : LIST[0], :]  #!", "LIST"),
    refused("attribute as bound", "t = x[0 : M.h, :]  #!", "M.h"),
    refused("attribute in pl.range", "for i in pl.range(M.h):  #!\n    t = pl.exp(x)", "M.h"),
    refused("attribute bound to a local", "v = M.h  #!", "M.h"),
    refused(
        "local of an enclosing function",
        f"""
        def outer():
            KK = 3
            @pl.jit
            def k({XO}):
                with pl.at(level=pl.Level.CORE_GROUP):
                    out[:, :] = pl.mul(x, KK)  #!
            return k


        k = outer()
        """,
        "KK)",
        MODULE,
    ),
    # functions calling functions
    refused("entry calls an entry", "out = other(x, out)  #!", "other", ENTRY),
    refused("incore function in a region", "o = times2(x, out)  #!", "times2"),
    refused("inline in an expression", "t = x[0:16, :]\nv = pl.add(scale(t, 2.0), 1.0)  #!", "scale"),
    refused("inline written to a subscript", "t = x[0:16, :]\nout[0:16, :] = scale(t, 2.0)  #!", "scale"),
    refused("inline of a subscript", "v = scale(x[0:16, :], 2.0)  #!", "x[0:16"),
    refused("inline of a computed tile", "t = pl.exp(x[0:16, :])\nv = scale(t, 2.0)  #!", "t, 2.0"),
    refused("inline of pl.full", "t = pl.full([16, 64], dtype=pl.FP32, value=0.0)\nv = scale(t, 2.0)  #!", "t, 2.0"),
    refused("inline of a cast", "t = pl.cast(b, pl.FP32)\nv = scale(t, 2.0)  #!", "t, 2.0"),
    refused(
        "inline of a reshape of a slice",
        "t = pl.reshape(pl.slice(x, [32, 32], [0, 0]), [16, 64])\nv = scale(t, 2.0)  #!",
        "t, 2.0",
    ),
    refused("too few arguments of an inline", "t = x[0:16, :]\nv = scale(t)  #!", "scale"),
    refused(
        "inline recursion",
        f"""
        @pl.jit.inline
        def h(t: pl.Tensor[[64, 64], pl.FP32]):
            v = h(t)  #!
            return v


        {inner("v = h(x)")}
        """,
        "h(t)",
        MODULE,
    ),
    refused(
        "inline parameter without annotation",
        f"""
        @pl.jit.inline
        def h(t):  #!
            return t


        {inner("v = h(x)")}
        """,
        "t)",
        MODULE,
    ),
    refused(
        "inline called with two shapes",
        "t = x[0:16, :]\nu = x[0:8, :]\nv = scale(t, 2.0)\nw = scale(u, 2.0)  #!\nout[0:16, :] = v\nout[0:8, :] = w",
        "scale",
    ),
    refused(
        "inline with two returns",
        f"""
        @pl.jit.inline
        def h(t: pl.Tensor[[64, 64], pl.FP32], n: pl.Scalar[pl.INT32]):
            if n > 1:
                return t  #!
            else:
                return t


        {inner("v = h(x, 2)")}
        """,
        "return",
        MODULE,
    ),
    refused("incore result not re-bound", "times2(x, out)\nreturn out  #!", "out  #!", ENTRY),
    # scalars known only at run time
    refused("m ** 2", "m = idx[0]\nv = m ** 2  #!", "m ** 2"),
    refused("m & 3", "m = idx[0]\nv = m & 3  #!", "m & 3"),
    refused("integer read as condition", "m = idx[0]\nif m:  #!\n    t = pl.exp(x)", "m:"),
    refused("chained comparison at run time", "m = idx[0]\nif 0 < m < 4:  #!\n    t = pl.exp(x)", "0 < m"),
    refused("integer read + float", "m = idx[0]\nv = m + 1.5  #!\nt = pl.mul(x, v)", "m + 1.5"),
    refused("integer read compared with float", "m = idx[0]\nif m > 0.5:  #!\n    t = pl.exp(x)", "m > 0.5"),
    refused("and as value", "m = idx[0]\nv = (m and 3) + 1  #!", "m and 3"),
    refused("runtime extent", "m = idx[0]\nt = x[0:m, :]  #!\nu = pl.exp(t)", "m, :"),
    refused("runtime extent by a product", "m = idx[0]\nt = x[m : 2 * m, :]  #!", "2 * m"),
    refused("runtime extent to the end", "m = idx[0]\nt = x[m:, :]  #!", "m:"),
    refused("runtime extent by pl.min", "m = idx[0]\nt = x[0 : pl.min(m, 4), :]  #!", "pl.min"),
    refused("pl.slice of runtime shape", "m = idx[0]\nt = pl.slice(x, [m, 64], [0, 0])  #!", "pl.slice"),
    refused("set_validshape by an INT32", "m = idx[0]\nt = pl.set_validshape(x, m, 64)  #!", "pl.set_validshape"),
    refused(
        "while True and break",
        "k2 = 0\nwhile True:  #!\n    k2 = k2 + 1\n    if k2 > 4:\n        break\n"
        "out[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)",
        "while",
    ),
    refused(
        "while with a condition",
        "k2 = n\nwhile k2 < 7:  #!\n    k2 = k2 + 2\nout[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)",
        "while",
    ),
]


def _loop(a: Arguments) -> torch.Tensor:
    t = a.x
    for _ in range(4):
        t = t + a.y
    return t


def _shift(by: int) -> Callable[[Arguments], torch.Tensor]:
    return rows(0, lambda a: a.x[by : by + 16] * 2)


def _carry(body: str, k: int) -> tuple:
    return body, rows(0, lambda a: a.x[:16] * k)


def total(a: Arguments) -> torch.Tensor:
    return rows(0, lambda a: (a.x + a.y)[:16])(a)


def first_is_two(a: Arguments) -> torch.Tensor:
    out = (a.x + a.y)[:16]
    out[0, 0] = 2.0
    return out


ACCEPTED = [
    # what is beside a refusal
    accepted("if a name of a comparison", f"r = pl.read(x, [0, 3])\nq = r > -100.0\nif q:\n    {ADDED}", total),
    accepted("if FP32 numbers are the same", f"r = pl.read(x, [0, 3])\nif r != 7.0:\n    {ADDED}", total),
    accepted("if of what is computed in place", f"r = pl.read(x, [0, 3])\nif r * 0.0 > -1.0:\n    {ADDED}", total),
    accepted("if a number of the module is larger", f"if F > 0.1:\n    {ADDED}", total),
    accepted("if a parameter is larger", f"if f > 1.0:\n    {ADDED}", total),
    accepted(
        "a number written to a tile that is stored",
        "t = pl.add(x[0:16, :], y[0:16, :])\npl.write(t, [0, 0], 2.0)\nout[0:16, :] = t",
        rows(0, first_is_two),
    ),
    accepted(
        "stored and written in two regions",
        f"{AT}\n    {ADDED}\n{AT}\n    pl.write(out, [40, 0], 2.0)",
        lambda a: total(a).index_put((torch.tensor(40), torch.tensor(0)), torch.tensor(2.0)),
        ENTRY,
    ),
    accepted(
        "pl.cmp of tiles, and pl.sel",
        "t = pl.load(x, [0, 0], [16, 64])\nu = pl.load(y, [0, 0], [16, 64])\nw = pl.create_tile([1, 32], pl.UINT8)\n"
        "out = pl.store(pl.sel(pl.cmp(t, u, cmp_type=4), t, u, w), [0, 0], out)",
        rows(0, lambda a: torch.maximum(a.x, a.y)[:16]),
    ),
    accepted(
        "row_max of a negated product",
        f"{PRODUCT}out[0:16, 0:1] = pl.neg(pl.row_max(pl.neg(p)))",
        rows(0, lambda a: (a.b[:16].float() @ a.b[:, :16].float()).amin(1, keepdim=True)),
    ),
    # scratch, indices and floats, one axis
    *(
        accepted(
            f"pl.{op} of a tile",
            f"t = pl.load(x, [0, 0], [16, 64])\nv = pl.{op}(t)\nout[0:16, :] = pl.mul(x[0:16, :], 2.0)",
            _shift(0),
        )
        for op in ("col_sum", "col_max", "col_min", "col_prod")
    ),
    accepted(
        "rows of a tile with scratch",
        "t = pl.load(x, [0, 0], [16, 64])\nu = pl.create_tile([16, 64], dtype=pl.FP32)\n"
        "out = pl.store(pl.row_max(t, u), [0, 0], out)",
        rows(0, lambda a: a.x[:16].amax(1, keepdim=True)),
    ),
    accepted(
        "an extent as INT32, then FP32",
        "d = pl.tensor.dim(dy, 0)\nout[:, :] = pl.mul(x, pl.cast(pl.cast(d, pl.INT32), pl.FP32))",
        lambda a: a.x * 128,
    ),
    accepted(
        "a block as INT32, then FP32",
        "s = pl.tile.get_block_idx()\nout[:, :] = pl.mul(x, pl.cast(pl.cast(s + 2, pl.INT32), target_type=pl.FP32))",
        twice,
    ),
    accepted(
        "operations on scalars",
        "s = pl.mul(pl.sub(f, -2.5), 0.5)\nm = pl.sub(pl.read(idx, [0]), 2)\nv = pl.mul(m, 4)\n"
        "out[0:16, :] = pl.mul(x[v : v + 16, :], s)",
        rows(0, lambda a: a.x[4:20] * 2),
    ),
    accepted(
        "operations on scalars in orchestration",
        f"v = pl.add(pl.read(idx, [0]), 5)\nt = pl.slice(x, [16, 64], [v, 0])\n{AT}\n    out[0:16, :] = pl.mul(t, 2.0)",
        _shift(8),
        ENTRY,
    ),
    accepted("a read integer as FP32", "m = idx[0]\nout[:, :] = pl.mul(x, pl.cast(m, pl.FP32))", lambda a: a.x * 3),
    accepted(
        "an extent as FP32 in orchestration",
        f"d = pl.cast(pl.tensor.dim(dy, 0), pl.FP32)\n{AT}\n    out[:, :] = pl.mul(x, d)",
        lambda a: a.x * 128,
        ENTRY,
    ),
    accepted("a row into a row", "out[3, :] = pl.mul(x[3, :], 2.0)", rows(3, lambda a: a.x[3:4] * 2)),
    # extents in inline functions
    *(
        accepted(
            f"blocks of an inline function, named: {count}",
            f"""
            @pl.jit.inline
            def h(t: pl.Tensor[[64, DYN], pl.FP32], o: pl.Tensor[[64, DYN], pl.FP32]):
                n = {count}
                for g in pl.spmd({blocks}):
                    o[g * 16 : g * 16 + 16, 0:64] = pl.mul(t[g * 16 : g * 16 + 16, 0:64], 2.0)
                return o

            @pl.jit
            def k({XO}):
                out = h(x, out)
                return out
        """,
            twice,
            MODULE,
        )
        for count, blocks in (("pl.tensor.dim(t, 1) // 16", "n"), ("pl.tensor.dim(t, 1)", "n // 16"))
    ),
    *(
        accepted(
            f"inline of a named extent: {before} {extent}",
            f"""
            @pl.jit.inline
            def h(t: pl.Tensor[[DYN, 64], pl.FP32], o: pl.Tensor[[DYN, 64], pl.FP32]):
                with pl.at(level=pl.Level.CORE_GROUP):
                    o[0:64, :] = pl.mul(t[0:64, :], 2.0)
                return o

            @pl.jit
            def k({XO}, dy: pl.Tensor[[DYN, 64], pl.FP32]):
                {before}
                t = pl.create_tensor([{extent}, 64], dtype=pl.FP32)
                with pl.at(level=pl.Level.CORE_GROUP):
                    t[0:64, :] = pl.add(x, 0.0)
                u = pl.create_tensor([{extent}, 64], dtype=pl.FP32)
                u = h(t, u)
                with pl.at(level=pl.Level.CORE_GROUP):
                    out[:, :] = pl.add(u[0:64, :], 0.0)
                return out
        """,
            twice,
            MODULE,
        )
        for before, extent in (("pass", "DYN"), ("d = pl.tensor.dim(dy, 0)", "d"))
    ),
    # scalars
    accepted("a sum of constants", "r = 2.0\nw = r + 1.0\nout[:, :] = pl.mul(x, w)", lambda a: a.x * 3),
    accepted(
        "a difference from a negated number",
        "r = x[0, 3]\nw = r - (-r)\nout[:, :] = pl.mul(x, w)",
        lambda a: a.x * (2 * a.x[0, 3]),
    ),
    accepted(
        "a sum of floats in orchestration",
        f"w = f + 1.0\nw = w + x[0, 3]\n{AT}\n    out[:, :] = pl.mul(x, w)",
        lambda a: a.x * (2.5 + a.x[0, 3]),
        ENTRY,
    ),
    *(
        accepted(
            f"filled as a whole and written, {title}",
            f"{fill}\nfor i in pl.range(4):\n    if idx[i] > 0:\n        pl.write(out, [i, 0], 2.0)",
            lambda a: torch.ones(64, 64).index_put((torch.arange(4), torch.tensor(0)), torch.tensor(2.0)),
        )
        for title, fill in (
            ("in place", "out[:, :] = pl.full([64, 64], dtype=pl.FP32, value=1.0)"),
            ("named before", "t = pl.full([64, 64], dtype=pl.FP32, value=1.0)\nout[0:64, 0:64] = t"),
            ("assembled", "out = pl.assemble(out, pl.full([64, 64], dtype=pl.FP32, value=1.0), [0, 0])"),
        )
    ),
    *(
        accepted(
            f"stored and a loop that fills {title}",
            f"out[:, :] = pl.mul(x, 2.0)\nfor i in {loop}:\n    pl.write(out, {at}, -1.0 * 2.0)",
            lambda a, lo=lo, hi=hi: (a.x * 2).index_put((torch.tensor(20), torch.arange(lo, hi)), torch.tensor(-2.0)),
        )
        for title, loop, at, lo, hi in (
            ("a row", "pl.range(64)", "[20, i]", 0, 64),
            ("its end", "pl.range(0, 32)", "[20, 32 + i]", 32, 64),
        )
    ),
    accepted(
        "stored in turns and a loop that fills",
        "for i in pl.range(2):\n    out[i * 32 : i * 32 + 32, :] = pl.mul(x[i * 32 : i * 32 + 32, :], 2.0)\n"
        "    for j in pl.range(64):\n        pl.write(out, [i * 32, j], 2.0)",
        lambda a: (a.x * 2).index_put((torch.tensor([0, 32]),), torch.tensor(2.0)),
    ),
    *(
        accepted(
            f"the same valid extent, {title}",
            f"{PART}t = pl.add(x[0:16, :], 1.0)\nif idx[0] > 1:\n    {body}\n{ADDED}",
            total,
        )
        for title, body in (
            ("a part", "v = pl.slice(y, [16, 64], [0, 0], valid_shape=[8, 64])"),
            ("computed", "v = pl.maximum(pl.exp(v), 0.0)"),
            ("a part and a whole", "t = pl.add(v, x[0:16, :])"),
            ("a whole and a part", "t = pl.add(t, v)"),
            ("filled", "t = pl.fillpad(v, pad_value=pl.PadValue.zero)"),
            ("all is valid", "t = pl.slice(x, [16, 64], [0, 0], valid_shape=[16, 64])"),
            ("a row that is expanded", "t = pl.col_expand_mul(v, x[0:1, :])"),
        )
    ),
    accepted(
        "another valid extent in a straight line",
        f"{PART}v = pl.add(x[0:16, :], y[0:16, :])\nout[0:16, :] = v",
        total,
    ),
    accepted(
        "an INDEX valid extent in turns",
        "k = pl.cast(pl.read(idx, [0]), pl.INDEX)\nv = pl.slice(x, [16, 64], [0, 0], valid_shape=[k, 64])\n"
        f"for i in pl.range(2):\n    v = pl.add(v, 1.0)\n{ADDED}",
        total,
    ),
    *(
        accepted(
            f"a number of a tile beside a product, {title}",
            f"{BOTH_UNITS}k = pl.read(i, [0, 0])\n{ON_CUBE}\ny[0:16, :] = p\n{use}",
            rows(0, want),
        )
        for title, use, want in (
            ("offset", "out[0:16, :] = pl.mul(x[k : k + 16, :], 2.0)", lambda a: a.x[0:16] * 2),
            ("place", "out[k : k + 16, :] = pl.mul(x[0:16, :], 2.0)", lambda a: a.x[0:16] * 2),
            ("factor", "out[0:16, :] = pl.mul(x[0:16, :], pl.cast(k, pl.FP32))", lambda a: a.x[0:16] * 0),
            ("condition", "if k >= 0:\n    out[0:16, :] = pl.mul(x[0:16, :], 2.0)", lambda a: a.x[0:16] * 2),
            (
                "written to a tile",
                "t = pl.mul(x[0:16, :], 2.0)\npl.write(t, [k, 0], 8.0)\nout[0:16, :] = t",
                lambda a: (a.x[0:16] * 2).index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(8.0)),
            ),
        )
    ),
    accepted(
        "a loop over a part of a row of a tile",
        "t = pl.mul(x, 2.0)\nfor i in pl.range(4):\n    pl.write(t, [3, i], 2.0)\nout[:, :] = t",
        lambda a: (a.x * 2).index_put((torch.tensor(3), torch.arange(4)), torch.tensor(2.0)),
    ),
    accepted("power of literals", "out[:, :] = pl.mul(x, 2 ** 3)", lambda a: a.x * 8),
    accepted("power of a constant", "out[:, :] = pl.mul(x, K ** 2)", lambda a: a.x * 4096),
    accepted("inverse root of a constant", "s = K ** -0.5\nout[:, :] = pl.mul(x, s)", lambda a: a.x * 0.125),
    accepted(
        "power of a specialised parameter",
        "v = n ** 2\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(4),
    ),
    accepted(
        "bits of a specialised parameter",
        "v = (n << 1) + (n >> 1) + (n & 3) + (n | 1) + (n ^ 1)\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(13),
    ),
    accepted(
        "-scalar, ~scalar",
        "v = 9 + -n + ~n\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(4),
    ),
    accepted("comparison", "if n > 1:\n    out[:, :] = pl.mul(x, 2.0)\nelse:\n    out[:, :] = pl.exp(y)", twice),
    accepted("else arm", "if n > 2:\n    out[:, :] = pl.mul(y, 2.0)\nelse:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("if without else", "if n > 2:\n    out[:, :] = pl.mul(x, 2.0)", untouched),
    accepted("and", "if n > 0 and n < 4:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("or", "if n > 9 or n < 4:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("not", "if not (n > 9):\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("not of a condition that holds", "if not (n > 0):\n    out[:, :] = pl.mul(x, 2.0)", untouched),
    accepted(
        "and, or, not in orchestration",
        f"if n > 0 and not (n > 4 or n < 1):\n    {AT}\n        out[:, :] = pl.mul(x, 2.0)",
        twice,
        ENTRY,
    ),
    accepted("if True", "if True:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("constant condition", "if K == 64:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("bool of the module as condition", "if B:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted(
        "elif",
        "if n == 1:\n    out[:, :] = pl.exp(x)\nelif n == 2:\n"
        "    out[:, :] = pl.mul(x, 2.0)\nelse:\n    out[:, :] = pl.exp(y)",
        twice,
    ),
    accepted(
        "integer arithmetic",
        "v = n * 7 // 4 + n % 2 - 1\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(2),
    ),
    accepted("true division", "v = n / 4\nout[:, :] = pl.mul(x, v)", lambda a: a.x * 0.5),
    accepted("float arithmetic", "v = f * 2.0 + 1.0\nout[:, :] = pl.mul(x, v)", lambda a: a.x * 4),
    accepted("integer and float parameters", "v = n * f + 1.5\nout[:, :] = pl.mul(x, v)", lambda a: a.x * 4.5),
    accepted(
        "x.shape[0]",
        "v = x.shape[0] // 4\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(16),
    ),
    accepted(
        "M, N = x.shape",
        "M2, N2 = x.shape\nv = M2 - N2 + 2\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(2),
    ),
    accepted("x.dtype", "out[:, :] = pl.cast(b, x.dtype)", lambda a: a.b.float()),
    accepted(
        "pl.min and pl.max",
        "v = pl.min(n, 4) + pl.max(n, 3)\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(5),
    ),
    accepted(
        "cast to INDEX",
        "v = pl.cast(n, pl.INDEX)\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(2),
    ),
    accepted("keywords of an operation", "out[:, :] = pl.add(lhs=x, rhs=y)", lambda a: a.x + a.y),
    accepted(
        "static_print, static_assert",
        'pl.static_print(n)\npl.static_assert(K == 64, "k")\nout[:, :] = pl.mul(x, 2.0)',
        twice,
    ),
    # orchestration
    accepted(
        "reshape in orchestration",
        f"t = pl.reshape(x, [32, 128])\nu = pl.reshape(out, [32, 128])\n{AT}\n    u[:, :] = pl.mul(t, 2.0)",
        twice,
        ENTRY,
    ),
    accepted(
        "slice in orchestration",
        f"t = pl.slice(x, [16, 64], [8, 0])\n{AT}\n    out[0:16, :] = pl.mul(t, 2.0)",
        _shift(8),
        ENTRY,
    ),
    accepted(
        "slice of a slice in orchestration",
        f"t = x[8:40, :]\nu = t[4:20, :]\n{AT}\n    out[0:16, :] = pl.mul(u, 2.0)",
        _shift(12),
        ENTRY,
    ),
    accepted(
        "transpose in orchestration",
        f"t = pl.transpose(x, 0, 1)\n{AT}\n    out[:, :] = pl.mul(t, 2.0)",
        lambda a: a.x.T * 2,
        ENTRY,
    ),
    accepted("windows copied in orchestration", "out[0:16, :] = x[16:32, :]", rows(0, lambda a: a.x[16:32]), ENTRY),
    accepted(
        "assemble in orchestration", "out = pl.assemble(out, x[16:32, :], [8, 0])", rows(8, lambda a: a.x[16:32]), ENTRY
    ),
    accepted(
        "write and read in orchestration",
        "t = pl.create_tensor([16], dtype=pl.INT32)\n"
        "m = pl.tensor.read(idx, [0])\npl.tensor.write(t, [3], m)\n"
        "v = pl.read(t, [3]) + pl.tensor.read(idx, [0]) + idx[1]\n"
        "with pl.at(level=pl.Level.CORE_GROUP):\n"
        "    out[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(14),
        ENTRY,
    ),
    accepted(
        "dim",
        "v = pl.tensor.dim(dy, 0) // 64 + pl.dim(x, 0) // 64\n"
        "with pl.at(level=pl.Level.CORE_GROUP):\n"
        "    out[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(3),
        ENTRY,
    ),
    accepted(
        "create_tensor of runtime shape",
        f"m = pl.cast(idx[0], pl.INDEX)\nt = pl.create_tensor([m * 16, 64], dtype=pl.FP32)\n{AT}\n"
        f"    t[m * 8 : m * 8 + 16, :] = pl.mul(x[0:16, :], 2.0)\n{AT}\n"
        "    out[0:16, :] = pl.exp(t[24:40, :])",
        rows(0, lambda a: torch.exp(a.x[:16] * 2)),
        ENTRY,
    ),
    accepted(
        "create_tensor naming a dynamic dimension",
        "t = pl.create_tensor([DYN * 8, 64], dtype=pl.FP32)\n"
        "v = pl.tensor.dim(t, 0) // 512\n"
        "with pl.at(level=pl.Level.CORE_GROUP):\n"
        "    out[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(2),
        ENTRY,
    ),
    accepted(
        "p, q = 1, 2 in orchestration",
        "p, q = 1, 2\nv = p + q\nwith pl.at(level=pl.Level.CORE_GROUP):\n"
        "    out[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(3),
        ENTRY,
    ),
    accepted(
        "p, q = idx[0], idx[1] in orchestration",
        "p, q = idx[0], idx[1]\nv = p + q\n"
        "with pl.at(level=pl.Level.CORE_GROUP):\n"
        "    out[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(11),
        ENTRY,
    ),
    accepted(
        "if on a read around a region",
        f"m = idx[0]\nif m > 2:\n    {AT}\n        out[:, :] = pl.mul(x, 2.0)",
        twice,
        ENTRY,
    ),
    accepted(
        "regions in both arms",
        f"if n > 2:\n    {AT}\n        out[:, :] = pl.exp(x)\nelse:\n    {AT}\n        out[:, :] = pl.mul(x, 2.0)",
        twice,
        ENTRY,
    ),
    accepted(
        "division in orchestration",
        "m = idx[0]\nv = pl.min(m, 4) + pl.cast(m, pl.INDEX) // 2\n"
        "with pl.at(level=pl.Level.CORE_GROUP):\n"
        "    out[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(4),
        ENTRY,
    ),
    accepted("manual_scope", f"with pl.manual_scope():\n    {AT}\n        out[:, :] = pl.mul(x, 2.0)", twice, ENTRY),
    # loops
    accepted(
        "range with a carried tile",
        "t = pl.add(x, 0.0)\nfor i in pl.range(4):\n    t = pl.add(t, y)\nout[:, :] = t",
        _loop,
    ),
    accepted(
        "unroll with a carried tile",
        "t = pl.add(x, 0.0)\nfor i in pl.unroll(4):\n    t = pl.add(t, y)\nout[:, :] = t",
        _loop,
    ),
    accepted(
        "init_values and yield_",
        "t = pl.add(x, 0.0)\nfor i, (c,) in pl.range(4, init_values=(t,)):\n"
        "    u = pl.add(c, y)\n    r = pl.yield_(u)\nout[:, :] = r",
        _loop,
    ),
    accepted(
        "start, stop, step",
        "for i in pl.range(16, 64, 32):\n    out[i : i + 16, :] = pl.mul(x[i : i + 16, :], 2.0)",
        lambda a: torch.cat([torch.full((16, 64), 7.0), a.x[16:32] * 2, torch.full((16, 64), 7.0), a.x[48:] * 2]),
    ),
    accepted(
        "runtime bounds",
        "m = idx[0]\nfor i in pl.range(m, m + 48, 16):\n    out[i : i + 16, :] = pl.mul(x[i : i + 16, :], 2.0)",
        rows(3, lambda a: a.x[3:51] * 2),
    ),
    accepted(
        "underscore loop variable",
        "t = pl.add(x, 0.0)\nfor _ in pl.range(4):\n    t = pl.add(t, y)\nout[:, :] = t",
        _loop,
    ),
    accepted(
        "loop variable assigned",
        "for i in pl.range(2):\n    i = i + 1\n    out[0:16, :] = pl.mul(x[i : i + 16, :], 2.0)",
        _shift(2),
    ),
    accepted(
        "unroll of a constant",
        "for i in pl.unroll(K // 16):\n    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        twice,
    ),
    accepted(
        "unroll of a specialised parameter",
        "for i in pl.unroll(n):\n    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        rows(0, lambda a: a.x[:32] * 2),
    ),
    accepted(
        "pipeline",
        "for i in pl.pipeline(4, stage=2):\n    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        twice,
    ),
    accepted(
        "parallel in a region",
        "for i in pl.parallel(4):\n    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        twice,
    ),
    *(
        accepted(
            f"{loop} in orchestration",
            f"for i in {loop}:\n    {AT}\n"
            "        out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
            twice,
            ENTRY,
        )
        for loop in ("pl.range(4)", "pl.parallel(4)", "pl.unroll(4)", "pl.parallel(idx[0] + 1)")
    ),
    *(
        accepted(
            f"a loop of orchestration that counts down, {loop}",
            f"for i in pl.{loop}:\n    {AT}\n"
            "        out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
            rows(0, lambda a: a.x * 2),
            ENTRY,
        )
        for loop in ("range(3, -1, -1)", "parallel(3, -1, -1)", "unroll(3, -1, -1)")
    ),
    accepted(
        "a loop of orchestration that counts by nothing",
        f"for i in pl.range(0, 4, 0):\n    {AT}\n        out[0:16, :] = pl.mul(x[0:16, :], 2.0)",
        rows(0, lambda a: a.x[:0]),
        ENTRY,
    ),
    accepted(
        "pl.unroll that counts down in a region",
        "for i in pl.unroll(3, -1, -1):\n    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        rows(0, lambda a: a.x * 2),
    ),
    accepted(
        "while_ with carried values",
        "for (c, d) in pl.while_(init_values=(0, 1)):\n    pl.cond(c < 5)\n"
        "    c2 = c + 2\n    d2 = d * 2\n    c3, d3 = pl.yield_(c2, d2)\n"
        "v = c3 + d3\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(14),
    ),
    accepted(
        "break",
        "k2 = 0\nfor i in pl.range(9):\n    if i > 3:\n        break\n"
        "    k2 = k2 + i\nout[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)",
        _shift(6),
    ),
    accepted(
        "continue",
        "k2 = 0\nfor i in pl.range(5):\n    if i == 3:\n        continue\n"
        "    k2 = k2 + i\nout[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)",
        _shift(7),
    ),
    # spmd
    *(
        accepted(
            f"spmd over {count}",
            f"c = {count}\nfor i in pl.spmd(c, name_hint='s'):\n"
            "    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
            twice,
            ENTRY,
        )
        for count in ("4", "K // 16", "pl.tensor.dim(x, 0) // 16", "pl.tensor.dim(dy, 0) // 32", "n * 2", "idx[0] + 1")
    ),
    accepted(
        "spmd over an expression",
        "for i in pl.spmd(pl.tensor.dim(dy, 0) // 32):\n"
        "    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        twice,
        ENTRY,
    ),
    accepted(
        "count read in the body",
        "c = idx[0] + 1\nfor i in pl.spmd(c):\n    out[i * 16 : i * 16 + 16, :] = pl.mul(x[c : c + 16, :], 2.0)",
        lambda a: torch.cat([a.x[4:20] * 2] * 4),
        ENTRY,
    ),
    accepted(
        "with spmd",
        "with pl.spmd(4):\n    i = pl.tile.get_block_idx()\n"
        "    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        twice,
        ENTRY,
    ),
    accepted(
        "with spmd as tid, deps",
        "with pl.spmd(4) as t1:\n    i = pl.tile.get_block_idx()\n"
        "    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 3.0)\n"
        "with pl.spmd(4, deps=[t1]) as t2:\n    i = pl.tile.get_block_idx()\n"
        "    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
        twice,
        ENTRY,
    ),
    accepted(
        "spmd in parallel",
        "for j in pl.parallel(2):\n    for i in pl.spmd(2):\n"
        "        r = j * 32 + i * 16\n        out[r : r + 16, :] = pl.mul(x[r : r + 16, :], 2.0)",
        twice,
        ENTRY,
    ),
    accepted(
        "parallel in spmd",
        "for i in pl.spmd(2):\n    for j in pl.parallel(2):\n"
        "        r = j * 32 + i * 16\n        out[r : r + 16, :] = pl.mul(x[r : r + 16, :], 2.0)",
        twice,
        ENTRY,
    ),
    # regions
    accepted("positional level", "with pl.at(pl.Level.CORE_GROUP):\n    out[:, :] = pl.mul(x, 2.0)", twice, ENTRY),
    accepted(
        "at as t",
        "with pl.at(level=pl.Level.CORE_GROUP) as t:\n"
        "    out[:, :] = pl.exp(x)\n"
        "with pl.at(level=pl.Level.CORE_GROUP, deps=[t]):\n"
        "    out[:, :] = pl.mul(x, 2.0)",
        twice,
        ENTRY,
    ),
    accepted("empty region", f"{AT}\n    pass\n{COPY}", twice, ENTRY),
    accepted("region with scalars only", f"{AT}\n    k2 = idx[0] + 1\n{COPY}", twice, ENTRY),
    accepted(
        "scalar of one region in the next",
        "with pl.at(level=pl.Level.CORE_GROUP):\n    k2 = idx[0] + 1\n"
        "    t = pl.exp(x)\nwith pl.at(level=pl.Level.CORE_GROUP):\n"
        "    out[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)",
        _shift(4),
        ENTRY,
    ),
    accepted(
        "tile of one region in the next",
        f"{AT}\n    t = pl.mul(x, 3.0)\n{AT}\n    out[:, :] = pl.add(t, y)",
        lambda a: a.x * 3 + a.y,
        ENTRY,
    ),
    accepted("out re-bound instead of written", "out = pl.mul(x, 2.0)", untouched),
    accepted("parameter re-bound", "x = pl.add(x, 1.0)\nout[:, :] = pl.mul(x, 2.0)", lambda a: (a.x + 1) * 2),
    accepted("return in a region", "out[:, :] = pl.mul(x, 2.0)\nreturn out", twice),
    *(
        accepted(f"in orchestration: {test}", f"if {test}:\n    {AT}\n        out[:, :] = pl.mul(x, 2.0)", twice, ENTRY)
        for test in (
            "n > 1 and idx[0] > 1",
            "n > 5 or idx[0] > 1",
            "not idx[0] > 5",
            "x[0, 0] != 2.0",
            "x[0, 0] * 0.0 > -1.0",
        )
    ),
    accepted("and in a region", f"if idx[0] > 1 and idx[1] > 1:\n    {ADDED}", total),
    accepted(
        "a quotient of parameters in orchestration", f"v = f / 0.75\n{AT}\n    out[:, :] = pl.mul(x, v)", twice, ENTRY
    ),
    *(
        accepted(f"no return, {title}", no_return(*lines), twice, MODULE)
        for title, lines in (
            ("a straight line", ("t = pl.add(x, x)", "out[:, :] = t")),
            ("a number of an if", ("out[:, :] = pl.mul(x, 2.0)", "pl.write(x, [0, 0], 1.0)")),
            (
                "an unrolled loop",
                (
                    "for i in pl.unroll(4):",
                    "    out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)",
                ),
            ),
        )
    ),
    accepted(
        "no return after spmd",
        "for i in pl.spmd(4):\n    for j in pl.range(2):\n"
        "        out[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)\nn2 = n + 1",
        twice,
        ENTRY,
    ),
    accepted(
        "a return in the arms at the end", f"{COPY}\nif idx[0] > 1:\n    return out\nelse:\n    return x", twice, ENTRY
    ),
    accepted("bare return", f"{COPY}\nreturn", twice, ENTRY),
    accepted("return of several", f"{COPY}\nreturn out, x", twice, ENTRY),
    accepted("an Out that is not written", "t = pl.exp(x)", untouched),
    accepted(
        "an Out that is read",
        "out[0:16, :] = pl.mul(out[16:32, :], 2.0)",
        rows(0, lambda a: torch.full((16, 64), 14.0)),
    ),
    accepted(
        "docstrings and comments",
        '"""What it does."""\n# nothing\nout[:, :] = pl.mul(x, 2.0)  # twice\n"a string"',
        twice,
    ),
    accepted("bare expressions", "1 + 1\nn\nout[:, :] = pl.mul(x, 2.0)", twice),
    accepted("pass and semicolons", "pass; t = pl.mul(x, 2.0); out[:, :] = t", twice),
    accepted("annotated local", "t: pl.Tensor[[64, 64], pl.FP32] = pl.mul(x, 2.0)\nout[:, :] = t", twice),
    accepted("annotated scalar", "v: pl.Scalar[pl.INT32] = n\nout[:, :] = pl.mul(x, v)", twice),
    accepted(
        "pl shadowed by nobody, a global shadowed",
        "K = n\nout[0:16, :] = pl.mul(x[K : K + 16, :], 2.0)",
        _shift(2),
    ),
    # binding
    accepted(
        "name bound in both arms", "if n > 2:\n    t = pl.exp(x)\nelse:\n    t = pl.mul(x, 2.0)\nout[:, :] = t", twice
    ),
    accepted("name re-bound in one arm", "t = pl.exp(x)\nif n > 1:\n    t = pl.mul(x, 2.0)\nout[:, :] = t", twice),
    accepted(
        "scalar bound in both arms",
        "if n > 2:\n    v = 3\nelse:\n    v = 2\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(2),
    ),
    accepted(
        "scalar re-bound in one arm",
        "v = 2\nif n > 2:\n    v = 3\nout[0:16, :] = pl.mul(x[v : v + 16, :], 2.0)",
        _shift(2),
    ),
    accepted(
        "yield_ in both arms",
        "if n > 2:\n    t = pl.exp(x)\n    r = pl.yield_(t)\nelse:\n"
        "    u = pl.mul(x, 2.0)\n    r = pl.yield_(u)\nout[:, :] = r",
        twice,
    ),
    accepted(
        "another shape in straight line of a loop",
        "for i in pl.range(4):\n    t = pl.exp(x[i * 16 : i * 16 + 16, :])\n    t = pl.row_max(t)\n"
        "    out[i * 16 : i * 16 + 16, 0:1] = t",
        rows(0, lambda a: torch.exp(a.x).amax(1, keepdim=True)),
    ),
    accepted(
        "another shape in straight line", "t = x[0:32, :]\nt = x[8:24, :]\nout[0:16, :] = pl.mul(t, 2.0)", _shift(8)
    ),
    accepted(
        "another dtype in straight line",
        "t = pl.cast(x, pl.BF16)\nt = pl.cast(t, pl.FP32)\nout[:, :] = t",
        lambda a: a.x.bfloat16().float(),
    ),
    accepted(
        "tensor name re-bound to a scalar",
        "t = pl.exp(x)\nt = 2\nout[0:16, :] = pl.mul(x[t : t + 16, :], 2.0)",
        _shift(2),
    ),
    accepted("scalar 0 re-bound to a read", "k2 = 0\nk2 = idx[0]\nout[:, :] = pl.mul(x, k2)", lambda a: a.x * 3),
    accepted(
        "carried scalar",
        "k2 = 0\nfor i in pl.range(3):\n    k2 = k2 + idx[0]\nout[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)",
        _shift(9),
    ),
    # subscripts
    accepted("fewer axes than the rank", "out[0:16] = pl.mul(x[8:24], 2.0)", _shift(8)),
    accepted("chained subscripts", "v = x[0:16, :][3, 4]\nout[:, :] = pl.mul(y, v)", lambda a: a.y * a.x[3, 4]),
    accepted("element read", "v = x[3, 4]\nout[:, :] = pl.mul(y, v)", lambda a: a.y * a.x[3, 4]),
    accepted("element read at a runtime index", "v = idx[n]\nout[:, :] = pl.mul(x, v)", lambda a: a.x * 13),
    accepted("runtime offset", "k2 = idx[0]\nout[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)", _shift(3)),
    accepted("specialised extent", "out[0:16, :] = pl.mul(x[0 : n * 8, :], 2.0)", _shift(0)),
    accepted("specialised bounds", "out[0:16, :] = pl.mul(x[n : n * 9, :], 2.0)", _shift(2)),
    accepted("write of columns", "out[:, 0:16] = pl.mul(x[:, 16:32], 2.0)", rows(0, lambda a: a.x[:, 16:32] * 2)),
    accepted(
        "write into a tile",
        "t = pl.mul(x, 2.0)\nt[0:16, :] = y[0:16, :]\nout[:, :] = t",
        lambda a: torch.cat([a.y[:16], a.x[16:] * 2]),
    ),
    accepted("columns of a tile", "t = pl.mul(x, 2.0)\nout[:, 0:8] = t[:, 1:9]", rows(0, lambda a: a.x[:, 1:9] * 2)),
    accepted("five rows", "out[0:5, :] = pl.mul(x[3:8, :], 2.0)", rows(0, lambda a: a.x[3:8] * 2)),
    accepted(
        "row through one axis",
        "t = x[5, :]\nu = pl.reshape(t, [1, 64])\nout[0:1, :] = pl.mul(u, 2.0)",
        rows(0, lambda a: a.x[5:6] * 2),
    ),
    accepted("local constant as extent", "c = 16\nout[0:c, :] = pl.mul(x[0:c, :], 2.0)", _shift(0)),
    accepted("local constant arithmetic as extent", "c = K // 4\nout[0:c, :] = pl.mul(x[0:c, :], 2.0)", _shift(0)),
    accepted(
        "local constant as shape",
        "c = 16\nout[0:16, :] = pl.full([c, 64], dtype=pl.FP32, value=2.0)",
        rows(0, lambda a: torch.full((16, 64), 2.0)),
    ),
    accepted(
        "copies without compute",
        "out[0:16, :] = x[3:19, :]\nt = x[3:19, :]\nout[16:32, :] = t",
        rows(0, lambda a: torch.cat([a.x[3:19]] * 2)),
    ),
    accepted(
        "assemble of a slice",
        "out = pl.assemble(out, pl.slice(x, [16, 64], [8, 0]), [0, 0])",
        rows(0, lambda a: a.x[8:24]),
    ),
    accepted(
        "load and store",
        "t = pl.load(x, [8, 0], [16, 64])\nout = pl.store(t, [0, 0], out)",
        rows(0, lambda a: a.x[8:24]),
    ),
    accepted(
        "full written",
        "out[0:16, :] = pl.full([16, 64], dtype=pl.FP32, value=3.0)",
        rows(0, lambda a: torch.full((16, 64), 3.0)),
    ),
    accepted(
        "out read after it was written",
        "out[0:16, :] = pl.mul(x[0:16, :], 3.0)\nout[16:32, :] = pl.exp(out[0:16, :])",
        rows(0, lambda a: torch.cat([a.x[:16] * 3, torch.exp(a.x[:16] * 3)])),
    ),
    accepted(
        "pl.write",
        "pl.write(out, [3, 4], f)",
        lambda a: torch.full((64, 64), 7.0).index_put((torch.tensor(3), torch.tensor(4)), torch.tensor(1.5)),
    ),
    accepted(
        "slice with valid_shape past the edge",
        "t = pl.slice(x, [16, 64], [60, 0], valid_shape=[4, 64])\n"
        "u = pl.fillpad(t, pad_value=pl.PadValue.zero)\nout[0:16, :] = u",
        rows(0, lambda a: torch.cat([a.x[60:], torch.zeros(12, 64)])),
    ),
    accepted(
        "clamped slice", "t = pl.slice(x, [16, 64], [60, 0], clamp=True)\nout[0:16, :] = t", rows(0, lambda a: a.x[60:])
    ),
    accepted(
        "valid rows stored where only they fit",
        "t = pl.slice(x, [16, 64], [8, 0], valid_shape=[4, 64])\nout[60:76, :] = t",
        rows(60, lambda a: a.x[8:12]),
    ),
    # shapes
    accepted(
        "a row spread by pl.col_expand_add", "out[:, :] = pl.col_expand_add(x, y[0:1, :])", lambda a: a.x + a.y[:1]
    ),
    accepted("broadcast of a column", "out[:, :] = pl.add(x, y[:, 0:1])", lambda a: a.x + a.y[:, :1]),
    accepted(
        "reshape of a window",
        "t = pl.reshape(x[0:2, 0:32], [1, 64])\nout[0:1, :] = pl.mul(t, 2.0)",
        rows(0, lambda a: a.x[:2, :32].reshape(1, 64) * 2),
    ),
    accepted(
        "mode by name",
        "t = pl.cast(x, pl.BF16, mode='rint')\nu = pl.cast(t, pl.FP32, mode='round')\nout[:, :] = u",
        lambda a: a.x.bfloat16().float(),
    ),
    accepted(
        "create_tensor in a region",
        "t = pl.create_tensor([64, 64], dtype=pl.FP32)\n"
        "t = pl.assemble(t, x[32:64, :], [0, 0])\n"
        "t = pl.assemble(t, x[0:32, :], [32, 0])\nout[:, :] = t",
        lambda a: torch.cat([a.x[32:], a.x[:32]]),
    ),
    accepted(
        "high_precision",
        "t = pl.exp(x)\nout[:, :] = pl.rsqrt(t, high_precision=True)",
        lambda a: torch.rsqrt(torch.exp(a.x)),
    ),
    accepted(
        "concat",
        "out[0:16, :] = pl.concat(x[0:16, 0:32], y[0:16, 0:32])",
        rows(0, lambda a: torch.cat([a.x[:16, :32], a.y[:16, :32]], 1)),
    ),
    accepted(
        "runtime scalar arithmetic as offset",
        "m = idx[0]\nk2 = m // 2 + m % 2 - m + m * 3 - 1 + (m << 1)\nout[0:16, :] = pl.mul(x[k2 : k2 + 16, :], 2.0)",
        _shift(13),
    ),
    accepted("not of an integer", "m = idx[0]\nif not m:\n    out[:, :] = pl.mul(x, 2.0)", untouched),
    accepted("condition with a name", "m = idx[0]\nc = m > 0\nif c:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("read INT32 times an FP32 tensor", "m = idx[0]\nout[:, :] = pl.mul(x, m)", lambda a: a.x * 3),
    accepted(
        "set_validshape by INDEX",
        "m = idx[0]\nt = pl.set_validshape(x, pl.cast(m, pl.INDEX), 64)\nu = pl.fillpad(t)\nout[:, :] = u",
        lambda a: torch.cat([a.x[:3], torch.zeros(61, 64)]),
    ),
    # signatures
    accepted(
        "default of a scalar",
        "@pl.jit\n"
        f"def k({XO}, n: pl.Scalar[pl.INT32] = 3):\n"
        ""
        ""
        "    with pl.at(level=pl.Level.CORE_GROUP):\n"
        "        out[:, :] = pl.mul(x, n)",
        lambda a: a.x * 3,
        MODULE,
    ),
    accepted("decorator with parentheses", module(COPY, XO, "@pl.jit()"), twice, MODULE),
    accepted("bare pl.Tensor", module(COPY, "x: pl.Tensor, out: pl.Out[pl.Tensor]"), twice, MODULE),
    accepted(
        "bare dtype",
        module("with pl.at(level=pl.Level.CORE_GROUP):\n    out[:, :] = pl.mul(x, n)", XO + ", n: pl.INT32"),
        twice,
        MODULE,
    ),
    accepted("expression in an annotation", module(COPY, XO.replace("[64, 64]", "[8 * K // 8, K]")), twice, MODULE),
    accepted(
        "return annotation",
        module(COPY + "\nreturn out", XO).replace("):\n", ") -> pl.Tensor[[64, 64], pl.FP32]:\n", 1),
        twice,
        MODULE,
    ),
    accepted("postponed annotations", "from __future__ import annotations\n" + module(COPY, XO), twice, MODULE),
    accepted(
        "global defined after the kernel",
        module("with pl.at(level=pl.Level.CORE_GROUP):\n    out[:, :] = pl.mul(x, LATER)", XO) + "\n\nLATER = 2\n",
        twice,
        MODULE,
    ),
    accepted(
        "kernel in a function",
        f"def outer():\n    @pl.jit\n    def k({XO}):\n"
        "        with pl.at(level=pl.Level.CORE_GROUP):\n"
        "            out[:, :] = pl.mul(x, 2.0)\n\n    return k\n\n\n"
        "k = outer()",
        twice,
        MODULE,
    ),
    # names from outside
    accepted("float of the module", "out[:, :] = pl.mul(x, F)", lambda a: a.x * 0.25),
    accepted("arithmetic of constants", "out[:, :] = pl.mul(x, (K + 1) * 2 // 3 + K1 % 3 + -K1)", lambda a: a.x * 37),
    accepted("comparison of constants", "if K > 3:\n    out[:, :] = pl.mul(x, 2.0)", twice),
    accepted("reciprocal of a constant", "out[:, :] = pl.mul(x, 1.0 / K)", lambda a: a.x / 64),
    # functions calling functions
    accepted("inline", "t = x[8:24, :]\nv = scale(t, 2.0)\nout[0:16, :] = v", _shift(8)),
    accepted(
        "inline given a scalar expression",
        "t = x[8:24, :]\nv = scale(t, f + 1.5)\nout[0:16, :] = v",
        rows(0, lambda a: a.x[8:24] * 3),
    ),
    accepted("inline with keywords", "t = x[8:24, :]\nv = scale(s=2.0, t=t)\nout[0:16, :] = v", _shift(8)),
    accepted(
        "inline of an inline's result",
        "t = x[8:24, :]\nv = scale(t, 2.0)\nw = scale(v, 2.0)\nout[0:16, :] = w",
        rows(0, lambda a: a.x[8:24] * 4),
    ),
    accepted(
        "inline of pl.slice at a runtime offset",
        "m = idx[0]\nt = pl.slice(x, [16, 64], [m, 0])\nv = scale(t, 2.0)\nout[0:16, :] = v",
        _shift(3),
    ),
    accepted(
        "inline of a reshape in two steps",
        "t = pl.slice(x, [32, 32], [0, 0])\nu = pl.reshape(t, [16, 64])\nv = scale(u, 2.0)\nout[0:16, :] = v",
        rows(0, lambda a: a.x[:32, :32].reshape(16, 64) * 2),
    ),
    accepted(
        "inline returning a tuple",
        "t = x[8:24, :]\nv, w = first_row(t)\nout[0:16, 0:1] = v\nout[0:16, 1:2] = w",
        rows(0, lambda a: torch.stack([a.x[8:24].amax(1), a.x[8:24].amin(1)], 1)),
    ),
    accepted(
        "inline in a loop",
        "for i in pl.range(4):\n    t = pl.slice(x, [16, 64], [i * 16, 0])\n"
        "    v = scale(t, 2.0)\n    out[i * 16 : i * 16 + 16, :] = v",
        twice,
    ),
    accepted(
        "inline in spmd",
        "for i in pl.spmd(4):\n    t = pl.slice(x, [16, 64], [i * 16, 0])\n"
        "    v = scale(t, 2.0)\n    out[i * 16 : i * 16 + 16, :] = v",
        twice,
        ENTRY,
    ),
    accepted(
        "inline with a region, result returned",
        "@pl.jit.inline\n"
        "def h(t: pl.Tensor[[64, 64], pl.FP32], o: pl.Tensor[[64, 64], pl.FP32]):\n"
        "    with pl.at(level=pl.Level.CORE_GROUP):\n"
        "        o[:, :] = pl.mul(t, 2.0)\n    return o\n\n\n"
        f"{module('out = h(x, out)' + chr(10) + 'return out', XO)}",
        twice,
        MODULE,
    ),
    accepted(
        "inline with a region, bare call",
        "@pl.jit.inline\n"
        "def h(t: pl.Tensor[[64, 64], pl.FP32], o: pl.Tensor[[64, 64], pl.FP32]):\n"
        "    with pl.at(level=pl.Level.CORE_GROUP):\n"
        f"        o[:, :] = pl.mul(t, 2.0)\n\n\n{module('h(x, out)', XO)}",
        twice,
        MODULE,
    ),
    accepted(
        "inline calling an inline",
        "@pl.jit.inline\ndef h(t: pl.Tensor[[16, 64], pl.FP32]):\n"
        "    v = scale(t, 3.0)\n    return v\n\n\n"
        f"{in_region('t = x[0:16, :]', 'v = h(t)', 'out[0:16, :] = v')}",
        rows(0, lambda a: a.x[:16] * 3),
        MODULE,
    ),
    accepted("incore function called by the entry", "out = times2(x, out)\nreturn out", twice, ENTRY),
]

# Where interpret mode differs from the compiler, on purpose.

# The compiler passes these and makes something else of them than they say: it stores one type as another, drops the
# block, ignores the arguments, reads outside the tensor.
STRICTER = [
    refused(
        "break in orchestration",
        f"for i in pl.range(4):\n    if i > 1:\n        break  #!\n    {AT}\n        out[:, :] = pl.mul(x[:, :], 2.0)",
        "break",
        ENTRY,
    ),
    refused(
        "while_ in orchestration",
        f"for (i,) in pl.while_(init_values=(0,)):  #!\n    pl.cond(i < 4)\n    {AT}\n"
        "        out[:, :] = pl.mul(x, 2.0)\n    (i2,) = pl.yield_(i + 1)",
        "pl.while_",
        ENTRY,
    ),
    refused("BF16 tile stored in an FP32 tensor", "out[0:16, :] = b[0:16, :]  #!", "out[0:16"),
    refused(
        "BF16 tile assembled in an FP32 tensor", "t = pl.assemble(out, pl.cast(x, pl.BF16), [0, 0])  #!", "pl.assemble"
    ),
    refused("BF16 and FP32", "t = pl.add(b, x)  #!", "pl.add"),
    refused(
        "else of a loop",
        "for i in pl.range(4):\n    t = pl.exp(x)\nelse:\n    out[:, :] = pl.exp(x)  #!",
        "out[:, :]",
    ),
    refused("*args", module("pass", "n: pl.INT32, *args").replace("):", "):  #!"), "args", MODULE),
    refused("**kwargs", module("pass", "n: pl.INT32, **kwargs").replace("):", "):  #!"), "kwargs", MODULE),
    # Both simulators compute the first row alone.
    *(
        refused(f"a row beside a tile in pl.{n}, as {a}", f"out[0:16, :] = pl.{n}({a}, {b})  #!", f"pl.{n}")
        for n in ("add", "sub", "mul", "maximum", "minimum")
        for a, b in (("x[0:16, :]", "y[0:1, :]"), ("y[0:1, :]", "x[0:16, :]"))
    ),
    # a2a3sim subtracts the column from the tile.
    refused("a tile subtracted from a column", "out[0:16, :] = pl.sub(y[0:16, 0:1], x[0:16, :])  #!", "pl.sub"),
    refused("a row of one axis", "t = pl.reshape(y[0:1, :], [64])\nout[0:16, :] = pl.mul(x[0:16, :], t)  #!", "pl.mul"),
    refused("a row in pl.cmp", "t = pl.cmp(x[0:16, :], y[0:1, :], cmp_type=2)  #!\nout[0:16, :] = t", "pl.cmp"),
    refused(
        "a row that lies on chip",
        "t = pl.load(x, [0, 0], [16, 64])\nr = pl.load(y, [0, 0], [1, 64])\n"
        "out = pl.store(pl.mul(t, r), [0, 0], out)  #!",
        "pl.mul",
    ),
    # What a copy onto itself gives hangs on its order, and no number of the device is that large.
    refused("a part put where it overlaps itself", "out = pl.assemble(out, out[16:32, :], [8, 0])  #!", "pl.", ENTRY),
    refused("a power past 64 bits", "out[:, :] = pl.mul(x, 2 ** 1099511627776)  #!", "2 **"),
    refused("element past the end", "v = x[64, 0]  #!\nout[:, :] = pl.mul(x, v)", "x[64"),
    refused("negative element", "v = x[-1, 0]  #!\nout[:, :] = pl.mul(x, v)", ""),
]
