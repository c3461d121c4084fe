"""golden.spec: tensors and scalars come out as their specs say, and specs that cannot be right are refused."""

from __future__ import annotations

import ctypes
import math
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden import ScalarSpec, TensorSpec
from helpers.errors import InputError

SHAPES = st.lists(st.integers(0, 4), max_size=3)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int32, torch.int8])
RANGES = {
    torch.int8: (-128, 127),
    torch.int32: (-(2**31), 2**31 - 1),
    torch.int64: (-(2**63), 2**63 - 1),
    torch.uint8: (0, 255),
}


@given(SHAPES, DTYPES, st.one_of(st.none(), st.integers(-100, 100)))
def test_zeros_and_constants(shape: list[int], dtype: torch.dtype, value: int | None) -> None:
    made = TensorSpec("x", shape, dtype, init_value=value).create_tensor()
    assert list(made.shape) == shape
    assert made.dtype == dtype
    assert bool((made == (value or 0)).all())


@pytest.mark.parametrize("factory", [torch.randn, torch.rand, torch.zeros, torch.ones])
def test_torch_factories_get_shape_and_dtype(factory) -> None:
    torch.manual_seed(3)
    made = TensorSpec("x", [5, 7], torch.bfloat16, init_value=factory).create_tensor()
    torch.manual_seed(3)
    assert torch.equal(made, factory([5, 7], dtype=torch.bfloat16))


def test_a_tensor_is_copied_and_converted() -> None:
    source = torch.arange(6.0).reshape(2, 3)
    same, other = (TensorSpec("x", [2, 3], dtype, source).create_tensor() for dtype in (torch.float32, torch.int32))
    assert torch.equal(same, source)
    assert torch.equal(other, torch.arange(6, dtype=torch.int32).reshape(2, 3))
    same.zero_()
    assert float(source.sum()) == 15, "the kernel would have written into the caller's tensor"


def test_a_callable_is_called_and_its_tensor_copied() -> None:
    kept = torch.ones(4)
    spec = TensorSpec("x", [4], torch.float32, init_value=lambda: kept)
    spec.create_tensor().zero_()
    assert torch.equal(spec.create_tensor(), torch.ones(4))
    from_list = TensorSpec("x", [2], torch.int32, init_value=lambda: [1, 2]).create_tensor()
    assert torch.equal(from_list, torch.tensor([1, 2], dtype=torch.int32))


def test_fill_writes_into_a_tensor_of_zeros() -> None:
    seen = []

    def fill(made: torch.Tensor) -> None:
        seen.append((made, made.clone()))
        made[1:] = 2

    spec = TensorSpec("x", [3], torch.int32, fill=fill, is_output=True)
    made = spec.create_tensor()
    assert made.tolist() == [0, 2, 2]
    assert seen[0][0] is made
    assert seen[0][1].tolist() == [0, 0, 0]
    assert spec.create_tensor().data_ptr() != made.data_ptr()
    assert spec.is_input


@pytest.mark.parametrize("init", [torch.zeros(3), lambda: torch.zeros(2, 2), lambda: torch.zeros(4, 1)])
def test_another_shape_is_refused(init) -> None:
    with pytest.raises(InputError, match=r"'x'.*shape.*\[4\]"):
        TensorSpec("x", [4], torch.float32, init_value=init).create_tensor()


@pytest.mark.parametrize("value", [None, "seven", {1: 2}, [1, "a"]])
def test_what_is_no_tensor_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=rf"'x': init_value returned {type(value).__name__}"):
        TensorSpec("x", [2], torch.float32, init_value=lambda: value).create_tensor()


def test_init_value_set_later_counts() -> None:
    spec = TensorSpec("x", [2], torch.float32)
    spec.init_value = 7
    assert spec.create_tensor().tolist() == [7.0, 7.0]
    spec.init_value = "seven"
    with pytest.raises(InputError, match="str"):
        spec.create_tensor()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a/b"}, "identifier"),
        ({"name": ""}, "identifier"),
        ({"shape": [2, -1]}, "shape"),
        ({"shape": [2.0]}, "shape"),
        ({"shape": 2}, "a list of integers"),
        ({"shape": None}, "a list of integers"),
        ({"dtype": "float32"}, "dtype"),
        ({"init_value": "zeros"}, "init_value"),
        ({"fill": 3}, "fill"),
        ({"fill": lambda made: None, "init_value": 0}, "fill"),
        ({"resident": True}, "resident"),
        ({"resident": -1}, "resident"),
        ({"resident": "spread"}, "resident"),
    ],
)
def test_impossible_tensor_specs_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TensorSpec(**{"name": "x", "shape": [2], "dtype": torch.float32, **arguments})


