"""Element by element: two operands, scalars, one operand; against arithmetic written down another way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import (
    FLOATS,
    INTEGERS,
    TORCH,
    columns,
    few,
    incore,
    out,
    padded,
    rows,
    run,
    same,
    seeds,
    sevens,
    taken,
    tensor,
    values,
    wrapped,
)

from helpers.errors import FaultError, KernelError


def exact(dtype: str, fn, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """fn in double (floats) or INT64 (integers), rounded once to the dtype."""
    if dtype in FLOATS:
        return fn(a.double(), b.double()).float().to(TORCH[dtype])
    return wrapped(fn(a.long(), b.long()), dtype)


ARITHMETIC = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if a.is_floating_point() else torch.trunc(a.double() / b.double()).long(),
    "fmod": lambda a, b: a - torch.trunc(a.double() / b.double()).to(a.dtype) * b,
    "maximum": lambda a, b: torch.where(a > b, a, b),
    "minimum": lambda a, b: torch.where(a < b, a, b),
}
BITS = {
    "and_": lambda a, b: a & b,
    "or_": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}
SHIFTS = {"shl": lambda a, b: a << b, "shr": lambda a, b: a >> b}

# Shapes of the two operands in terms of (r, c), and of the result.
SHAPES = [
    (lambda r, c: ((r, c), (r, c))),
    (lambda r, c: ((r, c), (1, c))),
    (lambda r, c: ((r, c), (r, 1))),
    (lambda r, c: ((1, c), (r, c))),
    (lambda r, c: ((r, 1), (1, c))),
]


def two(name: str, dtype: str, a: torch.Tensor, b: torch.Tensor, scalar: str | None = None) -> torch.Tensor:
    shape = tuple(torch.broadcast_shapes(a.shape, b.shape)) if scalar is None else tuple(a.shape)
    o = sevens(shape, dtype)
    if scalar is None:
        source = incore(
            {"a": tensor(a.shape, dtype), "b": tensor(b.shape, dtype), "o": out(shape, dtype)},
            f"o[:, :] = pl.{name}(a, b)",
        )
        run(source, a, b, o, on="a5")
    else:
        call = f"pl.{name}(pl.load(a, [0, 0], {list(shape)}), {scalar})"  # a tile: a tensor becomes FP32 beside a float
        run(
            incore({"a": tensor(a.shape, dtype), "o": out(shape, dtype)}, f"pl.store({call}, [0, 0], o)"), a, o, on="a5"
        )
    return o


@pytest.mark.parametrize("name", ARITHMETIC)
@few
@given(rows, columns, st.data(), st.sampled_from(SHAPES), seeds)
def test_two_operands(name: str, r: int, c: int, data, shapes, seed: int):
    dtype = data.draw(st.sampled_from(taken(name, FLOATS + INTEGERS)))
    (sa, sb) = shapes(padded(r, dtype), padded(c, dtype))
    a, b = values(sa, dtype, seed), values(sb, dtype, seed + 1)
    if name in ("div", "fmod"):
        b = torch.where(b == 0, torch.ones_like(b), b)
    if name == "fmod" and dtype in FLOATS:
        want = torch.fmod(a.double(), b.double()).to(TORCH[dtype])
    else:
        want = exact(dtype, ARITHMETIC[name], a, b)
    if not broadcasts(name, sa, sb):
        with pytest.raises(FaultError, match=r"shapes do not match|is not broadcast|subtracts the column"):
            two(name, dtype, a, b)
        return
    same(two(name, dtype, a, b), want)


def broadcasts(name: str, a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Which operands PyPTO and its assembler take, and compute: no row beside a tile, a column in few."""
    if a[0] != b[0]:
        return False
    if a == b or name in ("add", "sub", "mul"):
        return a == b or name != "sub" or a[1] != 1
    if name == "div":
        return b == (a[0], 1)
    return (a[1] == 1) == (b[1] == 1)


@pytest.mark.parametrize("name", BITS | SHIFTS)
@few
@given(rows, columns, st.data(), seeds)
def test_bits(name: str, r: int, c: int, data, seed: int):
    dtype = data.draw(st.sampled_from(taken(name, INTEGERS)))
    c = padded(c, dtype)
    a = values((r, c), dtype, seed, -(2**31), 2**31)
    b = values((r, c), dtype, seed + 1, *((0, 6) if name in SHIFTS else (-(2**31), 2**31)))
    same(two(name, dtype, a, b), exact(dtype, (BITS | SHIFTS)[name], a, b))


