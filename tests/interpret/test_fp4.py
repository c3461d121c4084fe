"""FP4: what a caller passes, the numbers that it has, and what kernels of it may do on which chip."""

from __future__ import annotations

import re

import kernelgen
import pytest
import torch

from golden.compare import compare_outputs
from golden.spec import TensorSpec
from helpers.errors import FaultError, InputError, KernelError
from helpers.interpret.values import fp4
from helpers.interpret.values.scales import packed
from helpers.sanitize import check

SIZES = {0: 0.0, 1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0, 5: 3.0, 6: 4.0, 7: 6.0}


def drawn(rows: int, columns: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A packed tensor of every number, and its numbers, taken from its bytes one by one."""
    g = torch.Generator().manual_seed(seed)
    data = torch.randint(0, 256, (rows, columns // 2), generator=g).to(torch.uint8)
    numbers = [
        [(-1.0 if half & 8 else 1.0) * SIZES[half & 7] for byte in row for half in (byte & 15, byte >> 4)]
        for row in data.tolist()
    ]
    return data.view(torch.float4_e2m1fn_x2), torch.tensor(numbers)


SOURCE = """
@pl.jit
def k(a: pl.Tensor[[16, 64], pl.FP4], wide: pl.Out[pl.Tensor[[16, 64], pl.BF16]],
      back: pl.Out[pl.Tensor[[16, 64], pl.FP4]], eight: pl.Out[pl.Tensor[[16, 64], pl.FP8E4M3FN]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        x = pl.load(a, [0, 0], [16, 64])
        w = pl.cast(x, pl.BF16)
        wide = pl.store(w, [0, 0], wide)
        back = pl.store(pl.cast(w, pl.FP4), [0, 0], back)
        eight = pl.store(pl.cast(x, pl.FP8E4M3FN), [0, 0], eight)
    return wide, back, eight
"""


def outputs() -> list[torch.Tensor]:
    return [torch.zeros(16, 64, dtype=torch.bfloat16), fp4.zeros((16, 64)), torch.zeros(16, 64).to(torch.float8_e4m3fn)]


def test_two_to_a_byte_and_the_even_one_in_the_low_half():
    a, numbers = drawn(16, 64)
    wide, back, eight = outputs()
    kernelgen.run(SOURCE, a, wide, back, eight, on="a5")
    assert torch.equal(wide.float(), numbers)
    assert torch.equal(eight.float(), numbers)
    assert torch.equal(back.view(torch.uint8), a.view(torch.uint8))


def test_rounding_to_the_nearest_of_two_the_even_code():
    x = torch.tensor([0.25, 0.26, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 5.1, 7.0, float("inf"), -0.25, -0.75, -2.6, -9.0])
    right = [0.0, 0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 6.0, 6.0, 6.0, -0.0, -1.0, -3.0, -6.0]
    found = fp4.nearest(x).float()
    assert found.tolist() == right
    assert torch.signbit(found).tolist() == torch.signbit(torch.tensor(right)).tolist()


@pytest.mark.parametrize("rows", [16, 48])
def test_the_left_operand_of_a_block_scaled_product(rows: int):
    """Cast to FP8 first, as PyPTO's manual says; sums of such numbers are exact in FP32."""
    source = f"""
@pl.jit
def k(a: pl.Tensor[[{rows}, 64], pl.FP4], s: pl.Tensor[[{rows}, 2], pl.FP8E8M0, pl.MX_A_ZZ],
      b: pl.Tensor[[64, 32], pl.FP8E4M3FN], t: pl.Tensor[[2, 32], pl.FP8E8M0, pl.MX_B_NN],
      out: pl.Out[pl.Tensor[[{rows}, 32], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        x = pl.move(pl.cast(pl.load(a, [0, 0], [{rows}, 64]), pl.FP8E4M3FN), target_memory=pl.Mem.Mat)
        left = pl.move(x, target_memory=pl.Mem.Left)
        y = pl.move(pl.load(b, [0, 0], [64, 32], target_memory=pl.Mem.Mat), target_memory=pl.Mem.Right)
        u = pl.move(pl.load(s, [0, 0], [{rows}, 2], target_memory=pl.Mem.Mat), target_memory=pl.Mem.LeftScale)
        v = pl.move(pl.load(t, [0, 0], [2, 32], target_memory=pl.Mem.Mat), target_memory=pl.Mem.RightScale)
        out = pl.store(pl.matmul_mx(left, u, y, v), [0, 0], out)
    return out
"""
    a, numbers = drawn(rows, 64, 1)
    g = torch.Generator().manual_seed(2)
    b = torch.randint(-2, 3, (64, 32), generator=g).to(torch.float8_e4m3fn)
    s, t = (torch.randint(126, 130, shape, generator=g).to(torch.uint8) for shape in ((rows, 2), (2, 32)))
    left = numbers * s.view(torch.float8_e8m0fnu).float().repeat_interleave(32, 1)
    right = b.float() * t.view(torch.float8_e8m0fnu).float().repeat_interleave(32, 0)
    out = torch.zeros(rows, 32)
    scales = [packed(x, way).view(torch.float8_e8m0fnu) for x, way in ((s, "MX_A_ZZ"), (t, "MX_B_NN"))]
    kernelgen.run(source, a, scales[0], b, scales[1], out, on="a5")
    assert torch.equal(out, left @ right)


WRONG = {
    "A2/A3": (lambda s: s, "A2/A3 has no type of 4 bits", "a2a3"),
    "arithmetic": (lambda s: s.replace("pl.cast(x, pl.FP8E4M3FN)", "pl.add(x, x)"), r"pl\.add of FP4", "a5"),
    "no limit of its own": (lambda s: s.replace("pl.cast(x, pl.BF16)", "pl.sel(x, x, x, x)"), r"pl\.sel of FP4", "a5"),
    "no way to FP32": (lambda s: s.replace("pl.BF16)", "pl.FP32)"), "from FP4 to FP32", "a5"),
    "within a byte": (
        lambda s: s.replace("a, [0, 0]", "a, [0, 1]").replace("[16, 64], pl.FP4], w", "[16, 66], pl.FP4], w"),
        "begins or ends within a byte", "a5",
    ),
    "an odd axis": (lambda s: s.replace("[16, 64], pl.FP4], w", "[16, 65], pl.FP4], w"), "two to a byte", "a5"),
    "half a unit": (lambda s: s.replace("[16, 64]", "[16, 32]"), "has 16 bytes in a row", "a5"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name: str):
    change, message, chip = WRONG[name]
    source = change(SOURCE)
    columns = int(re.search(r"a: pl.Tensor\[\[16, (\d+)", source)[1])
    a, _ = drawn(16, columns // 2 * 2)
    given = outputs() if name != "half a unit" else [fp4.elements(t)[:, :32].contiguous() for t in outputs()]
    if name == "half a unit":
        given[1] = fp4.zeros((16, 32))
    with pytest.raises((FaultError, KernelError), match=message) as e:
        kernelgen.run(source, a, *given, on=chip)
    assert re.search(r"^  at .+:\d+:\d+$", str(e.value), re.MULTILINE)
    assert not given[1].view(torch.uint8).any()


def test_an_argument_of_another_extent_or_type():
    a, _ = drawn(16, 32)
    with pytest.raises(InputError, match=r"shape \[16, 32\] does not fit"):
        kernelgen.run(SOURCE, a, *outputs(), on="a5")
    with pytest.raises(InputError, match="dtype FP4 is expected"):
        kernelgen.run(SOURCE, torch.zeros(16, 64).to(torch.float8_e4m3fn), *outputs(), on="a5")


def specs() -> list[TensorSpec]:
    return [
        TensorSpec("a", [16, 32], torch.float4_e2m1fn_x2, init_value=lambda: drawn(16, 64)[0]),
        TensorSpec("wide", [16, 64], torch.bfloat16, is_output=True),
        TensorSpec("back", [16, 32], torch.float4_e2m1fn_x2, is_output=True),
        TensorSpec("eight", [16, 64], torch.float8_e4m3fn, is_output=True),
    ]


def reference(values: dict[str, torch.Tensor]) -> None:
    numbers = fp4.elements(values["a"])
    values["wide"].copy_(numbers.to(torch.bfloat16))
    values["back"].view(torch.uint8).copy_(values["a"].view(torch.uint8))
    values["eight"].copy_(numbers)


def test_check_and_the_golden():
    """Outputs of FP4 are compared number by number, and a kernel of it is checked as any other."""
    kernel = kernelgen.kernel(SOURCE)
    assert [f for f in check(kernel, specs(), reference, on=("a5",)) if f.severity == "error"] == []
    wrong = kernelgen.kernel(SOURCE.replace("pl.cast(w, pl.FP4)", "pl.cast(pl.mul(w, 2.0), pl.FP4)"))
    assert "wrong-result" in {f.kind for f in check(wrong, specs(), reference, on=("a5",))}
    a, b = drawn(2, 4)[0], drawn(2, 4)[0].clone()
    b.view(torch.uint8)[1, 1] ^= 0x10
    errors, failures = compare_outputs({"a": a}, {"a": b})
    assert list(failures) == ["a"]
    assert errors["a"].mismatched == 1
