"""Rows as in check_cases, for numbers that are read in place where PyPTO's generated code wants a name.

Tried on the same compiler and on ptoas 0.57, for both chips.
"""

from __future__ import annotations

from check_cases import COPY, CORE, HALF, Check, entry, out, t

PTOAS = "ptoas 0.57: the name of what is read is taken twice, is none, or is no INDEX"
ORCHESTRATION, FLAT = "src/codegen/codegen_base.cpp", "src/ir/transforms/flatten_call_expr_pass.cpp"
PAIR = f"{t('x', [64, 64])}, {t('i', [16], 'INT32')}, {t('p', [16], 'INT64')}, {out([64, 64])}"
FILLED = f"with pl.at({CORE}):\n    out[0:1, :] = pl.mul(s[0:1, :], 2.0)"
MADE = (
    f"s = pl.create_tensor([{{}}, 64], dtype=pl.FP32){{}}\nwith pl.at({CORE}):\n    s[0:1, :] = x[0:1, :]\n    {COPY}"
)
DOUBLED = f"with pl.at({CORE}):\n    out[0:16, :] = pl.mul(s[0:16, :], 2.0)"
TURNS = f"for j in pl.range({{}}):\n    with pl.at({CORE}):\n    {HALF}"
TASK = f"""@pl.jit.incore
def twice(x: {t("x", [64, 64])[3:]}, n: pl.Scalar[pl.INDEX], out: {out([64, 64])[5:]}):
    for j in pl.range(n):
        out[j * 16 : j * 16 + 16, :] = pl.mul(x[j * 16 : j * 16 + 16, :], 2.0)
    return out
"""


def in_place(
    title: str, lines: str, at: str = "", check: str = ORCHESTRATION, region: bool = False, before: str = ""
) -> Check:
    return Check(f"in place: {title}", check, PAIR, lines, at, entry=not region, before=before)


