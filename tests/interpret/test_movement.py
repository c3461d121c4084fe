"""What moves without being computed: slices, assembles, loads, stores, elements, views, fills."""

from __future__ import annotations

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
    tensor,
    values,
)

from helpers.errors import FaultError

dtypes = st.sampled_from(FLOATS + INTEGERS)


@st.composite
def windows(draw):
    """dtype, (R, C), (r, c), (i, j): a window of extent (r, c) at (i, j) of a tensor of extent (R, C), all of legal
    tiles."""
    dtype = draw(dtypes)
    unit = padded(1, dtype)
    big = draw(st.integers(1, 12)), unit * draw(st.integers(1, 4))
    small = draw(st.integers(1, big[0])), unit * draw(st.integers(1, big[1] // unit))
    return dtype, big, small, (draw(st.integers(0, big[0] - small[0])), draw(st.integers(0, big[1] - small[1])))


@st.composite
def parts(draw):
    """(R, C), (r, c), (i, j) of any size: for what need not be whole tiles."""
    big = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    small = draw(st.integers(1, big[0])), draw(st.integers(1, big[1]))
    return big, small, (draw(st.integers(0, big[0] - small[0])), draw(st.integers(0, big[1] - small[1])))


READS = {
    "subscript": "t = x[{i} : {i} + {r}, {j} : {j} + {c}]",
    "slice": "t = pl.slice(x, [{r}, {c}], [{i}, {j}])",
    "load": "t = pl.load(x, [{i}, {j}], [{r}, {c}])",
    "of a tile": "u = pl.load(x, [0, 0], [{R}, {C}])\nt = u[{i} : {i} + {r}, {j} : {j} + {c}]",
    "slice of a tile": "u = pl.load(x, [0, 0], [{R}, {C}])\nt = pl.slice(u, [{r}, {c}], [{i}, {j}])",
}
WRITES = {
    "subscript": "o[{i} : {i} + {r}, {j} : {j} + {c}] = t",
    "assemble": "o = pl.assemble(o, t, [{i}, {j}])",
    "store": "pl.store(t, [{i}, {j}], o)",
    "into a tile": "u = o[:, :]\nu[{i} : {i} + {r}, {j} : {j} + {c}] = t\no[:, :] = u",
    "assemble into a tile": "u = o[:, :]\nu = pl.assemble(u, t, [{i}, {j}])\no[:, :] = u",
}
OFFSETS = {"constant": ("", "{i}", "{j}"), "read": ("m = pl.read(at, [0])\nn = at[1]\n", "m", "n")}


@pytest.mark.parametrize(
    ("how", "offsets"),  # a subscript of a tile takes no offset of run time
    [(how, offsets) for how in READS for offsets in OFFSETS if (how, offsets) != ("of a tile", "read")],
)
@few
@given(windows(), seeds)
def test_read(how: str, offsets: str, window, seed: int):
    dtype, big, (r, c), (i, j) = window
    before, row, column = OFFSETS[offsets]
    x, at, o = values(big, dtype, seed), torch.tensor([i, j], dtype=torch.int32), sevens((r, c), dtype)
    where = {"i": row.format(i=i), "j": column.format(j=j), "r": r, "c": c, "R": big[0], "C": big[1]}
    body = (
        before + READS[how].format(**where) + ("\npl.store(t, [0, 0], o)" if "load" in READS[how] else "\no[:, :] = t")
    )
    run(incore({"x": tensor(big, dtype), "at": tensor([2], "INT32"), "o": out((r, c), dtype)}, body), x, at, o)
    same(o, x[i : i + r, j : j + c])


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("how", WRITES)
@few
@given(windows(), seeds)
def test_write(how: str, offsets: str, window, seed: int):
    dtype, big, (r, c), (i, j) = window
    before, row, column = OFFSETS[offsets]
    x, at, o = values((r, c), dtype, seed), torch.tensor([i, j], dtype=torch.int32), sevens(big, dtype)
    where = {"i": row.format(i=i), "j": column.format(j=j), "r": r, "c": c}
    first = "t = pl.load(x, [0, 0], [{r}, {c}])\n" if how == "store" else "t = x[0:{r}, 0:{c}]\n"
    body = before + first.format(**where) + WRITES[how].format(**where)
    run(incore({"x": tensor((r, c), dtype), "at": tensor([2], "INT32"), "o": out(big, dtype)}, body), x, at, o)
    want = sevens(big, dtype)
    want[i : i + r, j : j + c] = x
    same(o, want)


@pytest.mark.parametrize(
    "how", ["x[{i} : {i} + 4, 0:8]", "pl.slice(x, [4, 8], [{i}, 0])", "pl.load(x, [{i}, 0], [4, 8])"]
)
@pytest.mark.parametrize("i", [-1, 3, 60])
def test_read_outside(how: str, i: int):
    x, at, o = values((6, 8), "FP32", 0), torch.tensor([i], dtype=torch.int32), sevens((4, 8), "FP32")
    store = "pl.store(pl.exp(t), [0, 0], o)" if "load" in how else "o[:, :] = pl.exp(t)"
    body = f"m = pl.read(at, [0])\nt = {how.format(i='m')}\n{store}"
    with pytest.raises(FaultError, match=rf"outside 'x': axis 0 from {i} to {i + 4} of extent 6"):
        run(incore({"x": tensor((6, 8), "FP32"), "at": tensor([1], "INT32"), "o": out((4, 8), "FP32")}, body), x, at, o)
    same(o, sevens((4, 8), "FP32"))


@pytest.mark.parametrize("i", [-1, 3, 60])
def test_write_outside(i: int):
    x, at, o = values((4, 8), "FP32", 0), torch.tensor([i], dtype=torch.int32), sevens((6, 8), "FP32")
    body = "m = pl.read(at, [0])\no = pl.assemble(o, pl.exp(x), [m, 0])"
    with pytest.raises(FaultError, match=rf"outside 'o': axis 0 from {i} to {i + 4} of extent 6"):
        run(incore({"x": tensor((4, 8), "FP32"), "at": tensor([1], "INT32"), "o": out((6, 8), "FP32")}, body), x, at, o)
    same(o, sevens((6, 8), "FP32"))


@few
@given(parts(), st.data(), seeds)
def test_partly_valid_slice(window, data, seed: int):
    """Only the valid part must lie inside; only it is moved; fillpad decides about the rest."""
    (big, (r, c), (i, j)) = window
    over = (r + data.draw(st.integers(0, 5)), padded(c + data.draw(st.integers(0, 5)), "FP32"))
    x, n = values(big, "FP32", seed), torch.tensor([r, c], dtype=torch.int32)
    o, p = sevens(over, "FP32"), sevens(over, "FP32")
    read = [f"{name} = pl.cast(pl.read(n, [{k}]), pl.INDEX)" for k, name in enumerate(("down", "along"))]
    for known, way in (([], f"{r}, {c}"), (read, "down, along")):
        body = f"""
        {(chr(10) + " " * 8).join(known)}
        t = pl.slice(x, {list(over)}, [{i}, {j}], valid_shape=[{way}])
        o[:, :] = t
        p[:, :] = pl.fillpad(pl.mul(t, 2.0), pad_value=pl.PadValue.zero)
        """
        parameters = {
            "x": tensor(big, "FP32"),
            "n": tensor([2], "INT32"),
            "o": out(over, "FP32"),
            "p": out(over, "FP32"),
        }
        run(incore(parameters, body), x, n, o, p)
        want, filled = sevens(over, "FP32"), torch.zeros(over)
        want[:r, :c] = x[i : i + r, j : j + c]
        filled[:r, :c] = x[i : i + r, j : j + c] * 2
        same(o, want)
        same(p, filled)


@few
@given(parts(), st.data(), seeds)
def test_clamped_slice(window, data, seed: int):
    (big, (r, c), _) = window
    c = padded(c, "FP32")
    i, j = data.draw(st.integers(0, big[0] - 1)), data.draw(st.integers(0, big[1] - 1))
    x, o = values(big, "FP32", seed), sevens((r, c), "FP32")
    body = f"t = pl.slice(x, [{r}, {c}], [{i}, {j}], clamp=True)\no[:, :] = t"
    run(incore({"x": tensor(big, "FP32"), "o": out((r, c), "FP32")}, body), x, o)
    want, part = sevens((r, c), "FP32"), x[i : i + r, j : j + c]
    want[: part.shape[0], : part.shape[1]] = part
    same(o, want)


PADS = {
    ("zero", "FP32"): 0.0, ("min", "FP32"): -torch.inf, ("max", "FP32"): torch.inf, ("min", "BF16"): -torch.inf,
    ("zero", "INT32"): 0, ("min", "INT32"): -(2**31), ("max", "INT32"): 2**31 - 1, ("max", "INT16"): 2**15 - 1,
}  # fmt: skip


@pytest.mark.parametrize(("pad", "dtype"), PADS)
@few
@given(st.integers(1, 9), st.integers(1, 9), st.data(), seeds)
def test_fillpad(pad: str, dtype: str, r: int, c: int, data, seed: int):
    c = padded(c, dtype)
    v = data.draw(st.integers(0, r)), data.draw(st.integers(0, c))
    x, o = values((r, c), dtype, seed), sevens((r, c), dtype)
    body = f"t = pl.set_validshape(x, {v[0]}, {v[1]})\no[:, :] = pl.fillpad(t, pad_value=pl.PadValue.{pad})"
    run(incore({"x": tensor((r, c), dtype), "o": out((r, c), dtype)}, body), x, o)
    want = torch.full((r, c), PADS[pad, dtype], dtype=TORCH[dtype])
    want[: v[0], : v[1]] = x[: v[0], : v[1]]
    same(o, want)


@pytest.mark.parametrize("extents", [(5, 8), (-1, 8), (4, 9)])
def test_valid_shape_that_does_not_fit(extents: tuple[int, int]):
    x, o = values((4, 8), "FP32", 0), sevens((4, 8), "FP32")
    body = f"n = {extents[0]}\nt = pl.set_validshape(x, n, {extents[1]})\no[:, :] = pl.fillpad(t)"
    with pytest.raises(FaultError, match="set_validshape"):
        run(incore({"x": tensor((4, 8), "FP32"), "o": out((4, 8), "FP32")}, body), x, o)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize(
    ("call", "write"),
    [
        ("pl.slice(x, [4, 8], [0, 0]", "o[b * 4 : b * 4 + 4, :] = u"),
        ("pl.load(x, [0, 0], [4, 8]", "o = pl.store(u, [b * 4, 0], o)"),
    ],
)
@pytest.mark.parametrize("valid", [-1, 5])
def test_valid_extent_of_a_window_that_does_not_fit(valid: int, call: str, write: str, blocks: int):
    """Only the run knows it: the compiler takes it, and the chip would read or write past the tile."""
    x, o, n = values((16, 8), "FP32", 0), sevens((16, 8), "FP32"), torch.full((8,), valid, dtype=torch.int32)
    source = f"""
@pl.jit
def k(x: {tensor(x.shape, "FP32")}, n: {tensor(n.shape, "INT32")}, o: {out(o.shape, "FP32")}):
    for b in pl.spmd({blocks}):
        m = pl.cast(n[b], pl.INDEX)
        t = {call}, valid_shape=[m, 8])
        u = pl.fillpad(t, pad_value=pl.PadValue.zero)
        {write}
    return o
"""
    with pytest.raises(FaultError, match=f"valid extent {valid} of axis 0 of a window"):
        run(source, x, n, o)
    same(o, sevens((16, 8), "FP32"))


@few
@given(
    st.sampled_from(
        [
            ((4, 96), (6, 64)),
            ((3, 32), (96, 1)),
            ((2, 3, 32), (6, 32)),
            ((96,), (3, 32)),
            ((4, 32), (2, 64)),
        ]
    ),
    dtypes,
    seeds,
)
def test_reshape(shapes, dtype: str, seed: int):
    a, b = shapes
    x, o = values(a, dtype, seed), sevens(b, dtype)
    whole = ", ".join([":"] * len(b))
    body = f"t = pl.reshape(x, {list(b)})\no[{whole}] = pl.add(t, pl.reshape(x, {list(b)}))"
    run(incore({"x": tensor(a, dtype), "o": out(b, dtype)}, body), x, o, on="a5")
    same(o, (x + x).reshape(b))


def test_reshape_to_another_count():
    x, o = values((6, 4), "FP32", 0), sevens((6, 4), "FP32")
    with pytest.raises(FaultError, match="24 elements to 20"):
        run(
            incore(
                {"x": tensor((6, 4), "FP32"), "o": out((6, 4), "FP32")},
                "t = pl.reshape(x, [5, 4])\no[:, :] = pl.exp(x)",
            ),
            x,
            o,
        )


@few
@given(rows, columns, dtypes, st.booleans(), seeds)
def test_transpose(r: int, c: int, dtype: str, tile: bool, seed: int):
    r, c = padded(r, dtype), padded(c, dtype)
    x, o = values((r, c), dtype, seed), sevens((c, r), dtype)
    body = (
        "u = pl.add(x, 0)" if tile else "u = x"
    ) + "\no[:, :] = pl.maximum(pl.transpose(u, 0, 1), pl.transpose(x, 1, 0))"
    if not tile:
        body = "o[:, :] = pl.maximum(pl.transpose(x, axis1=0, axis2=1), pl.transpose(x, -1, -2))"
    run(incore({"x": tensor((r, c), dtype), "o": out((c, r), dtype)}, body), x, o, on="a5")
    same(o, x.T.contiguous())


@few
@given(rows, columns, columns, dtypes, seeds)
def test_concat(r: int, c: int, d: int, dtype: str, seed: int):
    c, d = padded(c, dtype), padded(d, dtype)
    x, y, o = values((r, c), dtype, seed), values((r, d), dtype, seed + 1), sevens((r, c + d), dtype)
    parameters = {"x": tensor((r, c), dtype), "y": tensor((r, d), dtype), "o": out((r, c + d), dtype)}
    run(incore(parameters, "o[:, :] = pl.concat(x, y)"), x, y, o)
    same(o[:, :c], x)
    same(o[:, c:], y)


@few
@given(rows, columns, dtypes, st.integers(0, 9))
def test_full(r: int, pieces: int, dtype: str, number: int):
    c = padded(pieces, dtype)
    literal = f"{number}.0" if dtype in FLOATS else str(number)
    o = sevens((r, c), dtype)
    run(incore({"o": out((r, c), dtype)}, f"o[:, :] = pl.full([{r}, {c}], dtype=pl.{dtype}, value={literal})"), o)
    same(o, torch.tensor([[number] * c] * r).to(TORCH[dtype]))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((16, 1), "gives a column"), ((1, 1), "gives a column"), ((16, 4), "16 bytes in a row"),
        ((1, 4), "16 bytes in a row"), ((8, 12), "48 bytes in a row"),
    ],
)  # fmt: skip
def test_a_full_tile_has_rows_of_32_bytes(shape: tuple[int, int], words: str):
    """PyPTO's assembler refuses these five (for a2a3sim), and takes [16, 8]."""
    o = sevens(shape, "FP32")
    with pytest.raises(FaultError, match=words):
        run(incore({"o": out(shape, "FP32")}, f"o[:, :] = pl.full({list(shape)}, dtype=pl.FP32, value=1.0)"), o)
    same(o, sevens(shape, "FP32"))


