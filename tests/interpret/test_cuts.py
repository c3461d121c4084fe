"""Products larger than L0C: what PyPTO cuts runs and takes what its parts take; what it leaves whole does not fit."""

from __future__ import annotations

import kernelgen
import pytest
import torch
from kernelgen import incore, out, tensor

from helpers.chips import chip
from helpers.errors import FaultError
from helpers.interpret.language.autotile import GRAIN, Limits, part

L0C = {"a2a3": 128 << 10, "a5": 256 << 10}


@pytest.mark.parametrize(
    ("product", "operand", "found"),
    [  # what PyPTO's own tests pin (test_l0_tile_chooser.py, test_matmul.py); M, K, N and m, n, k
        ((256, 64, 256), 2, (128, 256, 64)), ((272, 64, 272), 2, (144, 128, 64)), ((320, 64, 320), 2, (160, 128, 64)),
        ((256, 256, 256), 4, (128, 256, 32)), ((128, 192, 128), 2, (128, 128, 96)), ((16, 512, 256), 2, (16, 256, 64)),
        ((4096, 4096, 4096), 2, (128, 256, 64)),
    ],
)  # fmt: skip
def test_parts(product: tuple, operand: int, found: tuple):
    chosen = part("a2a3", L0C["a2a3"], product, operand, 4, GRAIN, Limits(output=True))
    assert (chosen.m, chosen.n, chosen.k) == found
    assert chosen.bytes == chosen.m * chosen.n * 4


@pytest.mark.parametrize(
    ("product", "found"), [((256, 128, 544), (256, 128, 128)), ((192, 64, 512), (64, 512, 64))]
)  # an operand stays, whole
def test_parts_with_an_operand_that_stays(product: tuple, found: tuple):
    chosen = part("a2a3", L0C["a2a3"], product, 2, 4, GRAIN)
    assert (chosen.m, chosen.n, chosen.k) == found


@pytest.mark.parametrize(("rows", "columns"), [(16, 1152), (32, 768)])
def test_l0c_holds_whole_rows_of_blocks(rows: int, columns: int):
    """INT32 takes 32 rows on A2/A3, whatever M is."""
    assert part("a2a3", L0C["a2a3"], (16, 128, 1152), 1, 4, rows, Limits(output=True)).n == columns


@pytest.mark.parametrize("product", [(256, 50, 256), (8, 64, 256), (256, 64, 8)])
def test_no_part(product: tuple):
    assert part("a2a3", L0C["a2a3"], product, 2, 4, GRAIN) is None


def parameters(n: int = 256, dtype: str = "BF16") -> dict[str, str]:
    return {
        "a": tensor((n, 64), dtype), "b": tensor((64, n), dtype), "e": tensor((n, 64), dtype),
        "bias": tensor((1, n), "FP32"), "c": out((n, n), "FP32"), "d": out((n, 64), "FP32"),
    }  # fmt: skip


def run(body: str, n: int = 256, on: str = "a2a3", dtype: str = "BF16"):
    g = torch.Generator().manual_seed(0)
    shapes = {"a": (n, 64), "b": (64, n), "e": (n, 64)}
    values = {k: torch.randn(s, generator=g).to(kernelgen.TORCH[dtype]) for k, s in shapes.items()}
    values |= {"bias": torch.randn(1, n, generator=g), "c": torch.zeros(n, n), "d": torch.zeros(n, 64)}
    source = incore(parameters(n, dtype), body).replace("return d", "return c, d")
    trace = kernelgen.run(source, on=on, **values)
    return values, trace.dispatches[0].parts[0].chunk


PRODUCT = "t = pl.matmul(a, b, out_dtype=pl.FP32)\n"


@pytest.mark.parametrize(
    "body",
    [
        PRODUCT + "c = pl.assemble(c, t, [0, 0])", PRODUCT + "c[:, :] = t",
        "c[:, :] = pl.matmul(a, b, out_dtype=pl.FP32)",
        "x = pl.load(a, [0, 0], [256, 64], target_memory=pl.Mem.Mat)\n"
        "y = pl.load(b, [0, 0], [64, 256], target_memory=pl.Mem.Mat)\nc = pl.store(pl.matmul(x, y), [0, 0], c)",
    ],
)  # fmt: skip
def test_a_product_that_is_stored_is_cut(body: str):
    v, chunk = run(body)
    torch.testing.assert_close(v["c"], v["a"].float() @ v["b"].float(), rtol=1e-5, atol=1e-4)
    assert chunk.peaks["L0C"] == 128 * 256 * 4
    assert chunk.peaks["L1"] == 2 * 256 * 64 * 2  # both operands, whole
    assert chunk.work.cube_flops == 2 * 256 * 64 * 256
    assert chunk.work.gm_read_bytes == 2 * 256 * 64 * 2
    assert chunk.work.gm_write_bytes == 256 * 256 * 4