@pytest.mark.parametrize("name", ARITHMETIC)
@few
@given(rows, columns, st.data(), st.integers(-9, 9).filter(bool), seeds)
def test_number(name: str, r: int, c: int, data, number: int, seed: int):
    dtype = data.draw(st.sampled_from(taken(name, FLOATS + INTEGERS, number=True)))
    if dtype == "UINT8":
        number = abs(number)
    c = padded(c, dtype)
    a = values((r, c), dtype, seed)
    b = torch.full_like(a, number)
    want = exact(dtype, ARITHMETIC[name], a, b)
    if name == "fmod" and dtype in FLOATS:
        want = torch.fmod(a.double(), float(number)).to(TORCH[dtype])
    literal = f"{number}.0" if dtype in FLOATS else str(number)
    same(two(name, dtype, a, b, literal), want)
    scalar_form = f"{name}s" if name in ("maximum", "minimum", "fmod", "rem") else f"tile.{name}s"
    same(two(scalar_form, dtype, a, b, literal), want)


@few
@given(rows, columns, st.sampled_from(FLOATS), st.floats(-4, 4, width=32), seeds)
def test_scalar_parameter(r: int, c: int, dtype: str, number: float, seed: int):
    """A scalar is rounded to the tile's type, then used, then the result is rounded."""
    c = padded(c, dtype)
    a, o = values((r, c), dtype, seed), sevens((r, c), dtype)
    parameters = {"a": tensor((r, c), dtype), "s": "pl.Scalar[pl.FP32]", "o": out((r, c), dtype)}
    s = torch.tensor(number, dtype=TORCH[dtype]).double()
    for name, want in (("mul", a.double() * s), ("add", a.double() + s), ("minimum", torch.minimum(a.double(), s))):
        body = f"pl.store(pl.{name}(pl.load(a, [0, 0], [{r}, {c}]), s), [0, 0], o)"
        run(incore(parameters, body), a, number, o, on="a5")
        same(o, want.float().to(TORCH[dtype]))


@few
@given(rows, columns, st.integers(-5, 5), seeds)
def test_scalar_read(r: int, c: int, number: int, seed: int):
    c = padded(c, "FP32")
    a, i, o = values((r, c), "FP32", seed), torch.tensor([3, number], dtype=torch.int32), sevens((r, c), "FP32")
    parameters = {"a": tensor((r, c), "FP32"), "i": tensor([2], "INT32"), "o": out((r, c), "FP32")}
    run(incore(parameters, "s = pl.read(i, [1])\no[:, :] = pl.add(pl.mul(a, s), pl.read(a, [0, 0]))"), a, i, o)
    same(o, a * number + a[0, 0])


UNARY = {
    "exp": (torch.exp, -4, 4),
    "log": (torch.log, 0.1, 50),
    "sin": (torch.sin, -3, 3),
    "cos": (torch.cos, -3, 3),
    "sqrt": (torch.sqrt, 0, 50),
    "rsqrt": (lambda x: 1 / torch.sqrt(x), 0.1, 50),
    "recip": (lambda x: 1 / x, 0.1, 50),
    "neg": (lambda x: -x, -50, 50),
    "abs": (lambda x: torch.where(x < 0, -x, x), -50, 50),
    "relu": (lambda x: torch.where(x < 0, torch.zeros_like(x), x), -50, 50),
}


@pytest.mark.parametrize("name", UNARY)
@few
@given(rows, columns, st.data(), seeds)
def test_one_operand(name: str, r: int, c: int, data, seed: int):
    dtype = data.draw(st.sampled_from(taken(name, FLOATS)))
    c = padded(c, dtype)
    fn, low, high = UNARY[name]
    x, o = values((r, c), dtype, seed, low, high), sevens((r, c), dtype)
    body = f"o[:, :] = pl.{name}(x)"
    if name == "relu":  # of tiles only
        body = f"pl.store(pl.relu(pl.load(x, [0, 0], [{r}, {c}])), [0, 0], o)"
    run(incore({"x": tensor((r, c), dtype), "o": out((r, c), dtype)}, body), x, o, on="a5")
    want = fn(x.double()).to(TORCH[dtype])
    if name in ("neg", "abs", "relu"):
        same(o, want)
    else:
        torch.testing.assert_close(o, want, rtol=2 * torch.finfo(TORCH[dtype]).eps, atol=2e-7)


