"""Rows as in check_cases, for what is told of tiles before a run: what is valid, their types, the buffers they lie in.

Read in the compiler's source, at the place that each row names, and not tried on it.
"""

from __future__ import annotations

from check_cases import AB, COPY, CORE, UP_DOWN, XN, Check, out, split, t

CONTRACTED, UNION = "src/ir/op/tile_ops/matmul.cpp", "src/ir/op/type_inference.cpp"
FACTORS = f"{t('a', [64, 64], 'BF16')}, {t('b', [64, 64], 'BF16')}, {out([64, 64])}"


def contracted(title: str, a: str, b: str, flags: str = "", at: str = "") -> Check:
    lines = f"""v = pl.slice(a, [64, 64], [0, 0], valid_shape={a})
w = pl.slice(b, [64, 64], [0, 0], valid_shape={b})
out[:, :] = pl.matmul(v, w, out_dtype=pl.FP32{flags}){"  #!" if at else ""}"""
    return Check(f"valid along K: {title}", CONTRACTED, FACTORS, lines, at)


VALID = [
    contracted("less of the right operand", "[64, 32]", "[16, 64]", at="pl.matmul"),
    contracted("all of the left, part of the right operand", "[64, 64]", "[32, 64]", at="pl.matmul"),
    contracted("less of the right operand, turned", "[64, 32]", "[64, 16]", ", b_trans=True", at="pl.matmul"),
    contracted("less of the right operand, the left one turned", "[32, 64]", "[16, 64]", ", a_trans=True",
               at="pl.matmul"),
    contracted("the same", "[64, 32]", "[32, 64]"),
    contracted("more of the right operand", "[64, 32]", "[48, 64]"),
    contracted("the same, turned", "[64, 32]", "[64, 32]", ", b_trans=True"),
    contracted("other rows and columns", "[16, 64]", "[64, 32]"),
]  # fmt: skip

ONTO = f"{t('x', [64, 64])}, {t('i', [16], 'INT32')}, {out([64, 64])}"
CUT = "s = pl.create_tensor([64, 64], dtype=pl.FP32)\nw = pl.slice(s, [64, 64], [0, 0], valid_shape=[{}, {}])\n"


def placed(title: str, rows: int, cols: int, lines: str, at: str = "") -> Check:
    """A region that writes to a tensor of which some rows and columns are valid."""
    body = f"{CUT.format(rows, cols)}with pl.at({CORE}):\n    {lines}\n    {COPY}"
    return Check(f"stored behind what is valid: {title}", UNION, ONTO, body, at, entry=True)


VALID += [
    placed("a gap", 16, 64, "w[32:48, :] = pl.mul(x[0:16, :], 2.0)  #!", "w["),
    placed("fewer columns", 16, 64, "w[16:32, 0:32] = pl.mul(x[0:16, 0:32], 2.0)  #!", "w["),
    placed("rows and columns", 16, 32, "w[16:32, 32:64] = pl.mul(x[0:16, 0:32], 2.0)  #!", "w["),
    placed("a gap, by pl.assemble", 16, 64, "w = pl.assemble(w, pl.mul(x[0:16, :], 2.0), [32, 0])  #!",
           "pl.assemble"),
    placed("right behind it", 16, 64, "w[16:32, :] = pl.mul(x[0:16, :], 2.0)"),
    placed("within", 32, 64, "w[16:32, 0:32] = pl.mul(x[0:16, 0:32], 2.0)"),
    placed("all of it", 16, 32, "w[0:32, :] = pl.mul(x[0:32, :], 2.0)"),
    placed("twice, one behind the other", 16, 64,
           "w[16:32, :] = pl.mul(x[0:16, :], 2.0)\n    w[32:48, :] = pl.mul(x[0:16, :], 3.0)"),
    placed("all is valid", 64, 64, "w[32:48, :] = pl.mul(x[0:16, :], 2.0)"),
]  # fmt: skip

WINDOW = "m = pl.cast(i[0], pl.INDEX)\ns = pl.slice(x, [64, 64], [0, 0], valid_shape=[{}, 64])\nwith pl.at({}):\n"


def part(title: str, lines: str, at: str = "", rows: str = "m", end: str = "") -> Check:
    """A region that computes with a window of orchestration, of which some rows are valid, and takes a part of that."""
    body = WINDOW.format(rows, CORE) + "\n".join(f"    {line}" for line in lines.splitlines()) + end
    return Check(f"a part of what a cut tensor gives: {title}", "src/codegen/pto/pto_codegen.cpp", XN, body, at,
                 entry=True)  # fmt: skip


VALID += [
    part("rows", "d = pl.mul(s, 2.0)\nout[0:16, :] = pl.exp(d[0:16, :])  #!", "d[0:16"),
    part("by pl.slice", "d = pl.mul(s, 2.0)\nout[0:16, :] = pl.exp(pl.slice(d, [16, 64], [0, 0]))  #!", "pl.slice"),
    part("two operations on", "d = pl.exp(pl.mul(s, 2.0))\nout[0:16, :] = pl.exp(d[0:16, :])  #!", "d[0:16"),
    part("filled first", "d = pl.mul(pl.fillpad(s, pad_value=pl.PadValue.zero), 2.0)\n"
         "out[0:16, :] = pl.exp(d[0:16, :])"),
    part("all of it", "d = pl.mul(s, 2.0)\nout[:, :] = pl.exp(d)"),
    part("of a number that is known", "d = pl.mul(s, 2.0)\nout[0:16, :] = pl.exp(d[0:16, :])", rows="32"),
    part("with what is valid of it", "d = pl.mul(s, 2.0)\n"
         "out[0:16, :] = pl.exp(pl.slice(d, [16, 64], [0, 0], valid_shape=[pl.min(m, 16), 64]))"),
]  # fmt: skip

