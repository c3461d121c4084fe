"""Rows as in check_cases, for what is told of a call: its arguments, inline functions, conditions, several products.

Read in the compiler's source, at the place that each row names, and not tried on it.
"""

from __future__ import annotations

from check_cases import BATCH, COPY, CORE, HALF, PAGES, PRODUCTS, XN, Check, out, t
from check_cases_in_place import PAIR

LAUNCH, INLINE = (
    "src/codegen/orchestration/orchestration_codegen.cpp",
    "src/ir/transforms/inline_functions_pass.cpp",
)
X, OUT = t("x", [64, 64])[3:], out([64, 64])[5:]
PICK = f"""@pl.jit.incore
def pick(x: {X}, first: pl.Scalar[pl.BOOL], out: {OUT}):
    if first:
        out[:, :] = pl.mul(x[:, :], 2.0)
    else:
        out[:, :] = pl.mul(x[:, :], 3.0)
    return out
"""


def picked(title: str, lines: str, at: str = "") -> Check:
    return Check(f"a condition as an argument: {title}", LAUNCH, XN, lines, at, entry=True, before=PICK)


CALLS = [
    picked("of a turn", "for j in pl.range(2):\n    out = pick(x, j == 1, out)  #!", "j == 1"),
    picked("of what is read", "m = i[0]\nout = pick(x, m > 0, out)  #!", "m > 0"),
    picked("of what is read, and a constant", "m = i[0]\nout = pick(x, m > 0 and True, out)  #!", "m > 0"),
    picked("with a name", "for j in pl.range(2):\n    first = j == 1\n    out = pick(x, first, out)"),
    picked("that is known", "out = pick(x, 2 > 1, out)"),
    picked("of a parameter that the entry is compiled for", "out = pick(x, n > 0, out)"),
    picked("that the loop decides", "for j in pl.range(2):\n    out = pick(x, j >= 0, out)"),
]

KINDS = "include/pypto/ir/scalar_expr.h"


def compared(title: str, test: str, at: str = "") -> Check:
    lines = f"m = i[0]\nif {test}:{'  #!' if at else ''}\n    {COPY}\nelse:\n    out[:, :] = pl.mul(x[:, :], 3.0)"
    return Check(f"what is true or false: {title}", KINDS, XN, lines, at)


CALLS += [
    compared("two comparisons", "(m > 0) == (m < 4)", "(m > 0)"),
    compared("a comparison and a constant", "(m > 0) == True", "(m > 0)"),
    compared("two comparisons that differ", "(m > 0) != (m < 4)", "(m > 0)"),
    compared("a comparison", "m == 1"),
    compared("two comparisons together", "m > 0 and m < 4"),
    compared("not a comparison", "not m > 4"),
]

BLOCKS = f"""@pl.jit.inline
def blocks(x: {X}, n: pl.Scalar[pl.INT32], out: {OUT}):
    for j in pl.spmd(n):
    {HALF}    return out
"""
EXTENT = f"""@pl.jit.inline
def extent(x: {X}, n: pl.Scalar[pl.INT64], out: {OUT}):
    s = pl.create_tensor([pl.cast(n, pl.INDEX) * 2, 64], dtype=pl.FP32)
    with pl.at({CORE}):
        s[0:1, :] = x[0:1, :]
        {COPY}
    return out
"""
PART = f"""@pl.jit.inline
def part(x: {X}, n: pl.Scalar[pl.INT64], out: {OUT}):
    with pl.at({CORE}):
        out[0:16, :] = pl.mul(x[n : n + 16, :], 2.0)
    return out
"""
AROUND = (
    PART
    + f"""@pl.jit.inline
def around(x: {X}, n: pl.Scalar[pl.INT64], out: {OUT}):
    out = part(x, n, out)
    return out
"""
)
DOUBLED = PART.replace("def part", "def doubled").replace("x[n : n + 16, :]", "x[n * 2 : n * 2 + 16, :]")
TURNS = f"""@pl.jit.inline
def turns(x: {X}, n: pl.Scalar[pl.INT64], out: {OUT}):
    for j in pl.range(n):
        with pl.at({CORE}):
        {HALF}    return out
"""


def inlined(title: str, call: str, before: str, at: str = "") -> Check:
    lines = f"{call}{'  #!' if at else ''}"
    return Check(f"an argument of an inline function: {title}", INLINE, PAIR, lines, at, entry=True, before=before)


CALLS += [
    inlined("the number of blocks", "out = blocks(x, i[0], out)", BLOCKS, "i[0]"),
    inlined("part of an extent", "out = extent(x, p[0], out)", EXTENT, "p[0]"),
    inlined("where a window begins", "out = part(x, p[0], out)", PART, "p[0]"),
    inlined("where a window begins, two functions down", "out = around(x, p[0], out)", AROUND, "p[0]"),
    inlined("the number of blocks, by name", "m = i[0]\nout = blocks(x, m, out)", BLOCKS),
    inlined("where a window begins, by name", "m = p[0]\nout = around(x, m, out)", AROUND),
    inlined("where a window begins, computed", "out = doubled(x, p[0], out)", DOUBLED),
    inlined("the turns of a loop", "out = turns(x, p[0], out)", TURNS),
    inlined("where a window begins, a constant", "out = part(x, 1, out)", PART),
]

