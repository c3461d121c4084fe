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

    def source(self) -> str:
        body = textwrap.dedent(self.body).strip("\n")
        if not self.entry:
            body = f"with pl.at(level=pl.Level.CORE_GROUP{self.options}):\n" + textwrap.indent(body, "    ")
        if "return" not in body:
            body += "\nreturn out"
        return f"@pl.jit\ndef k({self.parameters}):\n{textwrap.indent(body, '    ')}\n"


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
          "out[:, :] = pl.gather(x[:, :], -1, i[:, :])  #!", "pl.gather", chips=("a5",)),
    Check("gather of FP16 along the first of three axes", "transforms/op_conversion_registry.cpp",
          f"{t('x', [4, 8, 16], 'FP16')}, {t('i', [4, 8, 16], 'INT32')}, {out([4, 8, 16], 'FP16')}",
          "out[:, :, :] = pl.gather(x[:, :, :], 0, i[:, :, :])  #!", "pl.gather"),
]  # fmt: skip
