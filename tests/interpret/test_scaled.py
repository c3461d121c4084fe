"""Block-scaled products against plain torch: FP8 values times the powers of two that 32 of them share."""

from __future__ import annotations

import re

import kernelgen
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few, same, seeds

from helpers.errors import FaultError, KernelError
from helpers.interpret.values.scales import packed, unpacked

SOURCE = """
@pl.jit
def k(
    a: pl.Tensor[[{m}, {k}], pl.FP8E4M3FN],
    a_scale: pl.Tensor[[{m}, {k} // 32], pl.FP8E8M0, pl.MX_A_ZZ],
    b: pl.Tensor[[{k}, {n}], pl.FP8E4M3FN],
    b_scale: pl.Tensor[[{k} // 32, {n}], pl.FP8E8M0, pl.MX_B_NN],
    bias: pl.Tensor[[1, {n}], pl.FP32],
    out: pl.Out[pl.Tensor[[{m}, {n}], pl.FP32]],
):
    with pl.at(level=pl.Level.CORE_GROUP):
        x = pl.load(a, [0, 0], [{m}, 64], target_memory=pl.Mem.Mat)
        y = pl.load(b, [0, 0], [64, {n}], target_memory=pl.Mem.Mat)
        s = pl.load(a_scale, [0, 0], [{m}, 2], target_memory=pl.Mem.Mat)
        t = pl.load(b_scale, [0, 0], [2, {n}], target_memory=pl.Mem.Mat)
        {first}
        for i in pl.range(1, {k} // 64):
            x2 = pl.load(a, [0, i * 64], [{m}, 64], target_memory=pl.Mem.Mat)
            y2 = pl.load(b, [i * 64, 0], [64, {n}], target_memory=pl.Mem.Mat)
            s2 = pl.load(a_scale, [0, i * 2], [{m}, 2], target_memory=pl.Mem.Mat)
            t2 = pl.load(b_scale, [i * 2, 0], [2, {n}], target_memory=pl.Mem.Mat)
            c = pl.matmul_mx_acc(c, pl.move(x2, target_memory=pl.Mem.Left), pl.move(s2, target_memory=pl.Mem.LeftScale),
                                 pl.move(y2, target_memory=pl.Mem.Right), pl.move(t2, target_memory=pl.Mem.RightScale))
        pl.store(c, [0, 0], out)
    return out
"""
OPERANDS = """pl.move(x, target_memory=pl.Mem.Left), pl.move(s, target_memory=pl.Mem.LeftScale),
            pl.move(y, target_memory=pl.Mem.Right), pl.move(t, target_memory=pl.Mem.RightScale)"""
PLAIN, BIASED = (
    f"c = pl.matmul_mx({OPERANDS})",
    f"""z = pl.load(bias, [0, 0], [1, {{n}}], target_memory=pl.Mem.Mat)
        c = pl.matmul_mx_bias({OPERANDS}, pl.move(z, target_memory=pl.Mem.Bias))""",
)


def arguments(m: int, k: int, n: int, seed: int):
    """The kernel's arguments, scales packed, and the operands in FP32, scaled."""
    g = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(-4, 5, s, generator=g).to(torch.float8_e4m3fn) for s in ((m, k), (k, n)))
    sa, sb = (
        torch.randint(124, 131, s, generator=g).to(torch.uint8).view(torch.float8_e8m0fnu)
        for s in ((m, k // 32), (k // 32, n))
    )
    pa, pb = (
        packed(s.view(torch.uint8), layout).view(torch.float8_e8m0fnu)
        for s, layout in ((sa, "MX_A_ZZ"), (sb, "MX_B_NN"))
    )
    left = a.float() * sa.float()[:, torch.arange(k) // 32]
    right = b.float() * sb.float()[torch.arange(k) // 32, :]
    return [a, pa, b, pb, torch.randint(-9, 9, (1, n), generator=g).float(), torch.zeros(m, n)], left, right


@few
@given(st.sampled_from([16, 48]), st.sampled_from([64, 192]), st.sampled_from([32, 96]), st.booleans(), seeds)
def test_products(m: int, k: int, n: int, biased: bool, seed: int):
    """Sums of small integers times powers of two are exact in FP32, in any order."""
    args, left, right = arguments(m, k, n, seed)
    kernelgen.run(SOURCE.format(m=m, k=k, n=n, first=(BIASED if biased else PLAIN).format(n=n)), *args, on="a5")
    same(args[5], left @ right + (args[4] if biased else 0))


@few
@given(st.sampled_from([16, 64]), st.sampled_from([2, 6]), seeds)
def test_packing(rows: int, blocks: int, seed: int):
    """Sixteen rows by two blocks lie side by side, the two blocks of a row next to each other."""
    x = torch.randint(0, 255, (rows, blocks), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    flat = packed(x, "MX_A_ZZ").flatten()
    where = [(r, c, ((r // 16) * (blocks // 2) + c // 2) * 32 + (r % 16) * 2 + c % 2)
             for r in range(rows) for c in range(blocks)]  # fmt: skip
    assert all(flat[at] == x[r, c] for r, c, at in where)
    same(unpacked(packed(x, "MX_A_ZZ"), "MX_A_ZZ"), x)
    same(packed(x.T, "MX_B_NN").flatten(), flat)
    same(unpacked(packed(x.T, "MX_B_NN"), "MX_B_NN"), x.T.contiguous())


@pytest.mark.parametrize("shape", [(8, 2), (16, 3)])
def test_what_cannot_be_packed(shape: tuple[int, int]):
    with pytest.raises(ValueError, match="a multiple of 16 by a multiple of 2"):
        packed(torch.zeros(shape), "MX_A_ZZ")


WRONG = {
    "a2a3": (lambda s: s, "an instruction of A5", "a2a3"),
    "scales not in their layout": (lambda s: s.replace(", pl.MX_A_ZZ]", "]"), r"in pl\.MX_A_ZZ", "a5"),
    "the other's scales": (lambda s: s.replace("pl.move(s, ", "pl.move(t, "), r"in pl\.MX_A_ZZ", "a5"),
    "K of 32": (lambda s: s.replace("[16, 64], target", "[16, 32], target").replace("[64, 32], t", "[32, 32], t"),
                "with K = 32", "a5"),
    "scales in UB": (lambda s: s.replace("[16, 2], target_memory=pl.Mem.Mat)", "[16, 2])"), "loaded into UB", "a5"),
    "half a pair": (lambda s: s.replace("a_scale, [0, 0]", "a_scale, [0, 1]"), "multiples of 2", "a5"),
    "a slice": (lambda s: s.replace("pl.load(a_scale, [0, 0], [16, 2], target_memory=pl.Mem.Mat)",
                                    "pl.slice(a_scale, [16, 2], [0, 0])"), "whose scales lie in|of a tile and", "a5"),
    "FP8 of the other kind": (lambda s: s.replace("FP8E4M3FN", "FP8E5M2"), "operands are FP8E4M3FN", "a5"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name: str):
    change, message, chip = WRONG[name]
    args, _, _ = arguments(16, 128, 32, 0)
    if "E5M2" in change("FP8E4M3FN"):
        args[0], args[2] = (x.float().to(torch.float8_e5m2) for x in (args[0], args[2]))
    with pytest.raises((FaultError, KernelError), match=message) as e:
        kernelgen.run(change(SOURCE.format(m=16, k=128, n=32, first=PLAIN)), *args, on=chip)
    assert re.search(r"^  at .+:\d+:\d+$", str(e.value), re.MULTILINE)
