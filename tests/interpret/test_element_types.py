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
from helpers.interpret.language import element_types
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
    ("pl.maximum(x, x)", "BF16", BOTH), ("pl.minimum(x, 2)", "INT32", ()), ("pl.fmod(x, x)", "FP16", ()),
    ("pl.and_(x, x)", "FP32", BOTH), ("pl.and_(x, x)", "INT8", ()), ("pl.and_(x, 3)", "INT8", ()),
    ("pl.shl(x, 1)", "FP16", BOTH), ("pl.shr(x, x)", "INT16", ()), ("pl.not_(x)", "INT32", BOTH),
    ("pl.not_(x)", "INT16", ()), ("pl.exp(x)", "BF16", BOTH), ("pl.exp(x)", "INT32", BOTH), ("pl.exp(x)", "FP16", ()),
    ("pl.log(x)", "BF16", BOTH), ("pl.sin(x)", "FP16", BOTH), ("pl.cos(x)", "FP32", ()), ("pl.sqrt(x)", "BF16", BOTH),
    ("pl.rsqrt(x)", "BF16", BOTH), ("pl.abs(x)", "INT32", BOTH), ("pl.abs(x)", "FP16", ()), ("pl.neg(x)", "BF16", A2A3),
    ("pl.row_min(x)", "BF16", BOTH), ("pl.row_max(x)", "BF16", BOTH), ("pl.row_sum(x)", "BF16", BOTH),
    ("pl.row_sum(x)", "INT16", ()), ("pl.row_max(x)", "INT8", BOTH), ("pl.col_max(x)", "BF16", A2A3),
    ("pl.col_sum(x)", "FP32", ()), ("pl.row_expand_add(x, r)", "BF16", BOTH), ("pl.row_expand_mul(x, r)", "BF16", BOTH),
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


@pytest.mark.parametrize("name", ["add", "mul", "sub", "div", "maximum", "minimum"])
@pytest.mark.parametrize("number", ["2.3", "f"], ids=["literal", "FP32"])
def test_a_tensor_of_fp16_beside_a_float_keeps_its_type(name: str, number: str):
    parameters = {"x": tensor((16, 32), "FP16"), "s": tensor((1, 8), "FP32"), "o": out((16, 32), "FP16")}
    k = kernelgen.kernel(incore(parameters, f"f = pl.read(s, [0, 0])\no[:, :] = pl.{name}(x, {number})"))
    x, s, o = values((16, 32), "FP16", 0), torch.full((1, 8), 2.3), sevens((16, 32), "FP16")
    kernelgen.run(k, x, s, o)
    number = torch.tensor(2.3, dtype=torch.float16)
    want = getattr(torch, name)(x, number) if name not in ("div",) else torch.div(x, number)
    kernelgen.same(o, want)


@pytest.mark.parametrize("dtype", ["BF16", "FP16"])
def test_fmod_of_a_tensor_and_a_float_would_be_fp32(dtype: str):
    """PyPTO's parser says FP32 of it, and the instruction has no operands of two types."""
    k = kernelgen.kernel(incore({"x": tensor((16, 32), dtype), "o": out((16, 32), dtype)}, "o[:, :] = pl.fmod(x, 2.0)"))
    with pytest.raises(KernelError, match=f"{dtype} tensor and the float `2.0`: the result would be FP32"):
        kernelgen.run(k, values((16, 32), dtype, 0), sevens((16, 32), dtype), on="a5")


# What the assembler takes on A5 alone, or on both chips, of those that PTO-ISA's headers say otherwise of.
ASSEMBLED = [
    ("pl.mul(x, 2)", "INT8", True), ("pl.div(x, 2)", "INT8", True), ("pl.div(x, 2)", "UINT8", True),
    ("pl.neg(x)", "INT8", True), ("pl.neg(x)", "UINT8", True), ("pl.add(x, 2.0)", "BF16", True),
    ("pl.mul(x, 2.0)", "BF16", True), ("pl.maximum(x, 2.0)", "BF16", True), ("pl.add(x, 2)", "UINT8", False),
    ("pl.maximum(x, 2)", "UINT8", False), ("pl.sub(x, x)", "BF16", False), ("pl.mul(x, x)", "BF16", False),
    ("pl.add(x, x)", "INT64", False), ("pl.abs(x)", "INT8", False), ("pl.abs(x)", "INT16", False),
    ("pl.add(x, x)", "BF16", True), ("pl.minimum(x, x)", "BF16", True),
]  # fmt: skip


@pytest.mark.parametrize(("call", "dtype", "taken"), ASSEMBLED)
def test_what_a5_s_assembler_takes(call: str, dtype: str, taken: bool):
    k = kernelgen.kernel(incore({"x": tensor((16, 32), dtype), "o": out((16, 32), dtype)}, f"o[:, :] = {call}"))
    args = values((16, 32), dtype, 0, 1, 9), sevens((16, 32), dtype)
    if taken:
        kernelgen.run(k, *args, on="a5")
        return
    with pytest.raises((FaultError, KernelError), match=f"{dtype}.*it takes"):
        kernelgen.run(k, *args, on="a5")


@pytest.mark.parametrize("chip", ["a2a3", "a5"])
def test_products_of_uint8(chip: str):
    shapes = {"x": tensor((16, 32), "UINT8"), "z": tensor((32, 32), "UINT8"), "o": out((16, 32), "INT32")}
    x, z, o = values((16, 32), "UINT8", 0, 0, 255), values((32, 32), "UINT8", 1, 0, 255), sevens((16, 32), "INT32")
    kernelgen.run(incore(shapes, "o[:, :] = pl.matmul(x, z, out_dtype=pl.INT32)"), x, z, o, on=chip)
    kernelgen.same(o, (x.long() @ z.long()).int())


def test_a_fix_is_a_type_that_both_sides_have():
    what, fix = element_types.described("div", OPS["div"].types, "BF16", "a2a3")
    assert what == "pl.div of BF16: it takes FP32, FP16"
    assert fix == "pl.cast(x, pl.FP32) first"
    what, fix = element_types.cast_described("INT8", "FP32", "a2a3")
    assert fix == "pl.cast(pl.cast(x, pl.FP16), pl.FP32)"


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
