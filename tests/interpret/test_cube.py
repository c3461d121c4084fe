"""Matrix products: transposed operands, element types, accumulation, batches."""

from __future__ import annotations

import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import TORCH, few, incore, kernel, out, padded, run, same, seeds, sevens, tensor, values

from helpers.errors import FaultError

sizes = st.integers(1, 40)
OPERANDS = {"FP32": "FP32", "BF16": "FP32", "FP16": "FP32", "INT8": "INT32"}


def legal(m: int, k: int, n: int, dtype: str, a_trans: bool = False, b_trans: bool = False) -> tuple[int, int, int]:
    """At least these sizes, in blocks of 16 rows and 32 bytes as PyPTO's assembler takes operands; or one row."""
    line = padded(1, dtype)
    m_, k_, n_ = max(16, line if a_trans else 0), max(line, 0 if b_trans and not a_trans else 16), 16 if b_trans else 0
    up = lambda x, unit: -(-x // unit) * unit  # noqa: E731
    return 1 if m == 1 and not a_trans else up(m, m_), up(k, k_), up(n, n_ or max(16, line))


def product(a: torch.Tensor, b: torch.Tensor, dtype: str) -> torch.Tensor:
    """Row by column, in double or INT64."""
    wide = torch.int64 if dtype == "INT8" else torch.float64
    a, b = a.to(wide), b.to(wide)
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2).to(TORCH[OPERANDS[dtype]])


def whole(shape: tuple[int, ...], dtype: str, seed: int, most: int = 50) -> torch.Tensor:
    """Whole numbers, whose products FP32 adds up exactly, whatever the order."""
    return values(shape, dtype, seed, -most, most).float().round().to(TORCH[dtype])


