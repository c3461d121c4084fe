"""Views of other types and layouts, copies into larger tiles, elements written in place, integer products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import columns, few, incore, out, padded, rows, run, same, seeds, sevens, tensor, values

from helpers.errors import FaultError
from helpers.interpret.ops.cube import multiply

NUMPY = {"FP32": "<f4", "INT32": "<i4", "INT16": "<i2", "FP16": "<f2", "UINT8": "u1", "INT64": "<i8"}


@few
@given(rows, st.integers(1, 4), st.sampled_from(sorted(NUMPY)), st.sampled_from(sorted(NUMPY)), seeds)
def test_reinterpret(r: int, c: int, source: str, target: str, seed: int):
    if source == target:
        return
    raw = np.random.default_rng(seed).integers(0, 256, (r, 32 * c), dtype=np.uint8)
    x = torch.from_numpy(raw.view(NUMPY[source]).copy())
    want = torch.from_numpy(raw.view(NUMPY[target]).copy())
    o = sevens(tuple(want.shape), target)
    shapes = {"x": tensor(x.shape, source), "o": out(o.shape, target)}
    run(incore(shapes, f"o[:, :] = pl.reinterpret_view(x, pl.{target})"), x, o)
    assert (o.numpy().view(np.uint8) == raw).all()


def test_unsigned_carriers():
    """UINT32 and UINT16 have wider torch types here; their bits are those of the device."""
    x, o, q = torch.tensor([[-1.0, 2.0] * 4]), sevens((1, 8), "INT64"), torch.full((1, 16), 7, dtype=torch.int32)
    shapes = {"x": tensor((1, 8), "FP32"), "o": out((1, 8), "UINT32"), "q": out((1, 16), "UINT16")}
    run(
        incore(shapes, "o[:, :] = pl.reinterpret_view(x, pl.UINT32)\nq[:, :] = pl.reinterpret_view(x, pl.UINT16)"),
        x,
        o,
        q,
    )
    assert o.tolist() == [[0xBF800000, 0x40000000] * 4]
    assert q.tolist() == [[0, 0xBF80, 0, 0x4000] * 4]


def test_reinterpret_with_a_shape():
    x, o = values((2, 16), "FP32", 0), sevens((4, 16), "INT16")
    body = "o[:, :] = pl.reinterpret_view(x, pl.INT16, shape=[4, 16])"
    run(incore({"x": tensor((2, 16), "FP32"), "o": out((4, 16), "INT16")}, body), x, o)
    same(o, x.view(torch.int16).view(4, 16))


def test_view_of_a_tensor():
    x, o = values((4, 16), "FP32", 0), sevens((8, 8), "FP32")
    types = f"x: {tensor((4, 16), 'FP32')}, o: {out((8, 8), 'FP32')}"
    run(f"@pl.jit\ndef k({types}):\n    v = pl.tensor.view(x, [8, 8])\n    with pl.at(level=pl.Level.CORE_GROUP):\n"
        "        o[:, :] = pl.mul(v, 2.0)\n", x, o)  # fmt: skip
    same(o, x.view(8, 8) * 2)


def test_view_of_another_layout():
    x, o = values((8, 16), "FP32", 0), sevens((16, 8), "FP32")
    types = f"x: {tensor((8, 16), 'FP32')}, o: {out((16, 8), 'FP32')}"
    run(f"@pl.jit\ndef k({types}):\n    v = pl.tensor.view(x, layout=pl.TensorLayout.DN)\n"
        "    with pl.at(level=pl.Level.CORE_GROUP):\n        o[:, :] = pl.mul(v, 2.0)\n", x, o)  # fmt: skip
    same(o, x.t() * 2)


@few
@given(rows, columns, st.integers(0, 5), st.integers(0, 5), st.sampled_from(("zero", "min", "max")), st.data(), seeds)
def test_fillpad_expand(r: int, c: int, down: int, right: int, pad: str, data, seed: int):
    v, w = data.draw(st.integers(1, r)), data.draw(st.integers(1, c))
    c, right = padded(c, "FP32"), 8 * right
    x, o = values((r, c), "FP32", seed), sevens((r + down, c + right), "FP32")
    body = f"t = pl.slice(x, [{r}, {c}], [0, 0], valid_shape=[{v}, {w}])\n"
    body += f"o[:, :] = pl.fillpad_expand(t, [{r + down}, {c + right}], pl.PadValue.{pad})"
    run(incore({"x": tensor(x.shape, "FP32"), "o": out(o.shape, "FP32")}, body), x, o)
    want = torch.full(o.shape, {"zero": 0.0, "min": -torch.inf, "max": torch.inf}[pad])
    want[:v, :w] = x[:v, :w]
    same(o, want)


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_expand_clone(axis: int | None):
    shape = tuple(1 if a == axis else n for a, n in enumerate((2, 4, 8)))
    x, o = values(shape, "FP32", 0), sevens((2, 4, 8), "FP32")
    run(incore({"x": tensor(shape, "FP32"), "o": out(o.shape, "FP32")}, "o = pl.expand_clone(x, o)"), x, o)
    same(o, x.expand(2, 4, 8).contiguous())


def test_extract():
    x, e, o = values((32, 32), "FP32", 0), torch.eye(16), sevens((16, 16), "FP32")
    body = "t = pl.load(x, [0, 0], [32, 32], target_memory=pl.Mem.Mat)\n"
    body += "one = pl.move(pl.load(e, [0, 0], [16, 16], target_memory=pl.Mem.Mat), pl.Mem.Right)\n"
    body += "pl.store(pl.matmul(pl.tile.extract(t, 16, 8, [16, 16], target_memory=pl.Mem.Left), one), [0, 0], o)"
    run(
        incore({"x": tensor((32, 32), "FP32"), "e": tensor((16, 16), "FP32"), "o": out((16, 16), "FP32")}, body),
        x,
        e,
        o,
    )
    same(o, x[16:32, 8:24])


def test_an_element_written_in_place():
    """`pl.write` needs no re-binding, and a tile that shares memory with a tensor leaves the tensor alone."""
    x, o = values((6, 8), "FP32", 0), sevens((6, 8), "FP32")
    types = f"x: {tensor((6, 8), 'FP32')}, o: {out((6, 8), 'FP32')}"
    run(f"@pl.jit\ndef k({types}):\n    for b in pl.spmd(6):\n        t = pl.slice(x, [1, 8], [b, 0])\n"
        "        pl.write(t, [0, b], pl.cast(pl.cast(b, pl.INT32), pl.FP32) * 10.0)\n"
        "        o[b : b + 1, :] = t\n", x, o)  # fmt: skip
    want = x.clone()
    want[range(6), range(6)] = torch.arange(6) * 10.0
    same(o, want)
    same(x, values((6, 8), "FP32", 0))


@few
@given(st.integers(1, 40), st.integers(1, 700), st.integers(1, 40), st.booleans(), st.booleans(),
       st.sampled_from(("INT8", "UINT8", "INT32")), seeds)  # fmt: skip
def test_integer_products(m: int, k: int, n: int, left: bool, right: bool, dtype: str, seed: int):
    """Exact, transposed or not, windows included."""
    a, b = values((m, k + 3), dtype, seed, -128, 255)[:, :k], values((k, n + 5), dtype, seed + 1, -128, 255)[:, :n]
    a = a.t().contiguous().t() if left else a
    b = b.t().contiguous().t() if right else b
    same(multiply(a, b), (a.long() @ b.long()).to(torch.int32))


def test_the_largest_integer_products():
    a = torch.full((16, 4096), -128, dtype=torch.int8)
    same(multiply(a, a.t()), torch.full((16, 16), 4096 * 2**14, dtype=torch.int32))
    a, b = values((3, 5, 64), "INT8", 0, -128, 127), values((3, 64, 7), "INT8", 1, -128, 127)
    same(multiply(a, b), torch.matmul(a.long(), b.long()).to(torch.int32))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pl.reinterpret_view(x, pl.FP32)", "another type"),
        ("pl.reinterpret_view(x, pl.INT4)", "4-bit integers"),
        ("pl.reinterpret_view(pl.set_validshape(x, 4, 3), pl.INT64)", "does not divide"),
        ("pl.reinterpret_view(x, pl.INT16, shape=[4, 16])", "not the same"),
        ("pl.fillpad_expand(x, [3, 16])", "smaller"),
        ("pl.expand_clone(x, x)", "three axes"),
    ],
)
def test_faults(body: str, words: str):
    shapes = {"x": tensor([4, 16], "FP32"), "o": out([4, 16], "FP32")}
    with pytest.raises(FaultError, match=words):
        run(
            incore(shapes, f"t = {body}\no[:, :] = pl.mul(x, 2.0)"), values((4, 16), "FP32", 0), sevens((4, 16), "FP32")
        )