FLAT = f"{t('a', [2, 16, 64], 'BF16')}, {t('b', [2, 64, 16], 'BF16')}, {out([32, 16])}"
TWICE = f"{BATCH}, {out([2, 16, 16]).replace('out', 'more', 1)}"
CALLS += [
    Check("several products stored twice", PAGES, TWICE,
          f"{PRODUCTS}more[:, :, :] = p\nout[:, :, :] = p  #!", "out["),
    Check("several products stored in a loop", PAGES, BATCH,
          f"{PRODUCTS}for j in pl.range(2):\n    out[:, :, :] = p  #!", "out["),
    Check("several products stored in another shape", PAGES, FLAT,
          f"{PRODUCTS}out[:, :] = pl.reshape(p, [32, 16])  #!", "out["),
    Check("several products, made for each store", PAGES, TWICE,
          f"{PRODUCTS}more[:, :, :] = p\nq = {PRODUCTS[4:]}out[:, :, :] = q"),
    Check("one of several axes stored twice", PAGES, TWICE, """
        p = pl.matmul(a[0:1, :, :], b[0:1, :, :], out_dtype=pl.FP32)
        more[0:1, :, :] = p
        out[0:1, :, :] = p
    """),
    Check("a product stored twice", PAGES,
          f"{t('a', [64, 64], 'BF16')}, {out([64, 64])}, {out([64, 64]).replace('out', 'more', 1)}", """
        p = pl.matmul(a[:, :], a[:, :], out_dtype=pl.FP32)
        more[:, :] = p
        out[:, :] = p
    """),
]  # fmt: skip

UNITS = "src/ir/transforms/expand_mixed_kernel_pass.cpp"
AB = f"{t('a', [64, 64], 'BF16')}, {t('b', [64, 64], 'BF16')}, {t('x', [64, 64])}, {t('i', [64, 64], 'INT32')}"
TILES = f"a: pl.Tensor[[64, 64], pl.BF16], b: pl.Tensor[[64, 64], pl.BF16], out: {OUT}"
PRODUCT = f"""@pl.jit.inline
def product({TILES}):
    out[:, :] = pl.matmul(a[:, :], b[:, :], out_dtype=pl.FP32)
    return out
"""
ROWS = f"""@pl.jit.inline
def rows({TILES}, n: pl.Scalar[pl.INT32]):
    out[0:16, :] = pl.matmul(a[n : n + 16, :], b[:, :], out_dtype=pl.FP32)
    return out
"""
VECTOR = f"""@pl.jit.inline
def vector(x: {X}, n: pl.Scalar[pl.INT32], out: {OUT}):
    for j in pl.range(n):
        out[:, :] = pl.mul(x[:, :], 2.0)
    return out
"""
READ = "s = pl.add(i[:, :], 1)\nm = pl.read(s, [0, 0])\n"
FROM_MEMORY = "m = pl.read(i, [0, 0])\n"


def units(title: str, lines: str, before: str, at: str = "") -> Check:
    return Check(f"a number of a tile: {title}", UNITS, f"{AB}, {out([64, 64])}", lines, at, before=before)


CALLS += [
    units("decides on a product in an inline function", READ + "if m > 1:  #!\n    out = product(a, b, out)", PRODUCT,
          "m > 1"),
    units("places a product in an inline function", READ + "out = rows(a, b, out, m)  #!", ROWS, "m)"),
    units("how often a product in an inline function is made",
          READ + "for j in pl.range(m):  #!\n    out = product(a, b, out)", PRODUCT, "m)"),
    units("decides on vector work in an inline function", READ + "out = vector(x, m, out)", VECTOR),
    units("read from memory, decides on a product",
          FROM_MEMORY + "if m > 0:\n    out = product(a, b, out)", PRODUCT),
    units("read from memory, places a product", FROM_MEMORY + "out = rows(a, b, out, m)", ROWS),
]  # fmt: skip


def launched(title: str, body: str, refused: bool = False, more: str = "") -> Check:
    lines = f"for j in pl.spmd(2{more}):{'  #!' if refused else ''}\n    {body}\nwith pl.at({CORE}):\n    {COPY}"
    return Check(f"blocks that do nothing: {title}", LAUNCH, XN, lines, "pl.spmd" if refused else "", entry=True)


CALLS += [
    launched("pass", "pass", True),
    launched("pass, with a name", "pass", True, ", name_hint='idle'"),
    launched("a number", "m = j * 16"),
    launched("a window that is written", "out[j * 32 : j * 32 + 32, :] = x[j * 32 : j * 32 + 32, :]"),
    launched("pass in an arm", "if j > 0:\n        pass\n    out[0:32, :] = x[0:32, :]"),
]

FOLDS = "include/pypto/ir/arith/const_fold.h"


def bound(title: str, value: str, at: str = "") -> Check:
    lines = (
        f"m = i[0]\nb = {value}{'  #!' if at else ''}\nif b:\n    {COPY}\nelse:\n    out[:, :] = pl.mul(x[:, :], 3.0)"
    )
    return Check(f"known, and bound to a name: {title}", FOLDS, XN, lines, at)


CALLS += [
    bound("what is true, or a comparison", "True or m > 0", "b ="),
    bound("a comparison, and what is false", "m > 0 and 1 > 2", "b ="),
    bound("two that are true", "True and 2 > 1", "b ="),
    bound("a comparison, and what is true", "m > 0 and True"),
    bound("what is false, or a comparison", "1 > 2 or m > 0"),
]