def slot(nbytes: int) -> int:
    """Bytes that a tile takes: the compiler rounds them up."""
    return -(-nbytes // 32) * 32


def at(a: torch.Tensor, transposed: bool) -> torch.Tensor:
    return a.transpose(-1, -2).contiguous() if transposed else a


@pytest.mark.parametrize("dtype", OPERANDS)
@few
@given(sizes, sizes, sizes, st.booleans(), st.booleans(), seeds)
def test_matmul(dtype: str, m: int, k: int, n: int, a_trans: bool, b_trans: bool, seed: int):
    m, k, n = legal(m, k, n, dtype, a_trans, b_trans)
    a, b = whole((m, k), dtype, seed), whole((k, n), dtype, seed + 1)
    x, y, o = at(a, a_trans), at(b, b_trans), sevens((m, n), OPERANDS[dtype])
    parameters = {"x": tensor(x.shape, dtype), "y": tensor(y.shape, dtype), "o": out((m, n), OPERANDS[dtype])}
    trace = run(incore(parameters, f"o[:, :] = pl.matmul(x, y, a_trans={a_trans}, b_trans={b_trans})"), x, y, o)
    same(o, product(a, b, dtype))
    assert trace.total("cube_flops") == 2 * m * k * n
    assert trace.peaks()["L0C"] == slot(4 * m * n)
    assert trace.peaks()["L1"] == slot(m * k * a.element_size()) + slot(k * n * a.element_size())
    assert trace.peaks()["UB"] == 0


@pytest.mark.parametrize("dtype", OPERANDS)
@few
@given(sizes, sizes, sizes, st.integers(1, 4), st.booleans(), st.booleans(), seeds)
def test_matmul_acc(dtype: str, m: int, k: int, n: int, steps: int, a_trans: bool, b_trans: bool, seed: int):
    """A K loop: the first product starts the accumulator, the others add to it."""
    m, k, n = legal(m, k, n, dtype, a_trans, b_trans)
    a, b = whole((m, steps * k), dtype, seed), whole((steps * k, n), dtype, seed + 1)
    x, y, o = at(a, a_trans), at(b, b_trans), sevens((m, n), OPERANDS[dtype])
    trans = f"a_trans={a_trans}, b_trans={b_trans}"

    def part(first: str) -> str:
        lhs = f"x[{first} : {first} + {k}, :]" if a_trans else f"x[:, {first} : {first} + {k}]"
        rhs = f"y[:, {first} : {first} + {k}]" if b_trans else f"y[{first} : {first} + {k}, :]"
        return f"{lhs}, {rhs}, {trans}"

    body = f"""
    acc = pl.matmul({part("0")}, out_dtype=pl.{OPERANDS[dtype]})
    for i in pl.range(1, {steps}):
        acc = pl.matmul_acc(acc, {part(f"i * {k}")})
    o[:, :] = acc
    """
    parameters = {"x": tensor(x.shape, dtype), "y": tensor(y.shape, dtype), "o": out((m, n), OPERANDS[dtype])}
    trace = run(incore(parameters, body), x, y, o)
    same(o, product(a, b, dtype))
    assert trace.peaks()["L0C"] == slot(4 * m * n)
    assert trace.total("cube_ops") == steps


@few
@given(sizes, sizes, sizes, st.sampled_from(["BF16", "FP16"]), seeds)
def test_out_dtype(m: int, k: int, n: int, dtype: str, seed: int):
    """The accumulator is FP32 and rounds once on its way out."""
    m, k, n = legal(m, k, n, dtype)
    a, b, o = whole((m, k), dtype, seed, 4), whole((k, n), dtype, seed + 1, 4), sevens((m, n), dtype)
    parameters = {"a": tensor((m, k), dtype), "b": tensor((k, n), dtype), "o": out((m, n), dtype)}
    for keyword in (f", out_dtype=pl.{dtype}", ""):
        run(incore(parameters, f"o[:, :] = pl.matmul(a, b{keyword})"), a, b, o)
        same(o, product(a, b, dtype).to(TORCH[dtype]))


@few
@given(st.integers(1, 3), st.integers(1, 3), sizes, sizes, sizes, st.booleans(), st.integers(1, 2), seeds)
def test_columns_of_one_accumulator(tiles: int, steps: int, m: int, k: int, n: int, flag: bool, blocks: int, seed: int):
    """Each window of columns accumulates its own K loop, from `init_cond` or from a product; the whole is stored."""
    m, k, n = legal(m, k, n, "BF16")
    a = whole((blocks * m, steps * k), "BF16", seed)
    b, o = whole((steps * k, tiles * n), "BF16", seed + 1), sevens((blocks * m, tiles * n), "FP32")
    lines = f"""
    acc = pl.tile.create([{m}, {tiles * n}], pl.FP32, target_memory=pl.MemorySpace.Acc)
    for t in pl.range({tiles}):
        for i in pl.range({steps}):
            x = pl.load(a, [g * {m}, i * {k}], [{m}, {k}], target_memory=pl.MemorySpace.Mat)
            y = pl.load(b, [i * {k}, t * {n}], [{k}, {n}], target_memory=pl.MemorySpace.Mat)
            win = pl.tile.slice(acc, [{m}, {n}], [0, t * {n}])
            win = pl.matmul_acc(win, x, y, init_cond=({"i == 0" if flag else "i < 1"}))
    o = pl.store(acc, [g * {m}, 0], o)
    """
    head = f"a: {tensor(a.shape, 'BF16')}, b: {tensor(b.shape, 'BF16')}, o: {out(o.shape, 'FP32')}"
    body = textwrap.indent(textwrap.dedent(lines).strip(), "        ")
    trace = run(f"@pl.jit\ndef k({head}):\n    for g in pl.spmd({blocks}):\n{body}\n    return o", a, b, o)
    same(o, product(a, b, "BF16"))
    assert trace.peaks()["L0C"] == slot(4 * m * tiles * n)


@pytest.mark.parametrize(
    ("window", "offset", "wrong"),
    [
        ([32, 128], [0, 128], ""), ([16, 16], [16, 128], ""), ([16, 32], [16, 0], "not contiguous in L0C"),
        ([32, 16], [0, 16], "at 64 bytes: it has to begin at a multiple of 512"), ([32, 64], [0, 64], "at 256 bytes"),
    ],
)  # fmt: skip
def test_rows_of_an_accumulator(window: list[int], offset: list[int], wrong: str):
    """Only what is contiguous in L0C can be accumulated into, from where the assembler lets a tile begin."""
    rows, n = window
    a, b, o = whole((rows, 16), "BF16", 1), whole((16, n), "BF16", 2), sevens((32, 256), "FP32")
    body = f"""
    acc = pl.tile.create([32, 256], pl.FP32, target_memory=pl.MemorySpace.Acc)
    x = pl.load(a, [0, 0], [{rows}, 16], target_memory=pl.MemorySpace.Mat)
    y = pl.load(b, [0, 0], [16, {n}], target_memory=pl.MemorySpace.Mat)
    win = pl.tile.slice(acc, {window}, {offset})
    win = pl.matmul_acc(win, x, y, init_cond=True)
    o = pl.store(acc, [0, 0], o)
    """
    parameters = {"a": tensor(a.shape, "BF16"), "b": tensor(b.shape, "BF16"), "o": out(o.shape, "FP32")}
    source = incore(parameters, body)
    if wrong:
        with pytest.raises(FaultError, match=wrong):
            run(source, a, b, o)
        return
    run(source, a, b, o)
    rows_, columns = slice(offset[0], offset[0] + rows), slice(offset[1], offset[1] + n)
    same(o[rows_, columns], product(a, b, "BF16"))
    o[rows_, columns] = float("nan")
    assert o.isnan().all()


def test_bf16_operands_accumulate_in_fp32():
    a, b = torch.ones(1, 1024, dtype=torch.bfloat16), torch.ones(1024, 16, dtype=torch.bfloat16)
    a[0, 0] = 4096
    o = sevens((1, 16), "FP32")
    parameters = {"a": tensor((1, 1024), "BF16"), "b": tensor((1024, 16), "BF16"), "o": out((1, 16), "FP32")}
    run(incore(parameters, "o[:, :] = pl.matmul(a, b)"), a, b, o)
    assert (o == 4096 + 1023).all()


@few
@given(st.integers(1, 3), sizes, sizes, sizes, seeds)
def test_batches(h: int, m: int, k: int, n: int, seed: int):
    m, k, n = legal(m, k, n, "BF16")
    a, b, o = whole((h, m, k), "BF16", seed), whole((h, k, n), "BF16", seed + 1), sevens((h, m, n), "FP32")
    parameters = {"a": tensor(a.shape, "BF16"), "b": tensor(b.shape, "BF16"), "o": out(o.shape, "FP32")}
    run(incore(parameters, "o[:, :, :] = pl.matmul(a, b)"), a, b, o)
    same(o, product(a, b, "BF16"))


@few
@given(st.integers(2, 12), sizes, st.integers(2, 12), st.data(), seeds)
def test_valid_shape(m: int, k: int, n: int, data, seed: int):
    """Rows of the left and columns of the right operand that are valid are what is stored."""
    vm, vn = data.draw(st.integers(1, m)), data.draw(st.integers(1, n))
    m, k, n = legal(m, k, n, "BF16")
    a, b, o = whole((m, k), "BF16", seed), whole((k, n), "BF16", seed + 1), sevens((m, n), "FP32")
    body = f"""
    x = pl.slice(a, [{m}, {k}], [0, 0], valid_shape=[{vm}, {k}])
    y = pl.slice(b, [{k}, {n}], [0, 0], valid_shape=[{k}, {vn}])
    o[:, :] = pl.matmul(x, y)
    """
    parameters = {"a": tensor((m, k), "BF16"), "b": tensor((k, n), "BF16"), "o": out((m, n), "FP32")}
    run(incore(parameters, body), a, b, o)
    want = sevens((m, n), "FP32")
    want[:vm, :vn] = product(a, b, "BF16")[:vm, :vn]
    same(o, want)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pl.matmul(a, c)", "one element type"),
        ("pl.matmul(a, a)", "K is 32 and 16"),
        ("pl.matmul(a, b, a_trans=True)", "K is 16 and 32"),
        ("pl.matmul_acc(pl.matmul(a, b), a, d)", "of a product of shape"),
        ("pl.matmul_acc(pl.matmul(a, b, out_dtype=pl.BF16), a, b)", "accumulator is FP32"),
    ],
)
def test_operands_that_do_not_fit(body: str, words: str):
    shapes = {"a": ((16, 32), "BF16"), "b": ((32, 16), "BF16"), "c": ((32, 16), "FP32"), "d": ((32, 48), "BF16")}
    parameters = {n: tensor(s, d) for n, (s, d) in shapes.items()} | {"o": out((16, 16), "FP32")}
    o = sevens((16, 16), "FP32")
    with pytest.raises(FaultError, match=words):
        run(incore(parameters, f"o[:, :] = {body}"), *[whole(s, d, 0) for s, d in shapes.values()], o)
    same(o, sevens((16, 16), "FP32"))