@few
@given(columns, st.integers(-9, 9), st.booleans(), st.sampled_from(["INT32", "INT16"]))
def test_arange(c: int, start: int, down: bool, dtype: str):
    c = padded(c, dtype)
    o = sevens((1, c), dtype)
    body = f"o[:, :] = pl.arange({start}, [1, {c}], dtype=pl.{dtype}, descending={down})"
    run(incore({"o": out((1, c), dtype)}, body), o)
    numbers = [start - k if down else start + k for k in range(c)]
    same(o, torch.tensor(numbers).view(1, c).to(TORCH[dtype]))


@few
@given(windows(), seeds)
def test_elements(window, seed: int):
    dtype, big, _, (i, j) = window
    x, o = values(big, dtype, seed), sevens((2, 2), dtype)
    body = f"""
    t = pl.load(x, [0, 0], {list(big)})
    o = pl.write(o, [0, 0], x[{i}, {j}])
    pl.write(o, [0, 1], pl.read(x, [{i}, {j}]))
    pl.tensor.write(o, [1, 0], t[{i}, {j}])
    u = pl.tile.write(t, [0, 0], pl.read(x, [{i}, {j}]))
    pl.write(o, [1, 1], pl.read(u, [0, 0]))
    """
    run(incore({"x": tensor(big, dtype), "o": out((2, 2), dtype)}, body), x, o)
    v = x[i, j].item()
    same(o, torch.tensor([[v, v], [v, v]]).to(TORCH[dtype]))
    same(x, values(big, dtype, seed))