@few
@given(rows, columns, st.sampled_from(taken("not_", INTEGERS)), seeds)
def test_not(r: int, c: int, dtype: str, seed: int):
    c = padded(c, dtype)
    x, o = values((r, c), dtype, seed, -(2**31), 2**31), sevens((r, c), dtype)
    run(incore({"x": tensor((r, c), dtype), "o": out((r, c), dtype)}, "o[:, :] = pl.not_(x)"), x, o)
    same(o, wrapped(-1 - x.long(), dtype))


def test_each_operation_rounds():
    """BF16 sums of three lose what FP32 keeps: 256 + 1 is 256 in BF16, twice."""
    a, o = torch.full((1, 16), 256, dtype=torch.bfloat16), sevens((1, 16), "BF16")
    parameters = {"a": tensor((1, 16), "BF16"), "o": out((1, 16), "BF16")}
    body = "pl.store(pl.add(pl.add(pl.load(a, [0, 0], [1, 16]), 1.0), 1.0), [0, 0], o)"
    run(incore(parameters, body), a, o, on="a5")
    assert (o == 256).all()


@pytest.mark.parametrize(("name", "want"), [("not_", lambda x: 0xFFFF - x), ("neg", lambda x: -x & 0xFFFF)])
def test_unsigned_wraps(name: str, want: Callable):
    """UINT16 is carried in a wider type, and cut to 16 bits after every operation."""
    x = torch.tensor([[0, 1, 7, 0x8000, 0xFFFF] + 11 * [3]], dtype=torch.int32)
    o = torch.zeros_like(x)
    kinds = {"x": "pl.Tensor[[1, 16], pl.UINT16]", "o": "pl.Out[pl.Tensor[[1, 16], pl.UINT16]]"}
    run(incore(kinds, f"o[:, :] = pl.shr(pl.{name}(x), pl.full([1, 16], dtype=pl.UINT16, value=1))"), x, o, on="a5")
    same(o, want(x) >> 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pl.add(a, b)", "no promotion"),
        ("pl.add(b, c)", "shapes do not match"),
        ("pl.and_(a, a)", "FP32"),
        ("pl.shl(a, 1)", "FP32"),
        ("pl.not_(a)", "FP32"),
        ("pl.exp(i)", "INT32"),
        ("pl.rsqrt(i)", "INT32"),
        ("pl.mul(i, 1.5)", "1.5"),
        ("pl.maximum(i, 1.5)", "1.5"),
    ],
)
def test_operands_that_do_not_fit(body: str, words: str):
    shapes = {"a": ((4, 16), "FP32"), "b": ((4, 16), "BF16"), "c": ((3, 16), "BF16"), "i": ((4, 16), "INT32")}
    parameters = {n: tensor(s, d) for n, (s, d) in shapes.items()} | {"o": out((4, 16), "FP32")}
    args = [values(s, d, 0) for s, d in shapes.values()]
    o = sevens((4, 16), "FP32")
    with pytest.raises((FaultError, KernelError), match=words):
        run(incore(parameters, f"t = {body}\no[:, :] = pl.mul(a, 2.0)"), *args, o, on="a5")
    same(o, sevens((4, 16), "FP32"))


@few
@given(st.integers(1, 8), columns, st.data(), seeds)
def test_valid_shape_of_the_first_operand_goes_on(r: int, c: int, data, seed: int):
    valid, c = data.draw(st.integers(1, r)), padded(c, "FP32")
    a, b, o = values((r, c), "FP32", seed), values((r, c), "FP32", seed + 1), sevens((r, c), "FP32")
    parameters = {"a": tensor((r, c), "FP32"), "b": tensor((r, c), "FP32"), "o": out((r, c), "FP32")}
    run(incore(parameters, f"t = pl.set_validshape(a, {valid}, {c})\no[:, :] = pl.exp(pl.add(t, b))"), a, b, o)
    want = sevens((r, c), "FP32")
    want[:valid] = torch.exp(a + b)[:valid]
    torch.testing.assert_close(o, want, rtol=2e-7, atol=0)


