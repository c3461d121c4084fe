"""Element types that an operation does not take, on either chip: refused at its line, and nothing is written.

The verdicts are PyPTO's compiler's and those of the assertions in PTO-ISA's instructions, written down one by one.
"""

from __future__ import annotations

import re

import kernelgen
import pytest
import torch
from kernelgen import incore, out, sevens, tensor, values

from helpers.errors import FaultError, KernelError
from helpers.interpret import element_types
from helpers.interpret.ops import OPS

BOTH, A2A3 = ("a2a3", "a5"), ("a2a3",)
# (operation, element type, the chips that refuse it)
VERDICTS = [
    ("pl.div(x, x)", "BF16", BOTH), ("pl.div(x, x)", "INT32", A2A3), ("pl.div(x, x)", "INT8", BOTH),
    ("pl.div(x, 2)", "BF16", BOTH), ("pl.div(x, 2.0)", "FP32", ()), ("pl.div(x, x)", "FP16", ()),
    ("pl.add(x, x)", "BF16", A2A3), ("pl.add(x, 1)", "BF16", A2A3), ("pl.mul(x, 2)", "BF16", A2A3),
    ("pl.mul(pl.load(x, [0, 0], [16, 32]), 2.0)", "BF16", A2A3), ("pl.sub(x, 2.0)", "BF16", A2A3),
    ("pl.add(x, x)", "INT8", A2A3), ("pl.mul(x, x)", "INT8", BOTH), ("pl.add(x, x)", "INT16", ()),
    ("pl.sub(x, 1)", "UINT8", BOTH), ("pl.sub(x, x)", "UINT8", A2A3), ("pl.sub(x, 1)", "INT8", A2A3),
    ("pl.maximum(x, x)", "BF16", A2A3), ("pl.minimum(x, 2)", "INT32", ()), ("pl.fmod(x, x)", "FP16", A2A3),
    ("pl.and_(x, x)", "FP32", BOTH), ("pl.and_(x, x)", "INT8", ()), ("pl.and_(x, 3)", "INT8", A2A3),
    ("pl.shl(x, 1)", "FP16", BOTH), ("pl.shr(x, x)", "INT16", ()), ("pl.not_(x)", "INT32", BOTH),
    ("pl.not_(x)", "INT16", ()), ("pl.exp(x)", "BF16", BOTH), ("pl.exp(x)", "INT32", BOTH), ("pl.exp(x)", "FP16", ()),
    ("pl.log(x)", "BF16", BOTH), ("pl.sin(x)", "FP16", BOTH), ("pl.cos(x)", "FP32", ()), ("pl.sqrt(x)", "BF16", BOTH),
    ("pl.rsqrt(x)", "BF16", BOTH), ("pl.abs(x)", "INT32", A2A3), ("pl.abs(x)", "FP16", ()), ("pl.neg(x)", "BF16", A2A3),
    ("pl.row_min(x)", "BF16", BOTH), ("pl.row_max(x)", "BF16", BOTH), ("pl.row_sum(x)", "BF16", BOTH),
    ("pl.row_sum(x)", "INT16", ()), ("pl.row_max(x)", "INT8", A2A3), ("pl.col_max(x)", "BF16", A2A3),
    ("pl.col_sum(x)", "FP32", ()), ("pl.row_expand_add(x, r)", "BF16", BOTH), ("pl.row_expand_mul(x, r)", "BF16", A2A3),
    ("pl.row_expand_mul(x, r)", "FP32", ()), ("pl.row_expand_div(x, r)", "INT32", A2A3),
    ("pl.col_expand_expdif(x, c)", "BF16", BOTH), ("pl.col_expand_add(x, c)", "INT8", A2A3),
    ("pl.cast(x, pl.FP32)", "INT8", BOTH), ("pl.cast(x, pl.FP16)", "INT8", ()), ("pl.cast(x, pl.INT32)", "INT16", A2A3),
    ("pl.cast(x, pl.FP32)", "BF16", ()), ("pl.cast(x, pl.FP8E4M3FN)", "FP32", A2A3),
    ("pl.cast(x, pl.INT64)", "FP16", BOTH),
]  # fmt: skip


