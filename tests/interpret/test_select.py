"""Comparisons, masks, selection, partial arithmetic, triangles and random numbers, written down another way."""

from __future__ import annotations

import operator
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import (
    FLOATS,
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
)

from helpers.errors import FaultError, KernelError
from helpers.interpret.ops.select import philox

CODES = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
COMPARED = ("FP32", "FP16", "INT32", "INT16")


def few_values(shape: tuple[int, ...], dtype: str, seed: int) -> torch.Tensor:
    """Values with many equal ones."""
    return values(shape, dtype, seed, -2, 3).float().round().to(TORCH[dtype])


@few
@given(rows, columns, st.sampled_from(COMPARED), st.integers(0, 5), st.booleans(), seeds)
def test_cmp(r: int, c: int, dtype: str, code: int, number: bool, seed: int):
    """A5 compares with a number, or two tiles of 32 columns; A2/A3 has fewer types."""
    number = number or dtype not in ("FP32", "INT32")
    c = padded(c, dtype)
    a, b, o = few_values((r, c), dtype, seed), few_values((r, c), dtype, seed + 1), sevens((r, c), dtype)
    shapes = {"a": tensor((r, c), dtype), "b": tensor((r, c), dtype), "o": out((r, c), dtype)}
    source = incore(shapes, f"o[:, :] = pl.cmp(a, {'1' if number else 'b'}, cmp_type={code})")
    run(source, a, b, o, on="a5" if number else "a2a3")
    same(o, CODES[code](a, 1 if number else b).to(TORCH[dtype]))