VALID = "s = pl.slice(x, [64, 64], [0, 0], valid_shape=[{}, 64])"
LOADED = "s = pl.load(x, [0, 0], [64, 64], valid_shape=[{}, 64])  #!\nout = pl.store(pl.mul(s, 2.0), [0, 0], out)"
IN_PLACE = [
    in_place("an extent", MADE.format("p[0]", "  #!"), "p[0]"),
    in_place("an extent that is computed", MADE.format("p[0] * 2", "  #!"), "p[0]"),
    in_place("an extent with a name", "m = pl.cast(p[0], pl.INDEX)\n" + MADE.format("m", "")),
    *[in_place(f"an extent of {n}", f"m = {n[0]}[0]\n" + MADE.format("m", "  #!"), "m, 64", PTOAS)
      for n in ("i, INT32", "p, INT64")],
    in_place("the extents of a window", f"s = pl.slice(x, [p[0], 64], [0, 0])  #!\n{FILLED}", "p[0]"),
    in_place("where a window begins", f"s = pl.slice(x, [16, 64], [p[0], 0])  #!\n{DOUBLED}", "p[0]", FLAT),
    in_place("where a window begins, computed", f"s = pl.slice(x, [16, 64], [p[0] * 2, 0])\n{DOUBLED}", "", FLAT),
    in_place("the beginning of a subscript", f"s = x[p[0] : p[0] + 16, :]  #!\n{DOUBLED}", "p[0]", FLAT),
    in_place("an index", f"m = p[p[0]]  #!\n{TURNS.format('m')}", "p[0]", FLAT),
    in_place("an index that is cast", f"m = p[pl.cast(i[0], pl.INDEX)]\n{TURNS.format('m')}", "", FLAT),
    in_place("the turns of a loop", TURNS.format("p[0]"), "", FLAT),
    in_place("what is valid of a tile, computed", LOADED.format("p[0] * 2"), "p[0]", FLAT, region=True),
    in_place("what is valid of a tile", LOADED.format("p[0]"), "p[0]", PTOAS, region=True),
    in_place("what is valid of a tile, cast", LOADED.format("m").replace("s =", "m = pl.cast(p[0], pl.INDEX)\ns =", 1)
             .replace("  #!", ""), "", FLAT, region=True),
    in_place("what is valid of a window, computed", VALID.format("i[0] * 2") + "\nout[:, :] = pl.mul(s, 2.0)", "", FLAT,
             region=True),
    in_place("where a window begins and ends", "out[0:16, :] = pl.mul(x[p[0] : p[0] + 16, :], 2.0)  #!", "p[0]", PTOAS,
             region=True),
    in_place("where a window begins and ends, computed", "out[0:16, :] = pl.mul(x[i[0] * 2 : i[0] * 2 + 16, :], 2.0)",
             "", FLAT, region=True),
    in_place("an index in a region", "out[:, :] = pl.mul(x[:, :], x[i[0], 0])  #!", "i[0]", PTOAS, region=True),
    in_place("an index in a region, cast", "out[:, :] = pl.mul(x[:, :], x[pl.cast(i[0], pl.INDEX), 0])", "", FLAT,
             region=True),
    in_place("an index of what is written", "pl.write(out, [i[0], 0], pl.read(x, [0, 0]))  #!", "i[0]", PTOAS,
             region=True),
    in_place("where a window is stored", "t = pl.mul(x[0:16, :], 2.0)\nout = pl.assemble(out, t, [p[0], 0])  #!",
             "p[0]", PTOAS, region=True),
    in_place("where a window begins and another ends", "m = p[0]\nout[0:16, :] = pl.mul(x[m : p[1] + 16, :], 2.0)  #!",
             "p[1]", "src/ir/transforms/init_memref.cpp", region=True),
    in_place("what is valid of a window of orchestration", f"m = p[0]\n{VALID.format('m')}  #!\n{DOUBLED}", "m, 64",
             "src/codegen/pto/pto_codegen.cpp"),
    *[in_place(f"such a window {how}", f"m = p[0]\n{VALID.format('m')}\nwith pl.at({CORE}):\n    out[:, :] = {used}",
               "", "src/codegen/pto/pto_codegen.cpp")
      for how, used in (("as it is", "pl.mul(s, 2.0)"), ("filled", "pl.fillpad(s, pad_value=pl.PadValue.zero)"))],
    *[in_place(f"a part of a window valid as far as {loop} turns", f"for r in {loop}:\n    {VALID.format('r + 16')}"
               f"{'  #!' if at else ''}\n    with pl.at({CORE}):\n        out[:, :] = pl.mul(s[:, :], 2.0)", at,
               "src/codegen/pto/pto_codegen.cpp")
      for loop, at in (("pl.range(2)", "r + 16"), ("pl.range(1)", ""), ("pl.range(2, 4, 2)", ""))],
    in_place("a number of such a window", f"m = p[0]\n{VALID.format('m')}\nwith pl.at({CORE}):\n"
             "    out[:, :] = pl.mul(x[:, :], s[0, 0])", "", "src/codegen/pto/pto_codegen.cpp"),
    *[in_place(f"an argument: {a}", f"{named}out = twice(x, {a}, out){'  #!' if refused else ''}", a if refused else "",
               "src/codegen/orchestration/orchestration_codegen.cpp", before=TASK)
      for a, named, refused in (
          ("m * 2", "m = p[0]\n", True), ("pl.min(m, 2)", "m = p[0]\n", True), ("pl.cast(i[0], pl.INDEX)", "", True),
          ("m", "m = p[0]\n", False), ("p[0]", "", False), ("2 * 1", "", False), ("c * 2", "c = 1\n", False),
      )],
]  # fmt: skip

LAUNCH = "src/codegen/orchestration/orchestration_codegen.cpp"


def blocks(title: str, count: str, at: str = "", before: str = "") -> Check:
    lines = f"{before}for j in pl.spmd({count}):{'  #!' if at else ''}\n{HALF}"
    return entry(f"the number of blocks: {title}", lines, at, LAUNCH)


IN_PLACE += [
    blocks("an element", "i[0]", "i[0]"),
    blocks("what is read", "pl.read(i, [0])", "pl.read"),
    blocks("arithmetic of an element", "i[0] * 2", "i[0]"),
    blocks("an element that is cast", "pl.cast(i[0], pl.INDEX)", "i[0]"),
    blocks("the larger of an element and 1", "pl.max(i[0], 1)", "i[0]"),
    blocks("an element of an array", "q[0]", "q[0]", "q = pl.array.create(2, pl.INT32)\nq[0] = 1\n"),
    blocks("the cores, twice", "pl.system.available_aiv_count() // 64 + 1", "pl.system"),
    blocks("a name", "m", before="m = i[0]\n"),
    blocks("arithmetic of a name", "m * 2", before="m = i[0]\n"),
    entry("the number of blocks: by name", f"with pl.spmd(core_num=i[0]):  #!\n    j = pl.tile.get_block_idx()\n{HALF}",
          "i[0]", LAUNCH),
]  # fmt: skip