@pytest.mark.parametrize(("resident", "expected"), [(None, False), (False, False), (0, True), ("stacked", True)])
def test_resident(resident, expected: bool) -> None:
    assert TensorSpec("x", [2], torch.float32, resident=resident).is_resident is expected


@pytest.mark.parametrize(("init", "output", "reads"), [(None, True, False), (0, True, True), (None, False, True)])
def test_only_a_pure_output_is_not_read(init, output: bool, reads: bool) -> None:
    assert TensorSpec("x", [2], torch.float32, init_value=init, is_output=output).is_input is reads


@given(st.data(), st.sampled_from(list(RANGES)))
def test_integers_in_range_are_exact(data: st.DataObject, dtype: torch.dtype) -> None:
    low, high = RANGES[dtype]
    value = data.draw(st.one_of(st.integers(low, high), st.sampled_from([low, high])))
    spec = ScalarSpec("n", dtype, value)
    assert spec.value.dtype == dtype
    assert spec.value.ndim == 0
    assert spec.to_python() == value
    assert spec.to_ctypes().value == value
    assert ctypes.sizeof(spec.to_ctypes()) == torch.empty(0, dtype=dtype).element_size()


@pytest.mark.parametrize("dtype", list(RANGES))
@pytest.mark.parametrize("past", [-1, 1])
def test_integers_out_of_range_are_refused(dtype: torch.dtype, past: int) -> None:
    value = RANGES[dtype][0 if past < 0 else 1] + past
    with pytest.raises(InputError, match="range"):
        ScalarSpec("n", dtype, value)


@given(st.floats(width=32))
def test_float32_keeps_its_bits(value: float) -> None:
    spec = ScalarSpec("x", torch.float32, value)
    if math.isnan(value):
        assert math.isnan(spec.to_python())
    else:
        assert struct.pack("<f", spec.to_python()) == struct.pack("<f", value)
        assert bytes(spec.to_ctypes()) == struct.pack("<f", value)


@pytest.mark.parametrize(
    ("dtype", "value", "kept", "bits"),
    [
        (torch.bfloat16, 0.1, 0.10009765625, 0x3DCD),
        (torch.bfloat16, -2, -2.0, 0xC000),
        (torch.float16, 0.1, 0.0999755859375, 0x2E66),
        (torch.float16, 65504, 65504.0, 0x7BFF),
    ],
)
def test_half_precision_rounds_and_travels_as_bits(dtype: torch.dtype, value, kept: float, bits: int) -> None:
    spec = ScalarSpec("x", dtype, value)
    assert spec.to_python() == kept
    assert isinstance(spec.to_ctypes(), ctypes.c_uint16)
    assert spec.to_ctypes().value == bits


def test_bool() -> None:
    assert ScalarSpec("b", torch.bool, True).to_python() is True
    assert ScalarSpec("b", torch.bool, False).to_ctypes().value is False


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (torch.int32, True, "bool"),
        (torch.int32, 1.0, "float"),
        (torch.bool, 1, "int"),
        (torch.float32, True, "bool"),
        (torch.float32, "1", "str"),
        (torch.float32, 1e300, "range"),
        (torch.float32, 10**400, "range"),
        (torch.float16, 65536, "range"),
        (torch.float64, 1.0, "supported"),
        (torch.int32, torch.zeros(1, dtype=torch.int32), "0-dim"),
        (torch.int32, torch.tensor(1, dtype=torch.int64), "int64"),
    ],
)
def test_impossible_scalars_are_refused(dtype: torch.dtype, value, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScalarSpec("s", dtype, value)


def test_a_scalar_tensor_is_taken_as_it_is() -> None:
    given_tensor = torch.tensor(1.5, dtype=torch.bfloat16)
    assert ScalarSpec("s", torch.bfloat16, given_tensor).value is given_tensor