@few
@given(rows, st.integers(1, 300), st.integers(0, 5), seeds)
def test_packed_masks(r: int, c: int, code: int, seed: int):
    """One bit an element, the lowest first: as numpy packs them."""
    c = padded(c, "FP32")
    a, b = few_values((r, c), "FP32", seed), few_values((r, c), "FP32", seed + 1)
    n = -(-c // 8)
    o = sevens((r, -(-n // 32) * 32), "UINT8")
    shapes = {"a": tensor((r, c), "FP32"), "b": tensor((r, c), "FP32"), "o": out(o.shape, "UINT8")}
    run(
        incore(shapes, f"pl.store(pl.tile.cmp({whole('a', r, c)}, {whole('b', r, c)}, cmp_type={code}), [0, 0], o)"),
        a,
        b,
        o,
    )
    want = np.packbits(CODES[code](a, b).numpy(), axis=1, bitorder="little")
    assert (o[:, :n].numpy() == want).all()
    assert (o[:, n:] == 7).all()


def whole(name: str, r: int, c: int) -> str:
    return f"pl.load({name}, [0, 0], [{r}, {c}])"


@few
@given(rows, st.sampled_from(["FP32", "FP16", "INT32", "INT16"]), st.integers(0, 5), seeds)
def test_two_tiles_on_a5(r: int, dtype: str, code: int, seed: int):
    """Of 32 columns, whose mask has as many bytes; what is 16 or 64 columns wide its assembler refuses."""
    a, b, o = few_values((r, 64), dtype, seed), few_values((r, 64), dtype, seed + 1), sevens((r, 64), dtype)
    shapes = {"a": tensor((r, 64), dtype), "b": tensor((r, 64), dtype), "o": out((r, 64), dtype)}
    part = "[:, i * 32 : i * 32 + 32]"
    body = f"for i in pl.range(2):\n    o{part} = pl.cmp(a{part}, b{part}, cmp_type={code})"
    run(incore(shapes, body), a, b, o, on="a5")
    same(o, CODES[code](a, b).to(TORCH[dtype]))
    for n in (16, 64):
        with pytest.raises(FaultError, match="of 32 columns only"):
            run(incore(shapes, f"o[:, 0:{n}] = pl.cmp(a[:, 0:{n}], b[:, 0:{n}])"), a, b, o, on="a5")


MASKS = ["pl.tile.cmp(m, z, cmp_type=4)", "pl.cmps(m, 0, cmp_type=4)", "pl.cmp(m, z, cmp_type=4)"]


@pytest.mark.parametrize("mask", MASKS)
@few
@given(rows, st.integers(1, 70), st.sampled_from((*FLOATS, "INT32", "UINT8")), st.booleans(), seeds)
def test_sel(mask: str, r: int, c: int, dtype: str, number: bool, seed: int):
    number = number and dtype not in ("BF16", "UINT8")  # no instruction with a number on A2/A3
    c = padded(c, "FP32", dtype)
    named = {
        "m": few_values((3 * r, c), "FP32", seed), "z": torch.zeros(3 * r, c), "a": values((3 * r, c), dtype, seed),
        "b": values((3 * r, c), dtype, seed + 1), "o": sevens((3 * r, c), dtype),
    }  # fmt: skip
    types = {n: (out if n == "o" else tensor)((3 * r, c), "FP32" if n in "mz" else dtype) for n in named}
    m, z, a, b = (f"pl.load({n}, [q * {r}, 0], [{r}, {c}])" for n in "mzab")
    of_blocks = mask.replace("m,", f"{m},").replace("z,", f"{z},")
    chosen = f"pl.sels(p, {a}, t, 5)" if number else f"pl.sel(p, {a}, {b}, t)"
    run(
        f"@pl.jit\ndef k({', '.join(f'{n}: {t}' for n, t in types.items())}):\n    for q in pl.spmd(3):\n"
        f"        t = pl.create_tile([1, 256], pl.{dtype if number else 'INT32'})\n        p = {of_blocks}\n"
        f"        pl.store({chosen}, [q * {r}, 0], o)\n",
        *named.values(),
    )  # fmt: skip
    m, _, a, b, o = named.values()
    same(o, torch.where(m > 0, a, torch.full_like(b, 5) if number else b))


def test_masks_as_words():
    """A mask may come from memory, in INT32 words."""
    words = torch.tensor([[-1, 1, *6 * [5]], [0, -(2**31), *6 * [9]]], dtype=torch.int32)
    a, o = values((2, 256), "FP32", 0), sevens((2, 256), "FP32")
    shapes = {"w": tensor((2, 8), "INT32"), "a": tensor((2, 256), "FP32"), "o": out((2, 256), "FP32")}
    body = """
t = pl.create_tile([1, 64], pl.FP32)
pl.store(pl.sels(pl.load(w, [0, 0], [2, 8]), pl.load(a, [0, 0], [2, 256]), t, 0.0), [0, 0], o)
"""
    run(incore(shapes, body), words, a, o)
    bits = torch.from_numpy(np.unpackbits(words.numpy().view(np.uint8), axis=1, bitorder="little").astype(bool))
    same(o, torch.where(bits, a, 0))


@few
@given(rows, columns, st.sampled_from(taken("lrelu", FLOATS)), st.booleans(), seeds)
def test_leaky(r: int, c: int, dtype: str, number: bool, seed: int):
    c = padded(c, dtype)
    x, s, o = values((r, c), dtype, seed), values((r, c), dtype, seed + 1), sevens((r, c), dtype)
    shapes = {"x": tensor((r, c), dtype), "s": tensor((r, c), dtype), "o": out((r, c), dtype)}
    call = f"pl.lrelu({whole('x', r, c)}, 0.5)"
    if not number:
        call = f"pl.prelu({whole('x', r, c)}, {whole('s', r, c)}, pl.create_tile([16, 32], pl.UINT8))"
    run(incore(shapes, f"pl.store({call}, [0, 0], o)"), x, s, o)
    slope = 0.5 if number else s.double()
    same(o, torch.where(x > 0, x.double(), x.double() * slope).to(TORCH[dtype]))


PARTS = {"part_add": torch.add, "part_mul": torch.mul, "part_max": torch.maximum, "part_min": torch.minimum}


@pytest.mark.parametrize("name", PARTS)
@few
@given(rows, columns, st.data(), seeds)
def test_parts(name: str, r: int, c: int, data, seed: int):
    """Where the second operand is not valid, the first alone; nothing where the first is not."""
    c = padded(c, "FP32")
    valid = [data.draw(st.tuples(st.integers(1, r), st.integers(1, c))) for _ in "ab"]
    a, b, o = values((r, c), "FP32", seed), values((r, c), "FP32", seed + 1), sevens((r, c), "FP32")
    shapes = {"a": tensor((r, c), "FP32"), "b": tensor((r, c), "FP32"), "o": out((r, c), "FP32")}
    slices = [f"pl.slice({n}, [{r}, {c}], [0, 0], valid_shape=[{v}, {w}])" for n, (v, w) in zip("ab", valid)]
    run(incore(shapes, f"o[:, :] = pl.{name}({', '.join(slices)})"), a, b, o)
    want = sevens((r, c), "FP32")
    for i in range(valid[0][0]):
        for j in range(valid[0][1]):
            inside = i < valid[1][0] and j < valid[1][1]
            want[i, j] = PARTS[name](a[i, j], b[i, j]) if inside else a[i, j]
    same(o, want)


THREE = {
    "pl.addc(a, b, c)": lambda a, b, c: a + b + c, "pl.subc(a, b, c)": lambda a, b, c: a - b - c,
    "pl.addsc(a, 3, c)": lambda a, b, c: a + 3 + c, "pl.subsc(a, 3, c)": lambda a, b, c: a - 3 - c,
}  # fmt: skip


@pytest.mark.parametrize("call", THREE)
@few
@given(rows, columns, seeds)
def test_three_operands(call: str, r: int, c: int, seed: int):
    c = padded(c, "INT32")
    a, b, d = (values((r, c), "INT32", seed + n) for n in range(3))
    o = sevens((r, c), "INT32")
    shapes = {n: tensor((r, c), "INT32") for n in "abc"} | {"o": out((r, c), "INT32")}
    tiles = "\n".join(f"t{n} = pl.load({n}, [0, 0], [{r}, {c}])" for n in "abc")
    call_of_tiles = re.sub(r"\b([abc])\b", r"t\1", call)
    run(incore(shapes, f"{tiles}\npl.store({call_of_tiles}, [0, 0], o)"), a, b, d, o)
    same(o, THREE[call](a, b, d))


@few
@given(rows, columns, st.integers(-12, 12), st.booleans(), st.sampled_from(("INT32", "FP32")))
def test_tri(r: int, c: int, diagonal: int, upper: bool, dtype: str):
    c = padded(c, dtype)
    o = sevens((r, c), dtype)
    body = f"pl.store(pl.tri({diagonal}, [{r}, {c}], dtype=pl.{dtype}, upper={upper}), [0, 0], o)"
    run(incore({"o": out((r, c), dtype)}, body), o)
    ones = np.ones((r, c))
    same(o, torch.from_numpy(np.triu(ones, diagonal) if upper else np.tril(ones, diagonal)).to(TORCH[dtype]))


def test_tri_writes_what_is_valid():
    o = sevens((4, 8), "INT32")
    run(incore({"o": out((4, 8), "INT32")}, "pl.store(pl.tri(0, [4, 8], valid_shape=[2, 3]), [0, 0], o)"), o)
    want = sevens((4, 8), "INT32")
    want[:2, :3] = torch.tensor([[1, 0, 0], [1, 1, 0]])
    same(o, want)


# Known answers of Philox4x32-10 (Random123, tests/kat_vectors): counter, key, result.
PHILOX = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip


def word(x: int) -> np.ndarray:
    return np.array(x, np.uint64)


@pytest.mark.parametrize(("counter", "key", "want"), PHILOX)
def test_philox(counter: tuple, key: tuple, want: tuple):
    assert tuple(int(w) for w in philox([word(c) for c in counter], [word(k) for k in key], 10)) == want


def test_random_places():
    """Four numbers of one counter side by side, the next counter's behind them; rows go on counting."""
    o = sevens((2, 8), "INT32")
    run(incore({"o": out((2, 8), "INT32")}, "o[:, :] = pl.random(3, 4, 5, 0, 0, 0, [2, 8], dtype=pl.INT32)"), o)
    for row, first in ((0, 5), (1, 13)):  # a row of 8 columns moves the counter on by (8 - 1) % 64 + 1
        for k in range(2):
            want = philox([word(w) for w in (first + k, 0, 0, 0)], [word(3), word(4)], 10)
            assert [int(v) & 0xFFFFFFFF for v in o[row, 4 * k : 4 * k + 4]] == [int(w) for w in want]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pl.cmp(x, i)", "no promotion"),
        ("pl.cmp(x, x, cmp_type=6)", "comparison 6"),
        ("pl.sel(pl.cmps(ty, 0.0), tx, tx, tx)", "mask"),
        ("pl.sel(pl.cmps(tx, 0.0), tx, ti, tx)", "no promotion"),
        ("pl.sels(pl.cmps(tx, 0.0), tx, tx, tx)", "pl.sel takes two tiles"),
        ("pl.lrelu(ti, 2)", "INT32"),
        ("pl.sel(pl.cmps(x, 0.0), x, x, x)", "tiles only"),
        ("pl.part_add(x, y)", "shapes do not match"),
        ("pl.random(1, 2, 3, 4, 5, 6, [4, 304], rounds=8)", "8 rounds"),
    ],
)
def test_faults(body: str, words: str):
    kinds = {"x": ((4, 304), "FP32"), "y": ((4, 8), "FP32"), "i": ((4, 304), "INT32")}
    shapes = {n: tensor(*k) for n, k in kinds.items()} | {"o": out((4, 304), "FP32")}
    args = [values(*k, 0) for k in kinds.values()]
    tiles = "\n".join(f"t{n} = pl.load({n}, [0, 0], {list(k[0])})" for n, k in kinds.items() if f"t{n}" in body)
    with pytest.raises((FaultError, KernelError), match=words):
        run(incore(shapes, f"{tiles}\nt = {body}\no[:, :] = pl.mul(x, 2.0)"), *args, sevens((4, 304), "FP32"))