@pytest.mark.parametrize(
    ("m", "k", "n", "dtype", "trans", "words"),
    [
        (8, 16, 16, "BF16", "", "M is 8.*multiples of 16"), (16, 8, 16, "BF16", "", "K is 8.*multiples of 16"),
        (16, 16, 8, "BF16", "", "N is 8.*multiples of 16"), (1, 16, 16, "BF16", "", None),
        (16, 8, 16, "FP32", "", "K is 8.*multiples of 16"),
        (16, 8, 16, "FP32", "b", None), (16, 16, 16, "INT8", "", "K is 16.*multiples of 32"),
        (16, 32, 16, "INT8", "", "N is 16.*multiples of 32"), (16, 32, 16, "INT8", "b", None),
        (16, 32, 32, "INT8", "a", "M is 16.*multiples of 32"), (1, 16, 16, "BF16", "a", "M is 1.*multiples of 16"),
    ],
)  # fmt: skip
def test_blocks_of_operands(m: int, k: int, n: int, dtype: str, trans: str, words: str | None):
    """PyPTO's assembler has the same verdict on each (a2a3sim)."""
    a, b = at(whole((m, k), dtype, 0), trans == "a"), at(whole((k, n), dtype, 1), trans == "b")
    o, kind = sevens((m, n), OPERANDS[dtype]), OPERANDS[dtype]
    flag = f", {trans}_trans=True" if trans else ""
    source = incore(
        {"a": tensor(a.shape, dtype), "b": tensor(b.shape, dtype), "o": out(o.shape, kind)},
        f"o[:, :] = pl.matmul(a, b, out_dtype=pl.{kind}{flag})",
    )
    if words is None:
        run(source, a, b, o)
        return
    with pytest.raises(FaultError, match=words):
        run(source, a, b, o)
    same(o, sevens((m, n), kind))


