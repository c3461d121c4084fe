"""Operations take the arguments that PyPTO's take, under the names that they have there."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few, incore, out, padded, run, same, seeds, sevens, tensor, values

from helpers.errors import KernelError
from helpers.interpret.ops import OPS

POSITIONAL = {"x": "[8, 16]", "o": "[8, 16]"}


@pytest.mark.parametrize("path", sorted(OPS))
def test_every_argument_arrives(path: str):
    """Each parameter has a parameter of its own in the function that interprets the operation."""
    record = OPS[path]
    own = list(inspect.signature(record.compute).parameters.values())[2:]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own):
        return
    names = record.own_names(path)
    assert list(names) == list(record.signatures[path].parameters)
    assert len(set(names.values())) == len(names)
    assert set(names.values()) <= {p.name for p in own}
    needed = {n for n, p in record.signatures[path].parameters.items() if p.default is p.empty}
    mine = {p.name for p in own if p.default is p.empty}
    assert mine <= {names[n] for n in needed}, "PyPTO lets it be left out"


CALLS = {
    "pl.slice(input=x, offset=[2, 0], shape=[4, 16])": lambda x: x[2:6],
    "pl.tensor.slice(x, offset=[2, 0], shape=[4, 16])": lambda x: x[2:6],
    "pl.reshape(input=x, shape=[4, 32])": lambda x: x.view(4, 32),
    "pl.transpose(axis2=1, axis1=0, input=x)": lambda x: x.t(),
    "pl.row_expand_sub(rhs=x[:, 3:4], lhs=x)": lambda x: x - x[:, 3:4],
    "pl.tensor.row_expand_sub(row_vec=x[:, 3:4], tensor=x)": lambda x: x - x[:, 3:4],
    "pl.tensor.abs(input=x)": lambda x: x.abs(),
    "pl.set_validshape(input=x, valid_cols=16, valid_rows=8)": lambda x: x,
    "pl.rsqrt(pl.add(pl.abs(x), 1.0), True)": lambda x: (x.abs() + 1).rsqrt(),
    "pl.full(shape=[4, 8], value=2.5, dtype=pl.FP32)": lambda x: x.new_full((4, 8), 2.5),
}


@pytest.mark.parametrize("call", CALLS)
@few
@given(seeds)
def test_by_name(call: str, seed: int):
    x = values((8, 16), "FP32", seed)
    want = CALLS[call](x).contiguous()
    o = sevens(want.shape, "FP32")
    run(incore({"x": tensor(x.shape, "FP32"), "o": out(o.shape, "FP32")}, f"o[:, :] = pl.neg({call})"), x, o)
    same(o, -want)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("pl.add(x)", "missing a required argument: 'rhs'"),
        ("pl.add(x, x, x)", "too many positional arguments"),
        ("pl.add(x, other=x)", "missing a required argument: 'rhs'"),
        ("pl.mul(x, x, tmp=x)", "unexpected keyword argument 'tmp'"),
        ("pl.row_sum(x, x, x)", "too many positional arguments"),
        ("pl.tensor.row_sum(x, x)", "too many positional arguments"),
        ("pl.batch_matmul(x, x, pl.FP32)", "too many positional arguments"),
        ("pl.slice(x, shape=[4, 16])", "missing a required argument: 'offset'"),
        ("pl.row_sum(x, x)", "pl.row_sum of a tensor with tmp_tile"),
        ("pl.rem(x, x)", "missing a required argument: 'tmp'"),
    ],
)
def test_refused(call: str, words: str):
    x = o = values((8, 16), "FP32", 0)
    before = o.clone()
    with pytest.raises(KernelError, match="(?s)" + words + r".*\n  at .*:7:\d+"):
        run(incore({"x": tensor(x.shape, "FP32"), "o": out(o.shape, "FP32")}, f"o[:, :] = {call}"), x, o)
    same(o, before)


@pytest.mark.parametrize("fold", ["row_sum", "row_argmax", "col_argmin"])
@few
@given(st.integers(1, 9), st.integers(1, 17), st.booleans(), seeds)
def test_scratch_of_a_tile(fold: str, r: int, c: int, large: bool, seed: int):
    """A tile form works in the scratch it is given; the result is that of the tensor form, and so is the peak."""
    r, c = padded(r, "FP32"), padded(c, "FP32")
    shape, kind = ((r, 1) if fold.startswith("row") else (1, c)), "INT32" if "arg" in fold else "FP32"
    room = [r + large, c + 8 * large] if fold != "row_argmax" else [r, c]
    x, o, p = values((r, c), "FP32", seed), sevens(shape, kind), sevens(shape, kind)
    kinds = {"x": tensor(x.shape, "FP32"), "o": out(shape, kind)}
    run(incore(kinds, f"o[:, :] = pl.{fold}(x)"), x, o)
    body = f"""
    t = pl.load(x, [0, 0], [{r}, {c}])
    room = pl.create_tile({room}, dtype=pl.FP32)
    o = pl.store(pl.{fold}(t, room), [0, 0], o)
    """
    trace = run(incore(kinds, body), x, p)
    same(o, p)
    assert trace.peaks()["UB"] >= 4 * (r * c + room[0] * room[1])


def test_task_ids_are_listed_in_deps():
    x, o = values((8, 16), "FP32", 0), sevens((8, 16), "FP32")
    source = f"""
@pl.jit
def k(x: {tensor(x.shape, "FP32")}, o: {out(o.shape, "FP32")}):
    with pl.at(level=pl.Level.CORE_GROUP) as first:
        o[:, :] = pl.neg(x)
    both = pl.system.task_dummy(deps=[first])
    with pl.at(level=pl.Level.CORE_GROUP, deps=[both]):
        o[:, :] = pl.abs(o[:, :])
    return o
"""
    run(source, x, o)
    same(o, x.abs())
