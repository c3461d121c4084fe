"""Rows as in check_cases, for the operands of a call: numbers, texts, tiles, element types.

Tried on the same compiler, for both chips; not on ptoas.
"""

from __future__ import annotations

from check_cases import AT, PARSER, TILES, XN, Check, entry, out, t

KINDS = "include/pypto/ir/scalar_expr.h"
HALVES = f"{t('h', [64, 64], 'FP16')}, {XN}"
USE = "out[:, :] = pl.mul(x[:, :], v)"
WHOLE = "pl.write(i, [0], pl.cast(v, pl.INT32))\nout[:, :] = pl.mul(x[:, :], 2.0)"


def number(title: str, call: str, at: str = "", use: str = WHOLE) -> Check:
    """A number that a call makes of two."""
    return Check(f"two numbers: {title}", KINDS, HALVES, f"v = {call}{'  #!' if at else ''}\n{use}", at)


READ, WIDE = "pl.read(i, [0])", "pl.cast(pl.read(i, [0]), pl.INT64)"
OPERANDS = [
    number("pl.min of a literal and a float", "pl.min(2, x[0, 0])", "pl.min"),
    number("pl.max of an integer and a float", f"pl.max({READ}, x[0, 0])", "pl.max"),
    number("pl.max of a parameter and a literal", "pl.max(n, 2.0)", "pl.max"),
    number("pl.min of two literals", "pl.min(2, 3.0)", "pl.min"),
    number("pl.sub of a parameter and a literal", "pl.sub(n, 2.0)", "pl.sub"),
    number("pl.mul of an integer and a float", f"pl.mul({READ}, x[0, 0])", "pl.mul"),
    number("pl.min of a comparison", "pl.min(n > 1, n)", "n > 1"),
    number("pl.min of integers of two widths", f"pl.min({READ}, {WIDE})"),
    number("pl.max of an integer and a literal", f"pl.max({READ}, 2)"),
    number("pl.mul of integers of two widths", f"pl.mul({READ}, {WIDE})"),
    number("pl.max of floats", "pl.max(x[0, 0], 2.0)", use=USE),
]  # fmt: skip

PYTHON = "python/pypto/ir/op"
NARROW = "v = pl.slice(x, [64, 64], [0, 0], valid_shape=[32, 64])\n"


def text(title: str, lines: str, at: str = "", check: str = PARSER, of: str = "") -> Check:
    return Check(f"a text: {title}", check, of or XN, lines, at)


FULL = "out[:, :] = pl.full([64, 64], dtype={}, value=1.0)"
OPERANDS += [
    text("a type", FULL.format("'FP32'") + "  #!", "'FP32'", "python/pypto/language/parser/type_resolver.py"),
    text("a type by position", "out[:, :] = pl.cast(pl.cast(x[:, :], 'BF16'), pl.FP32)  #!", "'BF16'"),
    text("what is cast to", "out[:, :] = pl.cast(pl.cast(x[:, :], target_type='BF16'), pl.FP32)  #!", "'BF16'", PYTHON),
    text("what comes out", "out[:, :] = pl.matmul(a[:, :], b[:, :], out_dtype='FP32')  #!", "'FP32'", PYTHON, TILES),
    text("a padding", NARROW + "out[:, :] = pl.mul(pl.fillpad(v, pad_value='zero'), 2.0)  #!", "'zero'",
         f"{PYTHON}/_pad_value.py"),
    text("a padding by position", NARROW + "out[:, :] = pl.mul(pl.fillpad(v, 'min'), 2.0)  #!", "'min'"),
    text("a memory", "v = pl.load(x, [0, 0], [64, 64], target_memory='Vec')  #!\n"
         "out = pl.store(pl.mul(v, 2.0), [0, 0], out)", "'Vec'", PYTHON),
    text("a rounding by position", "out[:, :] = pl.cast(pl.cast(x[:, :], pl.BF16, 'rint'), pl.FP32)  #!", "'rint'"),
    text("a rounding by name", "out[:, :] = pl.cast(pl.cast(x[:, :], pl.BF16, mode='rint'), pl.FP32)"),
    text("a comparison", "out[:, :] = pl.cmp(x[:, :], 0.0, cmp_type='gt')  #!", "'gt'", PYTHON),
    text("the type of a constant", "out[:, :] = pl.mul(x[:, :], pl.const(2.0, 'FP32'))  #!", "'FP32'"),
    entry("a text: the type of memory", f"s = pl.create_tensor([64, 64], dtype='FP32')  #!\n{AT}", "'FP32'"),
    entry("a text: a layout", f"s = pl.create_tensor([64, 64], dtype=pl.FP32, layout='ND')  #!\n{AT}", "'ND'", PYTHON),
]  # fmt: skip

