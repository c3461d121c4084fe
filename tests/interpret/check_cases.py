"""One small kernel for each check of PyPTO's passes and code generation that a kernel's author can run into.

A row is a region (`body`, in the `pl.at` of an entry with these parameters), or an entry as a whole. The line that ends
in `#!` is what interpret mode reports, on the chips named; `at` is the text that the column points to. A row without
the mark is legal: what stands next to a refusal and must not be refused. `check` is where PyPTO e2d0f78a looks, below
src/ir unless it says otherwise. All rows were tried on its compiler and on ptoas 0.57, for both chips.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

BOTH = ("a2a3", "a5")


@dataclass(frozen=True)
class Check:
    title: str
    check: str
    parameters: str
    body: str
    at: str = ""
    chips: tuple[str, ...] = BOTH
    options: str = ""
    entry: bool = False
    before: str = ""

    def source(self) -> str:
        body = textwrap.dedent(self.body).strip("\n")
        if not self.entry:
            body = f"with pl.at(level=pl.Level.CORE_GROUP{self.options}):\n" + textwrap.indent(body, "    ")
        if "return" not in body:
            body += "\nreturn out"
        return f"{self.before}@pl.jit\ndef k({self.parameters}):\n{textwrap.indent(body, '    ')}\n"


def t(name: str, shape: list[int], dtype: str = "FP32") -> str:
    return f"{name}: pl.Tensor[{shape}, pl.{dtype}]"


def out(shape: list[int], dtype: str = "FP32") -> str:
    return f"out: pl.Out[pl.Tensor[{shape}, pl.{dtype}]]"


SPLIT = "transforms/utils/split_axis_utils.cpp"
UP_DOWN, LEFT_RIGHT, WHOLE = (
    f", optimizations=[pl.split(pl.SplitMode.{m})]" for m in ("UP_DOWN", "LEFT_RIGHT", "NONE")
)
AB = f"{t('a', [64, 64], 'BF16')}, {t('b', [64, 64], 'BF16')}, {t('x', [64, 64])}"
ROWS = f"{t('i', [1, 16], 'INT32')}, {t('s', [16, 64], 'BF16')}"
CELLS = t("i", [64, 64], "INT16")
PRODUCT = "c = pl.matmul(a[:, :], b[:, :], out_dtype=pl.FP32)\n"


def split(
    title: str, mode: str, shape: list[int], lines: str, at: str = "", check: str = SPLIT, **more: object
) -> Check:
    """A mixed region that is halved."""
    return Check(
        f"split: {title}", check, f"{AB}, {out(shape)}", PRODUCT + textwrap.dedent(lines), at, options=mode, **more
    )


CHECKS = [
    split("col_sum of rows", UP_DOWN, [1, 64], "out[:, :] = pl.col_sum(c)  #!", "pl.col_sum"),
    split("row_max of columns", LEFT_RIGHT, [64, 1], "out[:, :] = pl.row_max(c)  #!", "pl.row_max"),
    split("row_max of rows", UP_DOWN, [64, 1], "out[:, :] = pl.row_max(c)"),
    split("col_sum of columns", LEFT_RIGHT, [1, 64], "out[:, :] = pl.col_sum(c)"),
    split("col_sum without a split", WHOLE, [1, 64], "out[:, :] = pl.col_sum(c)"),
    split("row_max of what is loaded", LEFT_RIGHT, [64, 64], """
        m = pl.row_max(x[:, :])  #!
        out[:, :] = pl.row_expand_sub(c, m)
    """, "pl.row_max"),
    split("col_max of one row", UP_DOWN, [64, 64], """
        m = pl.col_max(x[0:1, :])  #!
        out[:, :] = pl.col_expand_sub(c, m)
    """, "pl.col_max"),
    split("arange of columns", LEFT_RIGHT, [64, 64], """
        i = pl.cast(pl.arange(0, [1, 64], dtype=pl.INT32), pl.FP32)  #!
        out[:, :] = pl.col_expand_mul(c, i)
    """, "pl.arange"),
    split("arange beside halved rows", UP_DOWN, [64, 64], """
        i = pl.cast(pl.arange(0, [1, 64], dtype=pl.INT32), pl.FP32)
        out[:, :] = pl.col_expand_mul(c, i)
    """),
    split("full", LEFT_RIGHT, [64, 64], "out[:, :] = pl.add(c, pl.full([64, 64], dtype=pl.FP32, value=1.0))"),
    split("transpose", UP_DOWN, [64, 64], """
        u = pl.transpose(x[:, :], 0, 1)  #!
        out[:, :] = pl.add(c, u)
    """, "pl.transpose"),
    split("a column reshaped to a row and back", UP_DOWN, [64, 64], """
        s = pl.row_sum(x[:, :])
        r = pl.recip(pl.reshape(s, [1, 64]))
        out[:, :] = pl.row_expand_mul(c, pl.reshape(r, [64, 1]))
    """),
    split("what a reshape turned is reduced", UP_DOWN, [64, 64], """
        s = pl.row_sum(x[:, :])
        r = pl.row_max(pl.reshape(s, [1, 64]))  #!
        out[:, :] = pl.add(c, 1.0)
        x[0:1, 0:1] = r
    """, "pl.row_max"),
    Check("no split: a region without a product", SPLIT, f"{t('x', [64, 64])}, {out([1, 64])}",
          "out[:, :] = pl.col_sum(x[:, :])", options=UP_DOWN),
    Check("transpose of a batch axis", "transforms/flatten_tile_nd_to_2d/transpose.cpp",
          f"{t('x', [4, 8, 16])}, {out([8, 4, 16])}", """
        s = pl.load(x, [0, 0, 0], [4, 8, 16])
        u = pl.transpose(s, 0, 1)  #!
        out = pl.store(u, [0, 0, 0], out)
    """, "pl.transpose"),
    Check("transpose of the last two axes", "transforms/flatten_tile_nd_to_2d/transpose.cpp",
          f"{t('x', [4, 8, 16])}, {out([4, 16, 8])}", """
        s = pl.load(x, [0, 0, 0], [4, 8, 16])
        u = pl.transpose(s, 1, 2)
        out = pl.store(u, [0, 0, 0], out)
    """),
    Check("assemble in strips", "transforms/flatten_tile_nd_to_2d/analysis.cpp",
          f"{t('x', [4, 1, 16])}, {out([4, 8, 16])}", """
        s = pl.full([4, 8, 16], dtype=pl.FP32, value=0.0)
        s = pl.assemble(s, pl.slice(x, [4, 1, 16], [0, 0, 0]), [0, 3, 0])  #!
        out = pl.assemble(out, s, [0, 0, 0])
    """, "pl.assemble"),
    Check("assemble of one band", "transforms/flatten_tile_nd_to_2d/analysis.cpp",
          f"{t('x', [1, 4, 16])}, {out([4, 8, 16])}", """
        s = pl.full([4, 8, 16], dtype=pl.FP32, value=0.0)
        s = pl.assemble(s, pl.slice(x, [1, 4, 16], [0, 0, 0]), [2, 3, 0])
        out = pl.assemble(out, s, [0, 0, 0])
    """),
    Check("a part of a tile of three axes", "transforms/flatten_tile_nd_to_2d/analysis.cpp",
          f"{t('x', [4, 8, 16])}, {out([2, 8, 16])}", """
        s = pl.add(x[:, :, :], 1.0)
        u = pl.mul(pl.slice(s, [2, 8, 16], [0, 0, 0]), 2.0)  #!
        out = pl.assemble(out, u, [0, 0, 0])
    """, "pl.slice"),
    Check("an element of a tile of three axes", "transforms/flatten_tile_nd_to_2d/analysis.cpp",
          f"{t('x', [4, 8, 16])}, {out([4, 8, 16])}", """
        s = pl.add(x[:, :, :], 1.0)
        v = pl.read(s, [0, 0, 0])  #!
        out = pl.assemble(out, pl.mul(s, v), [0, 0, 0])
    """, "pl.read"),
    Check("an element written to a tile of three axes", "transforms/flatten_tile_nd_to_2d/analysis.cpp",
          f"{t('x', [4, 8, 16])}, {out([4, 8, 16])}", """
        s = pl.add(x[:, :, :], 1.0)
        pl.write(s, [0, 0, 0], 1.0)  #!
        out = pl.assemble(out, s, [0, 0, 0])
    """, "pl.write"),
    Check("set_validshape of a part", "src/backend/common/pto_ops_datamove.cpp",
          f"{t('x', [64, 64])}, {out([64, 64])}", """
        s = pl.add(x[:, :], 1.0)
        v = pl.set_validshape(pl.slice(s, [16, 64], [16, 0]), 8, 64)  #!
        out[0:16, :] = pl.mul(v, 2.0)
    """, "pl.set_validshape"),
    Check("set_validshape of another shape", "src/backend/common/pto_ops_datamove.cpp",
          f"{t('x', [64, 64])}, {out([32, 128])}", """
        s = pl.add(x[:, :], 1.0)
        v = pl.set_validshape(pl.reshape(s, [32, 128]), 8, 128)
        out[:, :] = pl.mul(v, 2.0)
    """),
    Check("set_validshape of what is loaded", "src/backend/common/pto_ops_datamove.cpp",
          f"{t('x', [64, 64])}, {out([64, 64])}", """
        v = pl.set_validshape(pl.slice(x, [16, 64], [16, 0]), 8, 64)
        out[0:16, :] = pl.mul(v, 2.0)
    """),
    Check("matmul_acc of three axes with init_cond", "transforms/op_conversion_registry.cpp",
          f"{t('a', [2, 16, 64], 'BF16')}, {t('b', [2, 64, 16], 'BF16')}, {out([2, 16, 16])}", """
        p = pl.create_tensor([2, 16, 16], dtype=pl.FP32)
        for i in pl.range(2):
            p = pl.matmul_acc(p, a[:, :, i * 32 : i * 32 + 32], b[:, i * 32 : i * 32 + 32, :], init_cond=(i == 0))  #!
        out[:, :, :] = p
    """, "pl.matmul_acc"),
    Check("matmul_acc of two axes with init_cond", "transforms/op_conversion_registry.cpp",
          f"{t('a', [16, 64], 'BF16')}, {t('b', [64, 16], 'BF16')}, {out([16, 16])}", """
        p = pl.create_tensor([16, 16], dtype=pl.FP32)
        for i in pl.range(2):
            p = pl.matmul_acc(p, a[:, i * 32 : i * 32 + 32], b[i * 32 : i * 32 + 32, :], init_cond=(i == 0))
        out[:, :] = p
    """),
    Check("scatter_update beyond INT16", "transforms/op_conversion_registry.cpp",
          f"{t('x', [512, 64], 'BF16')}, {ROWS}, {out([512, 64], 'BF16')}",
          "out[:, :] = pl.scatter_update(x[:, :], -2, i[:, :], s[:, :])  #!", "pl.scatter_update"),
    Check("scatter_update within INT16", "transforms/op_conversion_registry.cpp",
          f"{t('x', [256, 64], 'BF16')}, {ROWS}, {out([256, 64], 'BF16')}",
          "out[:, :] = pl.scatter_update(x[:, :], -2, i[:, :], s[:, :])"),
    Check("scatter_update of four axes", "transforms/op_conversion_registry.cpp",
          f"{t('x', [4, 8, 1, 64])}, {t('i', [1, 16], 'INT32')}, {t('s', [1, 16, 1, 64])}, {out([4, 8, 1, 64])}",
          "out[:, :, :, :] = pl.scatter_update(x[:, :, :, :], -2, i[:, :], s[:, :, :, :])  #!", "pl.scatter_update"),
    Check("scatter beyond INT16", "transforms/op_conversion_registry.cpp",
          f"{t('x', [64, 1024], 'FP16')}, {CELLS}, {t('s', [64, 64], 'FP16')}, {out([64, 1024], 'FP16')}",
          "out[:, :] = pl.scatter(x[:, :], dim=-1, index=i[:, :], src=s[:, :])  #!", "pl.scatter"),
    Check("gather beyond INT16", "transforms/op_conversion_registry.cpp",
          f"{t('x', [64, 1024], 'FP16')}, {CELLS}, {out([64, 64], 'FP16')}",
          "out[:, :] = pl.gather(x[:, :], -1, i[:, :])  #!", "pl.gather"),
    Check("gather of FP16 along the first of three axes", "transforms/op_conversion_registry.cpp",
          f"{t('x', [4, 8, 16], 'FP16')}, {t('i', [4, 8, 16], 'INT32')}, {out([4, 8, 16], 'FP16')}",
          "out[:, :, :] = pl.gather(x[:, :, :], 0, i[:, :, :])  #!", "pl.gather"),
]  # fmt: skip

XN = f"{t('x', [64, 64])}, {t('i', [16], 'INT32')}, n: pl.Scalar[pl.INT32], {out([64, 64])}"
PARSER = "python/pypto/language/parser/ast_parser.py"
COPY = "out[:, :] = pl.mul(x[:, :], 2.0)"


def region(title: str, options: str, at: str, legal: bool = False) -> Check:
    """An entry with one region, whose `pl.at` has these arguments."""
    mark = "" if legal else "  #!"
    return Check(f"pl.at: {title}", PARSER, XN, f"with pl.at({options}):{mark}\n    {COPY}", at, entry=True)


CORE, NONE = "level=pl.Level.CORE_GROUP", "pl.split(pl.SplitMode.NONE"
REGIONS = [
    region("a role", f"{CORE}, role=pl.Role.SubWorker", "pl.Role"),
    region("an early resolve of run time", f"{CORE}, allow_early_resolve=n", "n"),
    region("two splits", f"{CORE}, optimizations=[{NONE}), {NONE})]", "pl.split"),
    region("slots twice", f"{CORE}, optimizations=[{NONE}, slot_num=2), pl.cross_core_slot(slot_num=2)]",
           "pl.cross_core_slot"),
    region("a split without a mode", f"{CORE}, optimizations=[pl.split()]", "pl.split"),
    region("a split by name", f"{CORE}, optimizations=[pl.split(mode=pl.SplitMode.NONE)]", "pl.split"),
    region("a split that there is not", f"{CORE}, optimizations=[pl.split(pl.SplitMode.DOWN)]", "pl.SplitMode.DOWN"),
    region("no slots", f"{CORE}, optimizations=[pl.cross_core_slot(slot_num=0)]", "0"),
    region("slots of run time", f"{CORE}, optimizations=[pl.cross_core_slot(slot_num=n + i[0])]", "n + i"),
    region("slots by position", f"{CORE}, optimizations=[pl.cross_core_slot(2)]", "pl.cross_core_slot"),
    region("no_dep_args without a list", f"{CORE}, no_dep_args=x", "x"),
    region("no_dep_args of a part", f"{CORE}, no_dep_args=[x[0:16, :]]", "x[0:16"),
    region("no_dep_args of a number", f"{CORE}, no_dep_args=[n]", "n"),
    region("no_dep_args twice", f"{CORE}, no_dep_args=[x, x]", "x"),
    region("no_dep_args of what is not used", f"{CORE}, no_dep_args=[i]", "i"),
    region("no_dep_args", f"{CORE}, no_dep_args=[x]", "", legal=True),
    region("dumps without a list", f"{CORE}, dumps=x", "x"),
    region("dumps", f"{CORE}, dumps=[x]", "", legal=True),
]  # fmt: skip


def entry(title: str, lines: str, at: str = "", check: str = PARSER) -> Check:
    return Check(title, check, XN, lines, at, entry=True)


HALF = "    out[j * 32 : j * 32 + 32, :] = pl.mul(x[j * 32 : j * 32 + 32, :], 2.0)\n"
AT = f"with pl.at({CORE}):\n    {COPY}"
IN_CORE = textwrap.indent(AT, "    ") + "\n"
ENTRIES = [
    entry("pl.spmd: blocks twice", "for j in pl.spmd(2, core_num=2):  #!\n" + HALF, "2):"),
    entry("pl.spmd: a start that is no literal", "for j in pl.spmd(2, sync_start=n):  #!\n" + HALF, "n)"),
    entry("pl.manual_scope: an argument", "with pl.manual_scope(1):  #!\n" + IN_CORE, "1"),
    entry("pl.manual_scope: inside another", "with pl.manual_scope():\n    with pl.manual_scope():  #!\n"
          + textwrap.indent(IN_CORE, "    "), "pl.manual_scope"),
    entry("pl.manual_scope: a task id", "with pl.manual_scope() as s:  #!\n" + IN_CORE, "s"),
    entry("an array of floats", f"q = pl.array.create(2, pl.FP32)  #!\n{AT}", "pl.FP32"),
    entry("an array of nothing", f"q = pl.array.create(0, pl.INT32)  #!\n{AT}", "0"),
    entry("another type in an array", f"""
        q = pl.array.create(2, pl.INT32)
        q[0] = pl.cast(i[0], pl.INT64)  #!
        for j in pl.range(q[0]):
            with pl.at({CORE}):
                {COPY}
    """, "pl.cast"),
    entry("two subscripts of an array", f"q = pl.array.create(2, pl.INT32)\nq[0, 0] = 1  #!\n{AT}", "0, 0"),
    entry("pl.dump_tag of a part", f"pl.dump_tag(x[0:1, :])  #!\n{AT}", "x[0:1"),
    entry("pl.dump_tag of a number", f"pl.dump_tag(n)  #!\n{AT}", "n"),
    entry("pl.dump_tag bound to a name", f"z = pl.dump_tag(x)  #!\n{AT}", "pl.dump_tag"),
    entry(
        "pl.dump_tag as an operand",
        f"with pl.at({CORE}):\n    out[:, :] = pl.add(pl.dump_tag(x), 1.0)  #!",
        "pl.dump_tag",
    ),
    entry("pl.dump_tag of nothing", f"pl.dump_tag(z)  #!\n{AT}", "z"),
    entry("pl.dump_tag in a region", f"with pl.at({CORE}):\n    pl.dump_tag(x)\n    {COPY}"),
    entry("pl.dump_tag", f"pl.dump_tag(x)\n{AT}"),
    entry("pl.static_print of nothing", f"pl.static_print()  #!\n{AT}", "pl.static_print"),
    entry("pl.static_assert of what is read", f"pl.static_assert(i[0] > 0)  #!\n{AT}", "i[0] > 0"),
    entry("pl.const without a type", f"m = pl.const(1)  #!\n{AT}", "pl.const"),
    entry("pl.const of what is read", f"m = pl.const(i[0], pl.INT32)  #!\n{AT}", "pl.const"),
    entry("pl.func_attr late", f"{AT}\npl.func_attr({{'a': 1}})  #!", "pl.func_attr"),
    entry("pl.func_attr with a key twice", f"pl.func_attr({{'a': 1, 'a': 2}})  #!\n{AT}", "{"),
]  # fmt: skip


def loop(title: str, lines: str, at: str, check: str) -> Check:
    return Check(title, check, XN, f"s = pl.mul(x[:, :], 1.0)\n{lines}\n    s = pl.add(s, 1.0)\nout[:, :] = s", at)


REGION_LINES = [
    loop("pl.unroll: too many turns", "for j in pl.unroll(1025):  #!", "pl.unroll", "transforms/unroll_loops_pass.cpp"),
    loop("pl.pipeline: a step of run time",
         "m = pl.cast(pl.read(i, [0]), pl.INDEX)\nfor j in pl.pipeline(0, 4, m, stage=2):  #!", "m, stage",
         "transforms/lower_pipeline_loops_pass.cpp"),
    Check("pl.system.syncall: which cores", "src/backend/common/pto_ops_crosscore.cpp", XN,
          f"pl.system.syncall(core_type='vector')  #!\n{COPY}", "'vector'"),
    Check("pl.system.syncall: which mode", "src/backend/common/pto_ops_crosscore.cpp", XN,
          f"pl.system.syncall(mode='loud')  #!\n{COPY}", "'loud'"),
    Check("pl.system.syncall: soft without memory", "python/pypto/language/op/system_ops.py", XN,
          f"pl.system.syncall(mode='soft')  #!\n{COPY}", "pl.system"),
    Check("pl.system.syncall: hard with memory", "python/pypto/language/op/system_ops.py", XN,
          f"pl.system.syncall(mode='hard', gm_workspace=i)  #!\n{COPY}", "i)"),
    Check("an array of task ids in a region", "src/codegen/pto/pto_type_utils.cpp", XN,
          f"q = pl.array.create(2, pl.TASK_ID)  #!\n{COPY}", "pl.array.create"),
]  # fmt: skip

AIV = "verifier/verify_aiv_split.cpp"
STORE = "    out[j * 32 : j * 32 + 32, :] = pl.add(h, 1.0)\n"


def lanes(title: str, lines: str, at: str = "", check: str = AIV) -> Check:
    """A region with a product `c` that opens a pl.split_aiv."""
    text = textwrap.dedent(lines).replace("LANES", "for j in pl.split_aiv(2, mode=pl.SplitMode.")
    return Check(f"split_aiv: {title}", check, f"{AB}, {out([64, 64])}", PRODUCT + text, at)


LANES = [
    lanes("halves of a product", "LANESUP_DOWN):\n    h = pl.aiv_shard(c)\n" + STORE),
    lanes("a product inside", "LANESNONE):\n    d = pl.matmul(a[:, :], b[:, :], out_dtype=pl.FP32)  #!\n"
          "    h = pl.aiv_shard(c)\n" + STORE, "pl.matmul"),
    lanes("a reduction along the halved axis", "LANESUP_DOWN):\n    h = pl.aiv_shard(c)\n"
          "    out[j : j + 1, :] = pl.col_max(h)  #!\n", "pl.col_max"),
    lanes("a shard outside", "h = pl.aiv_shard(c)  #!\nout[:, :] = pl.add(h, 1.0)", "pl.aiv_shard"),
    lanes("a shard of what is loaded", "LANESUP_DOWN):\n    h = pl.aiv_shard(x[:, :])  #!\n" + STORE, "pl.aiv_shard"),
    lanes("vector work outside", "d = pl.add(x[:, :], 1.0)  #!\nLANESUP_DOWN):\n    h = pl.aiv_shard(c)\n" + STORE
          + "out[:, :] = d", "pl.add"),
    lanes("a product that is not handed over", "LANESNONE):\n    h = pl.add(c, 1.0)  #!\n"
          "    out[:, :] = h", "c, 1.0"),
    lanes("one inside another", "LANESNONE):\n    for k in pl.split_aiv(2, mode=pl.SplitMode.NONE):  #!\n"
          "        out[j * 32 : j * 32 + 32, :] = pl.add(x[0:32, :], 1.0)", "pl.split_aiv"),
    lanes("three cores", "for j in pl.split_aiv(3, mode=pl.SplitMode.NONE):  #!\n    h = pl.aiv_shard(c)\n" + STORE,
          "pl.split_aiv", PARSER),
    lanes("no mode", "for j in pl.split_aiv(2):  #!\n    h = pl.aiv_shard(c)\n" + STORE, "pl.split_aiv", PARSER),
    lanes("whole tiles beside halves", "LANESUP_DOWN):\n    h = pl.aiv_shard(c)\n"
          "    w = pl.add(x[0:32, :], 1.0)  #!\n    out[j * 32 : j * 32 + 32, :] = pl.add(h, w)", "pl.add",
          "transforms/lower_auto_vector_split_pass.cpp"),
    lanes("the lane's own part beside halves", "LANESUP_DOWN):\n    h = pl.aiv_shard(c)\n"
          "    w = pl.add(x[j * 32 : j * 32 + 32, :], 1.0)\n    out[j * 32 : j * 32 + 32, :] = pl.add(h, w)"),
    Check("split_aiv: not handed to the cube", AIV, f"{AB}, {out([64, 64])}", """
        for j in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN):
            h = pl.cast(x[j * 32 : j * 32 + 32, :], pl.BF16)
        out[0:32, :] = pl.matmul(h, b[:, :], out_dtype=pl.FP32)  #!
    """, "h, b"),
    split("with a split_aiv", UP_DOWN, [64, 64], "for j in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN):  #!\n"
          "    h = pl.aiv_shard(c)\n" + STORE, "pl.split_aiv", "transforms/utils/scope_outline_utils.cpp"),
]  # fmt: skip

CHECKS += [*REGIONS, *ENTRIES, *REGION_LINES, *LANES]

CODEGEN = "src/codegen/tensor_op_codegen.cpp"
USED = f"with pl.at({CORE}):\n    out[:, :] = pl.cast(s[:, :], pl.FP32)"


def memory(title: str, call: str, lines: str = USED, at: str = "pl.", legal: bool = False) -> Check:
    """Memory that orchestration makes or views."""
    return entry(title, f"s = {call}{'' if legal else '  #!'}\n{lines}", "" if legal else at, CODEGEN)


def atomic(title: str, dtype: str, at: str = "", **more: object) -> Check:
    parameters = f"{t('x', [64, 64])}, {out([64, 64], dtype).replace('pl.Out', 'pl.InOut')}"
    value = f"pl.cast(x[:, :], pl.{dtype})"
    line = f"out = pl.assemble(out, {value}, [0, 0], atomic=pl.AtomicType.Add)" + ("  #!" if at else "")
    return Check(title, "src/ir/verifier/verify_atomic_add_dtype.cpp", parameters, line, at, **more)


TILES = f"{t('a', [64, 64], 'BF16')}, {t('b', [64, 64], 'BF16')}, {out([64, 64])}"
IN_L1 = "\n".join(f"{n} = pl.load({m}, [0, 0], [64, 64], target_memory=pl.Mem.Mat)" for n, m in ("la", "rb")) + "\n"
UNIFIED = "python/pypto/language/op/unified_ops.py"
CHECKS += [
    memory("init_value: BF16 that is not 0", "pl.create_tensor([64, 64], dtype=pl.BF16, init_value=1.0)"),
    memory("init_value: BF16", "pl.create_tensor([64, 64], dtype=pl.BF16, init_value=0)", legal=True),
    memory("init_value: a fraction of INT32", "pl.create_tensor([64, 64], dtype=pl.INT32, init_value=1.5)"),
    memory("init_value: more than 2**53", "pl.create_tensor([64, 64], dtype=pl.INT64, init_value=2**60)"),
    memory("another shape and layout at once", "pl.tensor.view(x, [128, 32], layout=pl.DN)"),
    memory("another type in orchestration", "pl.reinterpret_view(x, pl.INT32)"),
    entry("predicate: of a float", "with pl.spmd(2, predicate=(x[0, 0] > 0)) as tid:  #!\n"
          "    j = pl.tile.get_block_idx()\n" + HALF, "x[0, 0]", "src/codegen/orchestration/orchestration_codegen.cpp"),
    atomic("atomic: BF16", "BF16", "pl.assemble", chips=("a5",)),
    atomic("atomic: INT16", "INT16"),
    Check("atomic: into a tile", UNIFIED, XN, """
        s = pl.mul(x[:, :], 1.0)
        s = pl.assemble(s, pl.mul(x[0:16, :], 2.0), [0, 0], atomic=pl.AtomicType.Add)  #!
        out[:, :] = s
    """, "pl.assemble"),
    Check("clamp of a part of a tile", UNIFIED, XN, """
        s = pl.load(x, [0, 0], [64, 64])
        out = pl.store(pl.mul(pl.slice(s, [32, 64], [0, 0], clamp=True), 2.0), [0, 0], out)  #!
    """, "pl.slice"),
    Check("a product of tiles in BF16", UNIFIED, TILES, IN_L1
          + "out = pl.store(pl.matmul(l, r, out_dtype=pl.BF16), [0, 0], out)  #!", "pl.BF16"),
    Check("a transposed operand of tiles", UNIFIED, TILES, IN_L1
          + "out = pl.store(pl.matmul(l, r, b_trans=True), [0, 0], out)  #!", "True"),
    Check("a product of tiles in FP32", UNIFIED, TILES, IN_L1 + "out = pl.store(pl.matmul(l, r), [0, 0], out)"),
    Check("axes in front that differ", "transforms/flatten_tile_nd_to_2d/batch_matmul.cpp",
          f"{t('a', [2, 16, 64], 'BF16')}, {t('b', [3, 64, 16], 'BF16')}, {out([2, 16, 16])}",
          "out[:, :, :] = pl.matmul(a[:, :, :], b[:, :, :], out_dtype=pl.FP32)  #!", "pl.matmul"),
    Check("a window of a tile at run time", PARSER, XN, """
        s = pl.load(x, [0, 0], [64, 64])
        for j in pl.range(2):
            out = pl.store(pl.mul(s[j * 32 : j * 32 + 32, :], 2.0), [j * 32, 0], out)  #!
    """, "j * 32"),
    Check("a tensor annotated as a tile", "python/pypto/language/parser/type_resolver.py", XN,
          "s: pl.Tile[[64, 64], pl.FP32] = pl.mul(x[:, :], 2.0)  #!\nout[:, :] = s", "pl.Tile"),
    Check("a tensor annotated as a scalar", "python/pypto/language/parser/type_resolver.py", XN,
          "s: pl.Scalar[pl.INT32] = pl.mul(x[:, :], 2.0)  #!\nout[:, :] = s", "pl.Scalar"),
]  # fmt: skip
CHECKS += [
    entry("pl.cluster: an argument", "with pl.cluster(2):  #!\n"
          + textwrap.indent("for j in pl.spmd(2):\n" + HALF, "    "), "2"),
    entry("pl.cluster: a task id inside", "with pl.cluster():\n    with pl.spmd(2) as tid:  #!\n"
          "        j = pl.tile.get_block_idx()\n" + textwrap.indent(HALF, "    "), "tid"),
    entry("pl.cluster", "with pl.cluster():\n" + textwrap.indent("for j in pl.spmd(2):\n" + HALF, "    ")),
    Check("drop_dims of every axis", "src/ir/op/tensor_ops/memory.cpp", XN,
          f"v = pl.slice(x, [1, 1], [0, 0], drop_dims=[0, 1])  #!\n{COPY}", "pl.slice"),
    Check("div: fewer valid rows of the divisor", "transforms/op_conversion_registry.cpp", XN, """
        c = pl.row_max(pl.set_validshape(x[:, :], 32, 64))
        out[:, :] = pl.div(x[:, :], c)  #!
    """, "pl.div"),
    Check("pl.MemRef: a subscript of one slot", "python/pypto/language/parser/type_resolver.py", XN, """
        s: pl.Tile[[64, 64], pl.FP32, pl.MemRef("q")[0], pl.Mem.Vec] = pl.load(x, [0, 0], [64, 64])  #!
        out = pl.store(s, [0, 0], out)
    """, "pl.Tile"),
    lanes("a transpose of a half", "LANESUP_DOWN):\n    h = pl.aiv_shard(c)\n"
          "    out[:, j * 32 : j * 32 + 32] = pl.transpose(h, 0, 1)  #!", "pl.transpose",
          "transforms/lower_auto_vector_split_pass.cpp"),
]  # fmt: skip

BATCH = f"{t('a', [2, 16, 64], 'BF16')}, {t('b', [2, 64, 16], 'BF16')}, {out([2, 16, 16])}"
PAGES = "transforms/flatten_tile_nd_to_2d/batch_matmul.cpp"
PRODUCTS = "p = pl.matmul(a[:, :, :], b[:, :, :], out_dtype=pl.FP32)\n"
WINDOW = "out[0:16, :] = pl.mul(x[m : m + 16, :], 2.0)"
CHECKS += [
    entry("atomic: in orchestration", """
        s = pl.create_tensor([64, 64], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP):
            s[:, :] = pl.mul(x[:, :], 2.0)
        out = pl.assemble(out, s, [0, 0], atomic=pl.AtomicType.Add)  #!
    """, "pl.AtomicType", "src/codegen/orchestration/orchestration_codegen.cpp"),
    Check("several products accumulated", PAGES, BATCH, f"{PRODUCTS}p = pl.matmul_acc(p, a[:, :, :], b[:, :, :])  #!\n"
          "out[:, :, :] = p", "pl.matmul_acc"),
    Check("several products computed with", PAGES, BATCH, f"{PRODUCTS}out[:, :, :] = pl.exp(p)  #!", "pl.exp"),
    Check("several products stored", PAGES, BATCH, f"{PRODUCTS}out[:, :, :] = p"),
    Check("one of several axes accumulated", PAGES, BATCH, """
        p = pl.matmul(a[0:1, :, :], b[0:1, :, :], out_dtype=pl.FP32)
        out[0:1, :, :] = pl.matmul_acc(p, a[0:1, :, :], b[0:1, :, :])
    """),
    Check("a float cast to INDEX", "src/codegen/pto/pto_scalar_expr_codegen.cpp", XN,
          f"m = pl.cast(pl.read(x, [0, 0]), pl.INDEX)  #!\n{WINDOW}", "pl.cast"),
    Check("a float cast to INDEX by way of INT32", "src/codegen/pto/pto_scalar_expr_codegen.cpp", XN,
          f"m = pl.cast(pl.cast(pl.read(x, [0, 0]), pl.INT32), pl.INDEX)\n{WINDOW}"),
    Check("atomic: a word", UNIFIED, XN,
          "out = pl.assemble(out, pl.mul(x[:, :], 2.0), [0, 0], atomic='add')  #!", "'add'"),
    Check("a row of a tile", PARSER, XN,
          "s = pl.load(x, [0, 0], [64, 64])\nout = pl.store(pl.mul(s[3, :], 2.0), [0, 0], out)"),
    Check("a column of a tile as a row", "ptoas 0.57", XN,
          "s = pl.load(x, [0, 0], [64, 64])\nout = pl.store(pl.mul(s[:, 3], 2.0), [0, 0], out)  #!", "s[:, 3]"),
]  # fmt: skip

# PyPTO takes these and computes something else (tried on a2a3sim): each core counts from where its half begins.
D = "d = pl.add(c, x[:, :])\n"
STRICTER = [
    split("rows and columns regrouped", LEFT_RIGHT, [64, 64],
          "d = pl.reshape(pl.mul(x[:, :], 2.0), [32, 128])  #!\nout[:, :] = pl.add(c, pl.reshape(d, [64, 64]))",
          "pl.reshape"),
    split("a part of the rows", UP_DOWN, [64, 64], D + "out[0:16, :] = pl.mul(d[16:32, :], 2.0)  #!", "d[16:32"),
    split("an element read", UP_DOWN, [64, 64], D + "out[:, :] = pl.mul(c, pl.read(d, [40, 0]))  #!", "pl.read"),
    split("an element written", UP_DOWN, [64, 64], D + "pl.write(d, [40, 0], 1.0)  #!\nout[:, :] = d", "pl.write"),
    split("columns joined", LEFT_RIGHT, [64, 64],
          "d = pl.concat(pl.mul(x[:, 0:32], 2.0), x[:, 0:32])  #!\nout[:, :] = pl.add(c, d)", "pl.concat"),
    split("rows put in", UP_DOWN, [64, 64], D + "d = pl.assemble(d, x[0:16, :], [16, 0])  #!\nout[:, :] = d",
          "pl.assemble"),
]  # fmt: skip
CHECKS += [
    split("all rows of some columns", UP_DOWN, [64, 64], D + "out[:, 0:32] = pl.mul(d[:, 32:64], 2.0)"),
]

ROUND = "c = pl.matmul(a[:, :], b[:, :], out_dtype=pl.FP32)\nfor j in {}:\n    c = pl.add(c, x[:, :]){}\nout[:, :] = c"
CHECKS += [
    Check(f"a product becomes a tile round {loop}", "transforms/simplify_pass.cpp", f"{AB}, {out([64, 64])}",
          ROUND.format(loop, mark), "c =" if mark else "")
    for loop, mark in (("pl.range(1)", ""), ("pl.range(1, 2)", ""), ("pl.range(0, 2, 2)", ""), ("pl.range(2)", "  #!"))
]  # fmt: skip

MEMREF = "transforms/init_memref.cpp"
SLOT = "s: pl.Tile[[64, 64], pl.FP32, pl.MemRef('q', slots=2)[0], pl.Mem.Vec] = pl.load(x, [0, 0], [64, 64])\n"
CHECKS += [
    Check("pl.MemRef: two slots", MEMREF, XN, SLOT + SLOT.replace("s: ", "r: ").replace("[0], pl.Mem", "[1], pl.Mem")
          + "out = pl.store(pl.add(s, r), [0, 0], out)"),
    Check("pl.MemRef: another number of slots", MEMREF, XN, SLOT
          + "r: pl.Tile[[64, 64], pl.FP32, pl.MemRef('q', slots=3)[1], pl.Mem.Vec] = pl.load(x, [0, 0], [64, 64])  #!\n"
          "out = pl.store(pl.add(s, r), [0, 0], out)", "pl.Tile"),
    Check("pl.MemRef: of a part of a tile", MEMREF, XN, "s = pl.load(x, [0, 0], [64, 64])\n"
          "r: pl.Tile[[8, 64], pl.FP32, pl.MemRef('q', slots=2)[0], pl.Mem.Vec] = pl.slice(s, [8, 64], [0, 0])  #!\n"
          "out = pl.store(pl.mul(r, 2.0), [0, 0], out)", "pl.Tile"),
]  # fmt: skip
