"""Numbers: quotients cut toward zero, integers that wrap, casts; against arithmetic written with Python's integers."""

from __future__ import annotations

import math

import pytest
import torch
from kernelgen import incore, kernel, module, out, run, same, tensor
from test_lanes import both

from helpers.errors import FaultError, KernelError

N = 16
EDGES = {
    "INT32": [-8, -7, -1, 0, 1, 2, 7, 8, 2**31 - 1, -(2**31), 46341, -46341, 65536, 3, -3, 70000],
    "INT64": [-8, -7, -1, 0, 1, 2, 7, 8, 2**63 - 1, -(2**63), 3037000500, -3037000500, 2**32, 3, -3, 70000],
}
BITS = {"INT32": 32, "INT64": 64, "INDEX": 64, "INT16": 16, "INT8": 8, "UINT8": 8}
TORCH = {"INT32": torch.int32, "INT64": torch.int64}


def wrap(x: int, dtype: str) -> int:
    """x in a type: two's complement."""
    x &= (1 << BITS[dtype]) - 1
    return x - (1 << BITS[dtype]) if x >> (BITS[dtype] - 1) and not dtype.startswith("U") else x


def cut(a: int, b: int) -> int:
    """a / b toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def rest(a: int, b: int) -> int:
    return a - b * cut(a, b)


def of_elements(expression: str, dtype: str, lanes: bool, given: list[int] | None = None) -> list[int]:
    """`expression` of v, the elements of a table, one after the other or by a block each."""
    head = f"def k(n: pl.Tensor[[{N}], pl.{dtype}], q: pl.Out[pl.Tensor[[{N}], pl.{dtype}]]):"
    loop = (
        f"    for i in pl.spmd({N}):\n"
        if lanes
        else f"    with pl.at(level=pl.Level.CORE_GROUP):\n        for i in pl.range({N}):\n    "
    )
    pad = "        " if lanes else "            "
    body = f"{pad}v = pl.read(n, [i])\n{pad}w = {expression}\n{pad}pl.write(q, [i], pl.cast(w, pl.{dtype}))\n"
    q = torch.zeros(N, dtype=TORCH[dtype])
    run(f"@pl.jit\n{head}\n{loop}{body}    return q\n".replace("    " + pad + "v", pad + "v"),
        torch.tensor(given or EDGES[dtype], dtype=TORCH[dtype]), q)  # fmt: skip
    return q.tolist()


@pytest.mark.parametrize("lanes", [False, True], ids=["alone", "lanes"])
@pytest.mark.parametrize("dtype", ["INT32", "INT64"])
@pytest.mark.parametrize("by", [3, -3, 7, 1, -1, 2**31 - 1])
def test_quotients_are_cut_toward_zero(dtype: str, by: int, lanes: bool):
    assert of_elements(f"v // ({by})", dtype, lanes) == [wrap(cut(v, by), dtype) for v in EDGES[dtype]]
    assert of_elements(f"v % ({by})", dtype, lanes) == [rest(v, by) for v in EDGES[dtype]]


@pytest.mark.parametrize("lanes", [False, True], ids=["alone", "lanes"])
@pytest.mark.parametrize(
    ("expression", "want"),
    [
        ("v * v", lambda v, t: v * v),
        ("v + v", lambda v, t: v + v),
        ("v - pl.cast(1, pl.{t})", lambda v, t: v - 1),
        ("-v", lambda v, t: -v),
        ("~v", lambda v, t: ~v),
        ("v * v * v - v", lambda v, t: v * v * v - v),
        ("(v * v) // pl.cast(7, pl.{t})", lambda v, t: cut(wrap(v * v, t), 7)),
        ("(v * v) // 7", lambda v, t: cut(wrap(v * v, t), 7)),
        ("v * 5 // 3", lambda v, t: cut(wrap(v * 5, "INT64"), 3)),  # a literal is an INDEX of 64 bits
        ("pl.mul(v, v)", lambda v, t: v * v),
        ("pl.min(v * v, v)", lambda v, t: min(wrap(v * v, t), v)),
        ("v << pl.cast(4, pl.{t})", lambda v, t: v << 4),
        ("v >> pl.cast(4, pl.{t})", lambda v, t: v >> 4),
        ("pl.cast(v, pl.INT16)", lambda v, t: wrap(v, "INT16")),
        ("pl.cast(v, pl.UINT8)", lambda v, t: wrap(v, "UINT8")),
    ],
)
@pytest.mark.parametrize("dtype", ["INT32", "INT64"])
def test_integers_wrap_in_their_type(dtype: str, expression: str, want, lanes: bool):
    got = of_elements(expression.replace("{t}", dtype), dtype, lanes)
    assert got == [wrap(want(v, dtype), dtype) for v in EDGES[dtype]]


@pytest.mark.parametrize("dtype", ["INT32", "INT64"])
def test_a_number_that_a_loop_goes_on_with_wraps_every_turn(dtype: str):
    body = f"""
        s = pl.read(n, [0])
        for i in pl.range(40):
            s = s * pl.cast(1103515245, pl.{dtype}) + pl.cast(12345, pl.{dtype})
        pl.write(q, [0], s)
    """
    n, q = torch.full([16], 7, dtype=TORCH[dtype]), torch.zeros(16, dtype=TORCH[dtype])
    run(incore({"n": tensor([16], dtype), "q": out([16], dtype)}, body), n, q)
    s = 7
    for _ in range(40):
        s = wrap(s * 1103515245 + 12345, dtype)
    assert q[0].item() == s


def test_a_carried_number_wraps_every_turn():
    body = """
        s0 = pl.read(n, [0])
        for i, (s,) in pl.range(9, init_values=(s0,)):
            s_ = pl.yield_(s * s + pl.cast(1, pl.INT32))
        pl.write(q, [0], s_ // pl.cast(7, pl.INT32))
    """
    n, q = torch.full([16], 99, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    run(incore({"n": tensor([16], "INT32"), "q": out([16], "INT32")}, body), n, q)
    s = 99
    for _ in range(9):
        s = wrap(s * s + 1, "INT32")
    assert q[0].item() == cut(s, 7)


def test_numbers_of_orchestration_and_of_functions():
    source = """
        @pl.jit.inline
        def scramble(v: pl.Scalar[pl.INT32], q: pl.Tensor[[16], pl.INT32]):
            pl.write(q, [1], v * v % pl.cast(1000, pl.INT32))
            return q

        @pl.jit
        def k(n: pl.Tensor[[16], pl.INT32], x: pl.Tensor[[64, 16], pl.FP32], q: pl.Out[pl.Tensor[[16], pl.INT32]],
              o: pl.Out[pl.Tensor[[16, 16], pl.FP32]]):
            v = pl.read(n, [0])
            row = 16 + v // 16 * 16 + v % 16 + 1
            w = v * v * v
            with pl.at(level=pl.Level.CORE_GROUP):
                o[:, :] = x[row : row + 16, :]
                pl.write(q, [0], w)
                q = scramble(w, q)
            return q, o
    """
    v = -1621
    q, o, x = torch.zeros(16, dtype=torch.int32), torch.zeros(16, 16), torch.arange(1024.0).view(64, 16)
    with pytest.raises(FaultError, match=r"outside|reach"):
        run(source, torch.full([16], v, dtype=torch.int32), x, q, o)
    v = -17
    run(source, torch.full([16], v, dtype=torch.int32), x, q, o)
    row = 16 + cut(v, 16) * 16 + rest(v, 16) + 1
    same(o, x[row : row + 16])
    w = wrap(v**3, "INT32")
    assert q[:2].tolist() == [w, rest(wrap(w * w, "INT32"), 1000)]


def test_what_is_known_while_compiling_is_python_s():
    source = """
        STEP = -7

        @pl.jit
        def k(n: pl.Scalar[pl.INT32], q: pl.Out[pl.Tensor[[16], pl.INT32]]):
            a = -8
            with pl.at(level=pl.Level.CORE_GROUP):
                pl.write(q, [0], pl.cast(STEP // 3, pl.INT32))
                pl.write(q, [1], pl.cast(STEP % 3, pl.INT32))
                pl.write(q, [2], pl.cast(n // 3, pl.INT32))
                pl.write(q, [3], pl.cast(n % 3, pl.INT32))
                pl.write(q, [4], pl.cast(a // 3, pl.INT32))
            return q
    """
    q = torch.zeros(16, dtype=torch.int32)
    run(source, -8, q)
    assert q[:5].tolist() == [-3, 2, -3, 1, -3]


def test_float_quotients_are_not_cut():
    body = """
        v = pl.read(x, [0, 0])
        w = pl.read(x, [0, 1])
        pl.write(y, [0, 0], v // w)
        pl.write(y, [0, 1], v % w)
        pl.write(y, [0, 2], v / w)
    """
    x, y = torch.zeros(16, 16), torch.zeros(16, 16)
    x[0, :2] = torch.tensor([-7.5, 2.0])
    run(incore({"x": tensor([16, 16], "FP32"), "y": out([16, 16], "FP32")}, body), x, y)
    assert y[0, :3].tolist() == [-3.75, -1.5, -3.75]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("pl.write(q, [0], v // (v - v))", "division by zero"),
        ("pl.write(q, [0], v % (v - v))", "division by zero"),
        ("pl.write(q, [0], v << (v - v - pl.cast(1, pl.INT32)))", "shift by -1 places"),
        ("pl.write(q, [0], v >> pl.cast(32, pl.INT32))", "shift by 32 places of a number of 32 bits"),
        ("pl.write(q, [0], pl.cast(pl.cast(v, pl.FP32) * 1e9, pl.INT32))", "cannot hold it"),
    ],
)
@pytest.mark.parametrize("lanes", [False, True], ids=["alone", "lanes"])
def test_what_has_no_value_is_a_fault(body: str, what: str, lanes: bool):
    loop = "for i in pl.spmd(8):" if lanes else "with pl.at(level=pl.Level.CORE_GROUP):"
    at = "i" if lanes else "0"
    source = f"""
        @pl.jit
        def k(n: pl.Tensor[[16], pl.INT32], q: pl.Out[pl.Tensor[[16], pl.INT32]]):
            {loop}
                v = pl.read(n, [{at}])
                {body.replace("[0]", f"[{at}]")}
            return q
    """
    with pytest.raises(FaultError, match=what) as e:
        run(source, torch.arange(3, 19, dtype=torch.int32), torch.zeros(16, dtype=torch.int32))
    assert "itself failed" not in str(e.value)


@pytest.mark.parametrize(
    "body",
    [
        "for i in pl.range(n / 16):\n            pl.write(q, [i], pl.cast(i, pl.INT32))",
        "o = n / 2\n        pl.write(q, [o], pl.cast(3, pl.INT32))",
        "o = n / 2\n        t = x[o : o + 16, :]\n        y = pl.add(t, t)\n        pl.store(y, [0, 0], x)",
        "t = pl.slice(x, [16, 16], [n / 2, 0])\n        y = pl.add(t, t)\n        x[0:16, :] = y",
        "pl.write(q, [0], pl.cast(pl.read(q, [n / 4]), pl.INT32))",
    ],
)
def test_a_quotient_by_slash_is_no_index(body: str):
    source = f"""
@pl.jit
def k(n: pl.Scalar[pl.INT32], x: pl.Out[pl.Tensor[[64, 16], pl.FP32]], q: pl.Out[pl.Tensor[[16], pl.INT32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        {body}
    return q
"""
    with pytest.raises(KernelError, match="//"):
        run(source, 4, torch.zeros(64, 16), torch.zeros(16, dtype=torch.int32))


@pytest.mark.parametrize("number", ["True", "1 > 0", "YES", "flag"])
@pytest.mark.parametrize(
    "line",
    [
        "v = pl.read(x, [{}, 0])",
        "v = pl.read(n, {})",
        "v = x[{}, 0]",
        "pl.write(n, [{}], pl.cast(1, pl.INT32))",
        "t = pl.slice(x, [16, 64], [{}, 0])",
        "t = pl.load(x, [{}, 0], [16, 64])",
        "t = pl.slice(x, [16, 64], [0, 0], valid_shape=[{}, 64])",
        "t = pl.set_validshape(x[0:16, :], {}, 64)",
        "t = pl.full([{}, 64], dtype=pl.FP32, value=0.0)",
        "x = pl.assemble(x, pl.full([16, 64], dtype=pl.FP32, value=0.0), [{}, 0])",
        "for i in pl.range({}):\n            pl.write(n, [i], pl.cast(1, pl.INT32))",
    ],
)
def test_what_is_true_or_false_is_no_number(line: str, number: str):
    source = f"""
YES = True


@pl.jit
def k(x: pl.InOut[pl.Tensor[[64, 64], pl.FP32]], flag: pl.Scalar[pl.BOOL], n: pl.Out[pl.Tensor[[16], pl.INT32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        {line.format(number)}
    return n
"""
    with pytest.raises(KernelError, match="is true or false, where a number is wanted"):
        run(source, torch.zeros(64, 64), True, torch.zeros(16, dtype=torch.int32))


def test_one_index_is_a_whole_number_too():
    with pytest.raises(KernelError, match=r"`1\.0` is a float"):
        run(incore({"n": tensor([16], "INT32"), "q": out([16], "INT32")}, "pl.write(q, [0], pl.read(n, 1.0))"),
            torch.zeros(16, dtype=torch.int32), torch.zeros(16, dtype=torch.int32))  # fmt: skip


def test_a_division_by_zero_of_constants_is_refused():
    with pytest.raises(KernelError, match="division by zero"):
        run(incore({"q": out([16], "INT32")}, "pl.write(q, [0], pl.cast(3 // 0, pl.INT32))"), torch.zeros(16).int())


def test_nan_beside_numbers():
    body = """
        v = pl.read(x, [0, 0])
        w = pl.read(x, [0, 1])
        pl.write(y, [0, 0], pl.min(v, w))
        pl.write(y, [0, 1], pl.max(w, v))
        other = v != v
        if other:
            pl.write(y, [0, 2], w)
        else:
            pl.write(y, [0, 2], -w)
    """
    x, y = torch.zeros(16, 16), torch.zeros(16, 16)
    x[0, :2] = torch.tensor([math.nan, 2.0])
    run(incore({"x": tensor([16, 16], "FP32"), "y": out([16, 16], "FP32")}, body), x, y)
    assert y[0, :2].isnan().all()
    assert y[0, 2].item() == -2.0


def test_slices_whose_ends_are_computed_alike_keep_a_known_extent():
    source = """
        @pl.jit
        def k(n: pl.Tensor[[16], pl.INT32], x: pl.Tensor[[64, 16], pl.FP32], o: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
            for i in pl.spmd(4):
                v = pl.read(n, [i])
                row = v // 2 * 16
                o[row : row + 16, :] = pl.add(x[v // 2 * 16 : v // 2 * 16 + 16, :], 1.0)
            return o
    """
    n = torch.tensor([6, 4, 2, 0] + [0] * 12, dtype=torch.int32)
    x, o = torch.randn(64, 16), torch.zeros(64, 16)
    both(kernel(source), n, x, o)
    same(o, x + 1)


def test_numbers_of_a_long_loop_stay_apart_from_those_of_others():
    found = module("""
        @pl.jit
        def k(n: pl.Tensor[[16], pl.INT32], q: pl.Out[pl.Tensor[[16], pl.INT32]]):
            for b in pl.spmd(16):
                h = pl.read(n, [b])
                for i in pl.range(8):
                    h = h * pl.cast(31, pl.INT32) + pl.cast(i, pl.INT32)
                pl.write(q, [b], h)
            return q
    """)
    n, q = torch.arange(-8, 8, dtype=torch.int32) * 99991, torch.zeros(16, dtype=torch.int32)
    both(found.k, n, q)
    want = []
    for h in n.tolist():
        for i in range(8):
            h = wrap(h * 31 + i, "INT32")
        want.append(h)
    assert q.tolist() == want


# What PyPTO e2d0f78a generates for a quotient or remainder of v and i, of which it takes multiples of the divisor out.
SIMPLIFIED = {
    "(v + 8) % 8": lambda v, i: rest(v, 8),
    "(v - 1 + 8) % 8": lambda v, i: rest(v - 1, 8),
    "(v + 8 - 1) % 8": lambda v, i: rest(v + 7, 8),
    "(v % 8 + 8) % 8": lambda v, i: rest(v, 8),
    "(v - i + 8) % 8": lambda v, i: rest(v - i, 8),
    "(v + (8 - i)) % 8": lambda v, i: rest(v - i, 8),
    "(v + 16 - i) // 16": lambda v, i: cut(v - i, 16) + 1,
    "(v - 8) % 8": lambda v, i: rest(v - 8, 8),
    "(v - 4) // 4": lambda v, i: cut(v - 4, 4),
    "(v + 4) // 4": lambda v, i: cut(v, 4) + 1,
    "(v + 6) // 4": lambda v, i: cut(v + 6, 4),
    "(v + 6) % 4": lambda v, i: rest(v + 2, 4),
    "(i * 4 + v) // 4": lambda v, i: i + cut(v, 4),
    "(i * 4 - v) // 4": lambda v, i: cut(i * 4 - v, 4),
    "(i * 8 + v) % 8": lambda v, i: rest(v, 8),
    "(v + i * 6) % 4": lambda v, i: rest(v + i * 2, 4),
    "(v * -6) % 4": lambda v, i: rest(v * 2, 4),
    "(v * 4 + 2) // 4": lambda v, i: v,
    "(v * 3 + 4) // 4": lambda v, i: cut(v * 3, 4) + 1,
    "(v // 2 + 3) // 2": lambda v, i: cut(v + 6, 4),
    "(v // 8 - 1) // 2": lambda v, i: cut(cut(v, 8) - 1, 2),
    "(v * 8 + i * 4 + 8) // 8": lambda v, i: v + cut(i, 2) + 1,
    "(v + 15) // 16": lambda v, i: cut(v + 15, 16),
    "(v + 7) // 8 * 8": lambda v, i: cut(v + 7, 8) * 8,
    "(8 - v % 8) % 8": lambda v, i: rest(8 - rest(v, 8), 8),
    "(-v + 8) % 8": lambda v, i: rest(-v, 8),
    "(v + pl.cast(8, pl.INT32)) // 8": lambda v, i: cut(v + 8, 8),
    "(v + C) % C": lambda v, i: rest(v, 8),
    "(v - C + 1) % C": lambda v, i: rest(v - 7, 8),
    "(v + a) % a": lambda v, i: rest(v, 8),
}  # fmt: skip


@pytest.mark.parametrize("expression", SIMPLIFIED)
def test_quotients_are_simplified_as_pypto_does(expression: str):
    source = f"""
        C = 8

        @pl.jit
        def k(n: pl.Tensor[[32], pl.INT32], q: pl.Out[pl.Tensor[[32, 16], pl.INT32]]):
            a = 8
            for t in pl.spmd(32):
                v = pl.read(n, [t])
                for i in pl.range(16):
                    pl.write(q, [t, i], pl.cast({expression}, pl.INT32))
            return q
    """
    n, q = torch.arange(-16, 16, dtype=torch.int32), torch.zeros(32, 16, dtype=torch.int32)
    both(kernel(source), n, q)
    assert q.tolist() == [[SIMPLIFIED[expression](v, i) for i in range(16)] for v in n.tolist()]