PRODUCT, GATHER = "src/ir/op/tile_ops/matmul.cpp", "src/ir/op/tile_ops/memory.cpp"
BIASED = f"{t('a', [64, 64], 'BF16')}, {t('b', [64, 64], 'BF16')}, {t('x', [1, 64])}, {out([64, 64])}"
ROWS = f"{t('x', [64, 64])}, {t('i', [1, 16], 'INT32')}, {out([16, 64])}"
COLUMN = ROWS.replace("[1, 16]", "[16, 1]")
GATHERED = "\nout = pl.store(pl.mgather(x, j), [0, 0], out)"


def triangle(dtype: str, chips: tuple[str, ...]) -> Check:
    return Check(f"pl.tri of {dtype}", "src/backend/common/pto_ops_elementwise.cpp", out([64, 64], dtype),
                 f"out = pl.store(pl.tri(0, [64, 64], dtype=pl.{dtype}), [0, 0], out)" + "  #!" * bool(chips),
                 "pl.tri", chips=chips)  # fmt: skip


OPERANDS += [
    Check("matmul_bias of tensors", PRODUCT, BIASED, "out[:, :] = pl.matmul_bias(a[:, :], b[:, :], x[:, :])  #!", "a["),
    Check("batch_matmul of tensors", "src/ir/op/tile_ops/batch_matmul.cpp", BIASED,
          "out[:, :] = pl.batch_matmul(a[:, :], b[:, :])  #!", "a["),
    Check("gemv of tensors", PRODUCT, BIASED, "out[0:1, :] = pl.gemv(a[0:1, :], b[:, :])  #!", "a["),
    Check("mgather by a tensor", GATHER, ROWS, "out = pl.store(pl.mgather(x, i), [0, 0], out)  #!", "i)"),
    Check("mgather by a row", "src/backend/common/pto_ops_memory.cpp", ROWS,
          f"j = pl.load(i, [0, 0], [1, 16]){GATHERED}"),
    Check("mgather by a column", "src/backend/common/pto_ops_memory.cpp", COLUMN,
          f"j = pl.load(i, [0, 0], [16, 1]){GATHERED}  #!", "pl.mgather", chips=("a2a3",)),
    *[triangle(d, ("a2a3",)) for d in ("BF16", "INT8", "UINT8")],
    *[triangle(d, ()) for d in ("FP32", "FP16", "INT32", "INT16")],
]  # fmt: skip

TYPES = "python/pypto/language/parser/type_resolver.py"
LONGEST = "for j in pl.range(2):\n    v = pl.max(v, {})\n"


def annotated(title: str, dtype: str, value: str, after: str = "", legal: bool = True) -> Check:
    """A number with a type, before a copy."""
    lines = f"v: pl.Scalar[pl.{dtype}] = {value}{'' if legal else '  #!'}\n{after}{WHOLE}"
    return Check(f"the type of a number: {title}", TYPES, XN, lines, "" if legal else "pl.Scalar")


OPERANDS += [
    annotated("a literal that a loop carries as INT64", "INT64", "0", LONGEST.format(WIDE)),
    annotated("a literal that a loop carries as INT32", "INT32", "0", LONGEST.format("i[j]")),
    annotated("an INT32 that is said to be an INDEX", "INDEX", "i[0]"),
    annotated("an integer that is said to be a float", "FP32", "0", legal=False),
    annotated("an INT32 that is said to be an INT64", "INT64", "i[0]", legal=False),
    annotated("a float that is said to be an integer", "INT32", "x[0, 0]", legal=False),
]