def of_tiles(call: str, dtype: str, *tiles: torch.Tensor, on: str = "a5") -> torch.Tensor:
    """`call` of the tiles a and b that are loaded."""
    names = "ab"[: len(tiles)]
    o = sevens(tuple(tiles[0].shape), dtype)
    loads = "\n".join(f"{n} = pl.load({n}0, [0, 0], {list(t.shape)})" for n, t in zip(names, tiles))
    parameters = {f"{n}0": tensor(t.shape, dtype) for n, t in zip(names, tiles)} | {"o": out(o.shape, dtype)}
    run(incore(parameters, f"{loads}\no = pl.store({call}, [0, 0], o)"), *tiles, o, on=on)
    return o


@pytest.mark.parametrize("dtype", ["INT32", "INT16"])
@pytest.mark.parametrize(
    "call", ["pl.div(a, b)", "pl.fmod(a, b)", "pl.rem(a, b, pl.create_tile([16, 160], pl.{t}))", "pl.div(a, 0)"]
)
def test_integers_divided_by_zero_are_a_fault(call: str, dtype: str):
    a, b = values((16, 16), dtype, 1), values((16, 16), dtype, 2, 1)
    b[3, 5] = 0
    count = "by the number 0" if ", 0)" in call else r"by 1 of 256 elements that are 0"
    with pytest.raises(FaultError, match=f"division of integers {count}"):
        of_tiles(call.replace("{t}", dtype), dtype, a, b)


def test_a_column_that_divides_integers_holds_no_zero():
    a, b = values((16, 16), "INT32", 1), torch.tensor([[-3], [2]] * 8, dtype=torch.int32)
    same(of_tiles("pl.row_expand_div(a, b)", "INT32", a, b), torch.div(a, b, rounding_mode="trunc"))
    b[7] = 0
    with pytest.raises(FaultError, match="by 1 of 16 elements that are 0"):
        of_tiles("pl.row_expand_div(a, b)", "INT32", a, b)


@pytest.mark.parametrize("dtype", ["INT32", "INT16"])
def test_the_smallest_integer_by_minus_one_wraps(dtype: str):
    least = torch.iinfo(TORCH[dtype]).min
    a, b = torch.full((16, 16), least, dtype=TORCH[dtype]), torch.full((16, 16), -1, dtype=TORCH[dtype])
    same(of_tiles("pl.div(a, b)", dtype, a, b), a)
    same(of_tiles("pl.div(a, -1)", dtype, a), a)
    same(of_tiles("pl.fmod(a, b)", dtype, a, b), torch.zeros_like(a))


@pytest.mark.parametrize("dtype", ["INT8", "INT16", "INT32"])
@pytest.mark.parametrize("number", [300, -129, 2**31 - 1, 70000])
def test_a_number_beside_integers_is_of_their_type(dtype: str, number: int):
    a = values((16, 32), dtype, 1)
    want = wrapped(a.long() + wrapped(torch.tensor(number), dtype).long(), dtype)
    same(of_tiles(f"pl.add(a, {number})", dtype, a), want)


@pytest.mark.parametrize("dtype", ["INT8", "INT16", "INT32"])
def test_integer_tiles_wrap(dtype: str):
    info = torch.iinfo(TORCH[dtype])
    a, b = values((16, 32), dtype, 1, info.min, info.max), values((16, 32), dtype, 2, info.min, info.max)
    row = b[:1].contiguous()
    for call, want in (
        ("pl.add(a, b)", a.long() + b.long()),
        ("pl.sub(a, b)", a.long() - b.long()),
        ("pl.col_expand_mul(a, b)", a.long() * row.long()),
        ("pl.col_expand_add(a, b)", a.long() + row.long()),
    ):
        same(of_tiles(call, dtype, a, row if "expand" in call else b), wrapped(want, dtype))
    if dtype != "INT8":
        same(of_tiles("pl.mul(a, b)", dtype, a, b), wrapped(a.long() * b.long(), dtype))