def source(operation: str, dtype: str, hidden: bool) -> str:
    """A kernel with the operation; its operand's type is one that only the run shows, when it is `hidden`."""
    shapes = {"x": (32, 32), "r": (32, 1), "c": (1, 32)}
    parameters = {n: tensor(s, dtype) for n, s in shapes.items()} | {"o": out((1, 1), "INT32")}
    body = f"t = {operation}\npl.write(o, [0, 0], pl.const(1, pl.INT32))"
    if not hidden:
        return incore(parameters, body)
    # An inline function whose parameters do not say what they are.
    helper = f"@pl.jit.inline\ndef h(x: pl.Tensor, r: pl.Tensor, c: pl.Tensor):\n    t = {operation}\n    return t\n"
    return incore(parameters, "t = h(x, r, c)\npl.write(o, [0, 0], pl.const(1, pl.INT32))", before=helper)


@pytest.mark.parametrize("hidden", [False, True], ids=["known", "found in the run"])
@pytest.mark.parametrize(("operation", "dtype", "chips"), VERDICTS, ids=lambda v: str(v))
def test_verdicts(operation: str, dtype: str, chips: tuple[str, ...], hidden: bool):
    k = kernelgen.kernel(source(operation, dtype, hidden))
    for chip in BOTH:
        o = sevens((1, 1), "INT32")
        args = [values(s, dtype, 0, 1, 5) for s in ((32, 32), (32, 1), (1, 32))]
        if chip not in chips:
            kernelgen.run(k, *args, o, on=chip)
            assert o.item() == 1
            continue
        with pytest.raises((KernelError, FaultError), match=dtype) as e:
            kernelgen.run(k, *args, o, on=chip)
        assert re.search(r"^  at .+:\d+:\d+$", str(e.value), re.MULTILINE)
        assert "fix:" in str(e.value)
        assert o.item() == 7


@pytest.mark.parametrize("dtype", ["BF16", "FP16"])
@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "minimum", "fmod"])
def test_a_tensor_beside_a_float_would_be_fp32(name: str, dtype: str):
    """PyPTO's parser says FP32 of it, and no instruction has operands of two types."""
    k = kernelgen.kernel(
        incore({"x": tensor((16, 32), dtype), "o": out((16, 32), dtype)}, f"o[:, :] = pl.{name}(x, 2.0)")
    )
    with pytest.raises(KernelError, match=f"{dtype} tensor and the float `2.0`: the result would be FP32"):
        kernelgen.run(k, values((16, 32), dtype, 0), sevens((16, 32), dtype), on="a5")


def test_a_fix_is_a_type_that_both_sides_have():
    what, fix = element_types.described("div", "div", "BF16", "a2a3")
    assert what == "pl.div of BF16: it takes FP32, FP16"
    assert fix == "pl.cast(x, pl.FP32) first"
    what, fix = element_types.cast_described("INT8", "FP32", "a2a3")
    assert fix == "pl.cast(pl.cast(x, pl.FP16), pl.FP32)"


def test_every_row_is_an_operation():
    names = {path.rsplit(".", 1)[-1] for path in OPS}
    assert element_types.LIMITS.keys() <= names | {"gather_mask"}


def test_fp8_on_a5():
    """In and out of FP8 by casts, and a product of two."""
    k = kernelgen.kernel(incore(
        {"x": tensor((16, 32), "FP32"), "y": "pl.Tensor[[32, 32], pl.FP8E4M3FN]", "o": out((16, 32), "FP32")},
        "t = pl.cast(x, pl.FP8E4M3FN)\no[:, :] = pl.matmul(t, y, out_dtype=pl.FP32)",
    ))  # fmt: skip
    x = torch.randint(-8, 9, (16, 32), generator=torch.Generator().manual_seed(0)).float()
    y = torch.randint(-8, 9, (32, 32), generator=torch.Generator().manual_seed(1)).to(torch.float8_e4m3fn)
    o = sevens((16, 32), "FP32")
    kernelgen.run(k, x, y, o, on="a5")
    kernelgen.same(o, x @ y.float())