@few
@given(st.integers(1, 3), rows, columns, st.data(), seeds)
def test_rank_three(n: int, r: int, c: int, data, seed: int):
    k, c = data.draw(st.integers(0, n - 1)), padded(c, "FP32")
    x, o = values((n, r, c), "FP32", seed), sevens((n, r, c), "FP32")
    body = f"t = x[{k}, :, :]\no[{k}, :, :] = pl.exp(t)"
    run(incore({"x": tensor((n, r, c), "FP32"), "o": out((n, r, c), "FP32")}, body), x, o)
    want = sevens((n, r, c), "FP32")
    want[k] = torch.exp(x[k])
    torch.testing.assert_close(o, want)


@few
@given(rows, columns, dtypes, seeds)
def test_spaces(r: int, c: int, dtype: str, seed: int):
    """Beside L1, and from tile to tile: the values stay, the buffers are accounted."""
    c = padded(c, dtype)
    x, o = values((r, c), dtype, seed), sevens((r, c), dtype)
    body = f"""
    t = pl.load(x, [0, 0], [{r}, {c}], target_memory=pl.Mem.Mat)
    u = pl.load(x, [0, 0], [{r}, {c}])
    v = pl.create_tile([{r}, {c}], dtype=pl.{dtype}, target_memory=pl.Mem.Vec)
    v = pl.assemble(v, u, [0, 0])
    pl.store(v, [0, 0], o)
    """
    trace = run(incore({"x": tensor((r, c), dtype), "o": out((r, c), dtype)}, body), x, o)
    same(o, x)
    nbytes = -(-r * c * x.element_size() // 32) * 32
    assert trace.peaks()["L1"] == nbytes
    assert trace.peaks()["UB"] == 2 * nbytes


def test_never_written_memory_is_poison():
    o, p = sevens((2, 8), "FP32"), sevens((2, 8), "INT32")
    body = """
    t = pl.create_tensor([2, 8], dtype=pl.FP32)
    u = pl.create_tensor([2, 8], dtype=pl.INT32)
    o[:, :] = t
    p[:, :] = u
    """
    run(incore({"o": out((2, 8), "FP32"), "p": out((2, 8), "INT32")}, body), o, p)
    assert o.isnan().all()
    assert (p == -(2**31)).all()


@few
@given(st.integers(2, 8), columns, seeds)
def test_a_loaded_tile_keeps_its_values(r: int, c: int, seed: int):
    """Loads and aliases share memory with the tensor until it is overwritten; that must not show."""
    c *= 8
    x = values((r, c), "FP32", seed)
    given_ = x.clone()
    o = sevens((5 * r, c), "FP32")
    body = f"""
    a = x[:, :]
    b = pl.reshape(a, [{r * c}, 1])
    c = a[0:1, :]
    d = pl.fillpad(a)
    e = pl.set_validshape(a, {r - 1}, {c})
    x[:, :] = pl.full([{r}, {c}], dtype=pl.FP32, value=9.0)
    o[0:{r}, :] = a
    o[{r} : {2 * r}, :] = pl.reshape(b, [{r}, {c}])
    o[{2 * r} : {2 * r + 1}, :] = c
    o[{3 * r} : {4 * r}, :] = d
    o = pl.assemble(o, e, [{4 * r}, 0])
    """
    run(incore({"x": f"pl.InOut[{tensor((r, c), 'FP32')}]", "o": out((5 * r, c), "FP32")}, body), x, o)
    assert (x == 9).all()
    want = sevens((5 * r, c), "FP32")
    want[:r] = want[r : 2 * r] = want[3 * r : 4 * r] = given_
    want[2 * r] = given_[0]
    want[4 * r : 5 * r - 1] = given_[:-1]
    same(o, want)


WINDOW = """
@pl.jit
def k(x: pl.Tensor[[8, 16], pl.FP32], o: pl.Out[pl.Tensor[[8, 16], pl.FP32]]):
    part = pl.slice(o, {shape}, {at})
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="write"):
        part = pl.assemble(part, pl.mul(pl.slice(x, {shape}, {at}), 2.0), [0, 0])
    return o
"""


@pytest.mark.parametrize(("shape", "at"), [([4, 16], [4, 0]), ([1, 8], [4, 8])], ids=["rows", "part of a row"])
def test_a_task_writes_a_window_of_orchestration(shape: list[int], at: list[int]):
    x, o = values((8, 16), "FP32", 0), sevens((8, 16), "FP32")
    run(WINDOW.format(shape=shape, at=at), x, o)
    want, window = sevens((8, 16), "FP32"), tuple(slice(a, a + n) for a, n in zip(at, shape, strict=True))
    want[window] = 2 * x[window]
    same(o, want)


def test_a_window_of_columns_is_not_written():
    """PyPTO's simulators put its rows one after the other: refused, and nothing is written."""
    x, o = values((8, 16), "FP32", 0), sevens((8, 16), "FP32")
    with pytest.raises(FaultError, match="window of columns that orchestration cut"):
        run(WINDOW.format(shape=[8, 8], at=[0, 8]), x, o)
    same(o, sevens((8, 16), "FP32"))


COLUMNS = {
    "a column of a tile": ("u = pl.exp(x)\no[:, :] = pl.mul(u[:, 3:4], 2.0)", (16, 64), "a5"),
    "into a column": ("u = pl.exp(x)\no[:, :] = pl.transpose(u, 0, 1)", (1, 16), "both"),
    "of a column": ("u = pl.exp(x)\no[:, :] = pl.reshape(pl.transpose(u, 0, 1), [16, 1])", (16, 1), "a2a3"),
}


@pytest.mark.parametrize("on", ["a2a3", "a5"])
@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_cannot_be_assembled(case: str, on: str):
    """The verdicts of PyPTO's assembler for the two chips."""
    body, shape, refused = COLUMNS[case]
    x, o = values(shape, "FP32", 0, -1, 1), sevens((16, 1), "FP32")
    source = incore({"x": tensor(shape, "FP32"), "o": out((16, 1), "FP32")}, body)
    if refused in (on, "both"):
        with pytest.raises(FaultError, match=r"column|pl\.transpose"):
            run(source, x, o, on=on)
        same(o, sevens((16, 1), "FP32"))
    else:
        run(source, x, o, on=on)
        assert not (o == 7).any()