PARTS = "u = pl.set_validshape(x[:, :], 32, 64)\nv = pl.set_validshape(x[:, :], 16, 64)\n"


def arm(title: str, check: str, before: str, line: str, at: str, legal: bool = False, after: str = "") -> Check:
    """An arm that does not run here."""
    lines = f"{before}if pl.read(i, [0, 0]) > 5:\n    {line}{'' if legal else '  #!'}\n{after}"
    parameters = f"{AB}, {t('i', [1, 16], 'INT32')}, {out([64, 64])}"
    return Check(f"in an arm that does not run: {title}", check, parameters, lines, "" if legal else at)


SPACES = "src/ir/transforms/infer_tile_memory_space_pass.cpp"
PRODUCT = "pl.matmul(a[:, :], b[:, :], out_dtype=pl.FP32)"
VALID += [
    arm("a tile becomes a product", SPACES, "c = pl.add(x[:, :], 1.0)\n", f"c = {PRODUCT}", "c =",
        after="out[:, :] = c"),
    arm("a product becomes a tile, in a loop", SPACES, f"c = {PRODUCT}\n",
        "for j in pl.range(2):\n        c = pl.add(c, x[:, :])", "c =", after="out[:, :] = c"),
    arm("a product becomes another one", SPACES, f"c = {PRODUCT}\n", f"c = {PRODUCT}", "", True, "out[:, :] = c"),
    arm("a product becomes a tile", SPACES, f"c = {PRODUCT}\n", "c = pl.add(c, x[:, :])", "", True, "out[:, :] = c"),
    arm("a tile becomes another one", SPACES, "c = pl.add(x[:, :], 1.0)\n", "c = pl.exp(c)", "", True,
        "out[:, :] = c"),
    arm("pl.div of two valid extents", UNION, PARTS, "out[:, :] = pl.div(u, v)", "pl.div", after="out[:, :] = x[:, :]"),
    arm("pl.div of a part by all", UNION, PARTS, "out[:, :] = pl.div(u, x[:, :])", "pl.div",
        after="out[:, :] = x[:, :]"),
    arm("pl.div of one valid extent", UNION, PARTS, "out[:, :] = pl.div(u, pl.exp(u))", "", True,
        "out[:, :] = x[:, :]"),
    arm("pl.div of all", UNION, PARTS, "out[:, :] = pl.div(x[:, :], pl.exp(x[:, :]))", "", True,
        "out[:, :] = x[:, :]"),
]  # fmt: skip

SAME = "python/pypto/language/parser/ast_parser.py"
TYPED = f"{t('a', [64, 64], 'BF16')}, {t('b', [64, 32], 'BF16')}, {t('x', [64, 64])}, {out([64, 64])}"


def typed(title: str, first: str, second: str, at: str = "") -> Check:
    """A name that each of two loops binds."""
    lines = f"""for j in pl.range(2):
    c = {first}
    d = pl.mul(x[:, :], 2.0)
    out[:, :] = d
for j in pl.range(2):
    c = {second}{"  #!" if at else ""}
    d = pl.mul(x[:, :], 3.0)
    out[:, :] = d"""
    return Check(f"a name keeps its type from loop to loop: {title}", SAME, TYPED, lines, at)


FP32 = ", out_dtype=pl.FP32)"
VALID += [
    typed("columns joined", "pl.mul(x[:, :], 2.0)", "pl.concat(x[:, :], x[:, :])", "c ="),
    typed("columns joined twice", "pl.concat(x[:, :], x[:, :])", "pl.concat(x[:, 0:32], x[:, 0:32])", "c ="),
    typed("a product of another shape", f"pl.matmul(a[:, :], a[:, :]{FP32}", f"pl.matmul(a[:, :], b[:, :]{FP32}",
          "c ="),
    typed("a product without out_dtype", f"pl.matmul(a[:, :], a[:, :]{FP32}", "pl.matmul(a[:, :], a[:, :])", "c ="),
    typed("columns joined to the same", "pl.mul(x[:, :], 2.0)", "pl.concat(x[:, 0:32], x[:, 0:32])"),
    typed("a product of the same shape", f"pl.matmul(a[:, :], b[:, :]{FP32}",
          f"pl.matmul(a[:, 0:32], a[0:32, 0:32]{FP32}"),
    typed("products without out_dtype", "pl.matmul(a[:, :], a[:, :])", "pl.matmul(a[:, :], a[:, :])"),
    typed("a turned product of the same shape", f"pl.matmul(b[:, :], b[:, :], a_trans=True{FP32}",
          f"pl.matmul(a[0:32, :], a[0:32, :], b_trans=True{FP32}"),
]  # fmt: skip

# A transpose counts wherever its tile lies, the product of the cube, too.
VALID += [
    split("transpose of the product", UP_DOWN, [64, 64], "out[:, :] = pl.transpose(c, 0, 1)  #!", "pl.transpose",
          "src/ir/transforms/utils/split_axis_utils.cpp"),
]  # fmt: skip