def test_products_that_are_stored_one_after_the_other_share_l0c():
    body = PRODUCT + "u = pl.matmul(a, b, out_dtype=pl.FP32)\nc = pl.assemble(c, t, [0, 0])\n"
    _, chunk = run(body + "u2 = pl.cast(u, pl.BF16, mode='rint')\nd[:, :] = pl.matmul(u2, e, out_dtype=pl.FP32)")
    assert chunk.peaks["L0C"] == 128 * 256 * 4


@pytest.mark.parametrize("n", [128, 256])
@pytest.mark.parametrize(
    "cast",
    [
        "u = pl.cast(t, pl.BF16, mode='rint')\nd[:, :] = pl.matmul(u, e, out_dtype=pl.FP32)",
        "d[:, :] = pl.matmul(pl.cast(t, pl.BF16, mode='rint'), e, out_dtype=pl.FP32)",
    ],
)
def test_a_product_that_is_multiplied_on_stays_with_the_cube(n: int, cast: str):
    v, chunk = run(PRODUCT + cast, n)
    want = (v["a"].float() @ v["b"].float()).bfloat16().float() @ v["e"].float()
    torch.testing.assert_close(v["d"], want, rtol=1e-4, atol=1e-3)
    assert chunk.work.vector_ops == 0
    assert chunk.peaks.get("UB", 0) == 0
    assert chunk.peaks["L0C"] <= L0C["a2a3"]
    assert {s.kind for s in chunk.program.steps() if s.engine == "move"} == {"L0C-L1"}


@pytest.mark.parametrize(
    "rest",
    [
        "u = pl.cast(t, pl.BF16)\nd[:, :] = pl.matmul(u, e, out_dtype=pl.FP32)",  # ties go away from zero
        "u = pl.cast(t, pl.BF16, mode='rint')\nd[:, :] = pl.matmul(u, e, out_dtype=pl.FP32)\n"
        "w = pl.row_max(pl.cast(u, pl.FP32))\nc[:, 0:1] = w",  # it is read otherwise, too
    ],
)
def test_other_casts_go_by_way_of_a_vector_core(rest: str):
    _, chunk = run(PRODUCT + rest, n=64)
    assert chunk.work.vector_ops > 0
    assert {s.kind for s in chunk.program.steps() if s.engine == "move"} == {"L0C-UB", "UB-L1"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (PRODUCT + "c = pl.assemble(c, t, [0, 0])\nc = pl.assemble(c, t, [0, 0])", "where it is stored once"),
        (PRODUCT + "for i in pl.range(1):\n    c = pl.assemble(c, t, [0, 0])", "stored once, as it is"),
        (PRODUCT + "c[:, :] = pl.mul(t, 2.0)", "stored once, as it is"),
        (PRODUCT + "c[0:64, :] = t[0:64, :]", "stored once, as it is"),
        (PRODUCT + "u = pl.matmul_acc(t, a, b)\nc[:, :] = u", "stored once, as it is"),
        (PRODUCT + "u = pl.cast(t, pl.BF16)\nd[:, :] = pl.matmul(u, e, out_dtype=pl.FP32)", "use smaller tiles"),
        ("x = pl.add(a, a)\nc[:, :] = pl.matmul(x, b, out_dtype=pl.FP32)", "no product of such operands"),
    ],
)
def test_what_is_left_whole_does_not_fit(body: str, said: str):
    with pytest.raises(FaultError, match=f"bytes of L(0C|1) at once(?s:.*){said}"):
        run(body, dtype="FP32" if "pl.add" in body else "BF16")