def test_halves_of_a_split_are_gathered_in_a_loop():
    k = kernel("""
@pl.jit
def k(
    x: pl.Tensor[[64, 32], pl.FP32],
    w: pl.Tensor[[32, 32], pl.BF16],
    o: pl.Out[pl.Tensor[[64, 32], pl.FP32]],
):
    with pl.at(level=pl.Level.CORE_GROUP):
        b = pl.slice(w, [32, 32], [0, 0])
        for i in pl.range(4):
            for lane in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN):
                half = pl.slice(x, [8, 32], [i * 16 + lane * 8, 0])
                a = pl.aic_gather(pl.cast(pl.mul(half, 2.0), target_type=pl.BF16))
            o[i * 16 : i * 16 + 16, :] = pl.matmul(a, b, out_dtype=pl.FP32)
    return o
""")
    x, w, o = torch.randn(64, 32), torch.randn(32, 32).bfloat16(), torch.zeros(64, 32)
    run(k, x, w, o)
    torch.testing.assert_close(o, (x * 2).bfloat16().float() @ w.float())


@pytest.mark.parametrize("chip", ["a2a3", "a5"])
@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("acc[:, 64:128]", "at 256 bytes"), ("acc[:, 128:192]", ""), ("acc[:, 192:256]", "at 768 bytes"),
        ("pl.slice(acc, [32, 64], [0, 16])", "at 64 bytes"), ("acc[16:32, :]", ""),
        ("pl.mul(acc, 1.0)[:, 64:128]", ""), ("acc[:, i * 64 : i * 64 + 64]", ""),
    ],
)  # fmt: skip
def test_a_part_of_a_product_begins_at_a_multiple_of_512_bytes(part: str, wrong: str, chip: str):
    """Where the compiler knows its place: not where it is of a turn, nor of what a vector core made of the product."""
    a, b, o = whole((32, 64), "BF16", 1), whole((64, 256), "BF16", 2), sevens((32, 256), "FP32")
    if part.startswith("pl.mul"):
        part = part.replace("pl.mul(acc, 1.0)", "twice")
    body = f"""
    acc = pl.matmul(a, b, out_dtype=pl.FP32)
    twice = pl.mul(acc, 1.0)
    for i in pl.range(1):
        t = pl.add({part}, 1.0)
        o = pl.assemble(o, t, [0, 0])
    """
    source = incore({"a": tensor(a.shape, "BF16"), "b": tensor(b.shape, "BF16"), "o": out(o.shape, "FP32")}, body)
    if wrong:
        with pytest.raises(FaultError, match=wrong):
            run(source, a, b, o, on=chip)
        return
    run(source, a, b, o, on=chip)
    want = product(a, b, "BF16")
    want = (
        want[16:32]
        if "16:32" in part
        else want[:, 64:128]
        if "twice" in part
        else want[:, 128:192]
        if "128" in part
        else want[:, :64]
    )
    same(o[: want.shape[0], : want.shape[1]], want + 1)