def test_a_product_in_fp32_is_multiplied_on_in_l1_on_a5_only():
    body = "t = pl.matmul(a, b, out_dtype=pl.FP32)\nd[:, :] = pl.matmul(t, e, out_dtype=pl.FP32)"
    v, chunk = run(body, n=288, on="a5", dtype="FP32")
    torch.testing.assert_close(v["d"], v["a"] @ v["b"] @ v["e"], rtol=1e-3, atol=1e-2)
    assert chunk.peaks["L1"] >= 288 * 288 * 4
    with pytest.raises(FaultError, match="is a product, and operand of another"):
        run(body, n=288, on="a2a3", dtype="FP32")


def test_a_bias_comes_part_by_part():
    body = "\n".join(
        f"{n} = pl.load({n[0] if n != 'w' else 'bias'}, [0, 0], {s}, target_memory=pl.Mem.Mat)"
        for n, s in (("a1", [256, 64]), ("b1", [64, 256]), ("w", [1, 256]))
    )
    v, chunk = run(body + "\nc = pl.store(pl.tile.matmul_bias(a1, b1, w), [0, 0], c)")
    torch.testing.assert_close(v["c"], v["a"].float() @ v["b"].float() + v["bias"], rtol=1e-5, atol=1e-4)
    assert chunk.peaks["L0C"] <= L0C["a2a3"]


def test_a_batch_that_l1_does_not_hold_is_loaded_one_by_one():
    types = {"a": tensor((4, 64, 128), "FP32"), "b": tensor((4, 512, 128), "FP32"), "c": out((4, 64, 512), "FP32")}
    a, b, c = torch.randn(4, 64, 128), torch.randn(4, 512, 128), torch.zeros(4, 64, 512)
    body = "c = pl.assemble(c, pl.matmul(a, b, b_trans=True, out_dtype=pl.FP32), [0, 0, 0])"
    chunk = kernelgen.run(incore(types, body), a, b, c).dispatches[0].parts[0].chunk
    torch.testing.assert_close(c, a @ b.transpose(1, 2), rtol=1e-4, atol=1e-3)
    assert chunk.peaks["L1"] == (64 + 512) * 128 * 4
    assert chunk.peaks["L0C"] == 64 * 512 * 4 == chip("a2a3").buffers["L0C"]
    assert chunk.work.gm_read_bytes == 4 * (64 + 512) * 128 * 4


def split_k(last: str = "c[0:16, :] = acc", first: str = "acc = pl.matmul(p, q, out_dtype=pl.INT32)") -> str:
    return f"""acc = pl.create_tensor([16, 1152], dtype=pl.INT32)
for s in pl.pipeline(0, 4, stage=2):
    k0 = s * 128
    p = a[0:16, k0 : k0 + 128]
    q = b[k0 : k0 + 128, 0:1152]
    if k0 == 0:
        {first}
    else:
        acc = pl.matmul_acc(acc, p, q)
{last}"""


def run_split_k(body: str):
    types = {"a": tensor((16, 512), "INT8"), "b": tensor((512, 1152), "INT8"), "c": out((16, 1152), "INT32")}
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-9, 9, s, dtype=torch.int8, generator=g) for s in ((16, 512), (512, 1152)))
    c = torch.zeros(16, 1152, dtype=torch.int32)
    chunk = kernelgen.run(incore(types, body), a, b, c).dispatches[0].parts[0].chunk
    return a, b, c, chunk


def test_a_loop_over_k_is_gone_through_once_for_each_part():
    """The accumulator has 32 rows in L0C: 768 of its 1152 columns fit."""
    a, b, c, chunk = run_split_k(split_k())
    assert torch.equal(c, (a.int() @ b.int()))
    assert chunk.peaks["L0C"] == 32 * 768 * 4
    assert chunk.peaks["L1"] < 2 * (16 + 1152) * 128  # narrower windows of b
    assert chunk.work.gm_read_bytes == 2 * a.numel() + b.numel()  # a comes once for each part
    assert chunk.work.cube_flops == 2 * 16 * 512 * 1152


@pytest.mark.parametrize(
    "body",
    [
        split_k().replace("pipeline(0, 4, stage=2)", "range(0, 4)"),
        split_k("c[0:16, :] = pl.add(acc, acc)"),
        split_k("r = pl.read(a, [0, 0])\nc[0:16, :] = acc"),
        split_k(first="acc = pl.matmul(p, b[0:128, 0:1152], out_dtype=pl.INT32)"),
    ],
)  # fmt: skip
def test_another_loop_over_k_keeps_its_accumulator_whole(body: str):
    with pytest.raises(FaultError, match="bytes of L0C at once"):
        run_split_k(body)
