"""What a kernel is called with: one TensorSpec or ScalarSpec for each of its parameters, in their order."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from helpers.errors import InputError

_FACTORIES = (torch.randn, torch.rand, torch.zeros, torch.ones)

# torch dtype -> (C type it travels as, smallest value, largest value)
_INTEGERS: dict[torch.dtype, tuple[type[Any], int, int]] = {
    torch.int8: (ctypes.c_int8, -(2**7), 2**7 - 1),
    torch.int32: (ctypes.c_int32, -(2**31), 2**31 - 1),
    torch.int64: (ctypes.c_int64, -(2**63), 2**63 - 1),
    torch.uint8: (ctypes.c_uint8, 0, 2**8 - 1),
}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)

SUPPORTED_SCALAR_DTYPES: tuple[torch.dtype, ...] = (*_INTEGERS, torch.bool, *_FLOATS)
"""The dtypes a ScalarSpec can have."""


@dataclass
class TensorSpec:
    """A tensor parameter of a kernel: its shape and dtype, and how to make it.

    Attributes:
        name: The parameter's name; also the stem of its file in a golden-data directory.
        shape: Sizes of the dimensions, in elements.
        dtype: Element type.
        init_value: What the tensor holds before the run. None: zeros. A number: that number everywhere.
            A tensor: a copy of it. One of `torch.randn`, `torch.rand`, `torch.zeros`, `torch.ones`: called
            with the shape and dtype. Any other callable: called with nothing; what it returns is copied.
            A tensor or returned value of another dtype is converted; one of another shape is an error.
        fill: Instead of `init_value`: called with the new tensor, all zeros, to write values into it. For a
            tensor too large to be made twice. What it does not write takes no memory.
        shared: Instead of `init_value`: called with nothing, and what it returns is used as it is, without a copy. For
            an input that is too large to be made for every run. The kernel writes an output where it lies.
        is_output: The kernel writes this tensor: it is compared with the golden. With an `init_value` it is
            both read and written. A tensor without `is_output` must come out of a run as it went in.
        resident: Where the tensor lives in a run on several chips: on one worker (its number) or cut along
            dimension 0 over all of them ("stacked"). None and False: nowhere in particular. It says nothing
            about values, so interpret mode has no use for it.

    Raises:
        InputError: name is not an identifier, a negative size, an `init_value`, `fill` or `resident` that is none
            of the above.
    """

    name: str
    shape: list[int]
    dtype: torch.dtype
    init_value: int | float | torch.Tensor | Callable[..., Any] | None = None
    is_output: bool = False
    resident: int | str | bool | None = None
    fill: Callable[[torch.Tensor], Any] | None = None
    shared: Callable[[], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        _check_name("TensorSpec", self.name)
        if not isinstance(self.dtype, torch.dtype):
            raise InputError(f"TensorSpec {self.name!r}: dtype must be a torch.dtype, not {self.dtype!r}")
        if not isinstance(self.shape, (list, tuple)) or any(
            isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in self.shape
        ):
            raise InputError(
                f"TensorSpec {self.name!r}: shape must be a list of integers of 0 or more, not {self.shape!r}"
            )
        _check_init_value(self)
        _check_resident(self)

    @property
    def is_resident(self) -> bool:
        """Whether `resident` names a place."""
        return self.resident is not None and self.resident is not False

    @property
    def is_input(self) -> bool:
        """Whether the kernel reads it: every tensor but a pure output (`is_output` and none of `init_value`, `fill`,
        `shared`)."""
        return not self.is_output or any(given is not None for given in (self.init_value, self.fill, self.shared))

    def create_tensor(self) -> torch.Tensor:
        """Make the tensor: `shape`, `dtype`, values by `init_value`. Each call returns new memory, but for `shared`.

        Raises:
            InputError: `init_value` or `shared` is, or returned, something else than a tensor of this shape.
        """
        _check_init_value(self)
        init = self.init_value
        if self.shared is not None:
            made = self.shared()
            if list(made.shape) != list(self.shape) or made.dtype != self.dtype:
                raise InputError(f"TensorSpec {self.name!r}: shared is {list(made.shape)} {made.dtype}")
            return made
        if self.fill is not None and init is None:
            made = _untouched(self.shape, self.dtype)
            self.fill(made)
            return made
        if init is None:
            return torch.zeros(self.shape, dtype=self.dtype)
        if isinstance(init, (int, float)):
            return torch.full(self.shape, init, dtype=self.dtype)
        if isinstance(init, torch.Tensor):
            made = init
        elif init in _FACTORIES:
            return init(self.shape, dtype=self.dtype)
        else:
            made = _as_tensor(self.name, init())
        if list(made.shape) != list(self.shape):
            raise InputError(
                f"TensorSpec {self.name!r}: init_value has shape {list(made.shape)}, the spec says {list(self.shape)}"
            )
        return made.to(self.dtype, copy=True)


@dataclass
class ScalarSpec:
    """A scalar parameter of a kernel (`pl.Scalar`).

    Attributes:
        name: The parameter's name; also the stem of its file in a golden-data directory.
        dtype: One of SUPPORTED_SCALAR_DTYPES.
        value: Given as a Python number or as a 0-dim tensor of this dtype; kept as a 0-dim tensor, so that it
            has the precision it has on the chip (0.1 in BF16 is 0.10009765625).

    Raises:
        InputError: unsupported dtype; a value of another kind, or out of the dtype's range; a tensor that is
            not 0-dim or has another dtype.
    """

    name: str
    dtype: torch.dtype
    value: int | float | bool | torch.Tensor

    def __post_init__(self) -> None:
        _check_name("ScalarSpec", self.name)
        if self.dtype not in SUPPORTED_SCALAR_DTYPES:
            known = ", ".join(str(dtype) for dtype in SUPPORTED_SCALAR_DTYPES)
            raise InputError(f"ScalarSpec {self.name!r}: dtype {self.dtype} is not supported (one of {known})")
        if not isinstance(self.value, torch.Tensor):
            self.value = _scalar_tensor(self.name, self.dtype, self.value)
        elif self.value.ndim != 0 or self.value.dtype != self.dtype:
            raise InputError(
                f"ScalarSpec {self.name!r}: a value given as a tensor must be 0-dim {self.dtype}, "
                f"not {list(self.value.shape)} {self.value.dtype}"
            )

    def to_python(self) -> int | float | bool:
        """The value as a Python number, after rounding to `dtype`: what a golden and the kernel get."""
        return self.value.item()

    def to_ctypes(self) -> Any:
        """The value as the `ctypes` object that PyPTO's runtime takes.

        FP16 and BF16, which C has no type for, travel as their 16 bits in a `c_uint16`.
        """
        if self.dtype in _INTEGERS:
            return _INTEGERS[self.dtype][0](self.value.item())
        if self.dtype == torch.bool:
            return ctypes.c_bool(self.value.item())
        if self.dtype == torch.float32:
            return ctypes.c_float(self.value.item())
        return ctypes.c_uint16(self.value.view(torch.int16).item() & 0xFFFF)


def values_of(specs: Iterable[TensorSpec | ScalarSpec]) -> dict[str, Any]:
    """What specs make, by name: tensors and numbers, which a kernel takes as its arguments."""
    return {s.name: s.create_tensor() if isinstance(s, TensorSpec) else s.to_python() for s in specs}


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"{kind}: name must be a Python identifier, not {name!r}")


def _as_tensor(name: str, value: Any) -> torch.Tensor:
    try:
        return torch.as_tensor(value)
    except (RuntimeError, TypeError, ValueError):
        raise InputError(
            f"TensorSpec {name!r}: init_value returned {type(value).__name__}, which is no tensor"
        ) from None


def _untouched(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Zeros that take no memory until they are written: the system hands out pages when they are first touched."""
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)


def _check_init_value(spec: TensorSpec) -> None:
    init = spec.init_value
    if init is not None and not isinstance(init, (int, float, torch.Tensor)) and not callable(init):
        raise InputError(
            f"TensorSpec {spec.name!r}: init_value must be None, a number, a tensor or a callable, "
            f"not {type(init).__name__}"
        )
    if spec.fill is not None and (init is not None or not callable(spec.fill)):
        raise InputError(f"TensorSpec {spec.name!r}: fill must be a callable, in place of init_value")
    if spec.shared is not None and (init is not None or spec.fill is not None or not callable(spec.shared)):
        raise InputError(f"TensorSpec {spec.name!r}: shared must be a callable, in place of init_value and fill")


def _check_resident(spec: TensorSpec) -> None:
    resident = spec.resident
    if resident is None or resident is False or resident == "stacked":
        return
    if resident is True:
        raise InputError(
            f"TensorSpec {spec.name!r}: resident=True does not say where; give a worker's number or 'stacked'"
        )
    if not isinstance(resident, int) or resident < 0:
        raise InputError(
            f"TensorSpec {spec.name!r}: resident must be None, False, a worker's number (0 or more) "
            f"or 'stacked', not {resident!r}"
        )


def _scalar_tensor(name: str, dtype: torch.dtype, value: object) -> torch.Tensor:
    """`value` as a 0-dim tensor of `dtype`, or an InputError if it is not a value of that kind and range."""
    is_bool = isinstance(value, bool)
    if dtype in _INTEGERS:
        wanted, fits = "an int", isinstance(value, int) and not is_bool
    elif dtype == torch.bool:
        wanted, fits = "a bool", is_bool
    else:
        wanted, fits = "an int or a float", isinstance(value, (int, float)) and not is_bool
    if not fits:
        raise InputError(f"ScalarSpec {name!r}: {dtype} takes {wanted}, not {type(value).__name__}")
    if dtype in _INTEGERS:
        _, low, high = _INTEGERS[dtype]
        if not low <= value <= high:
            raise InputError(f"ScalarSpec {name!r}: {value} is outside {dtype}'s range [{low}, {high}]")
        return torch.tensor(value, dtype=dtype)
    if dtype == torch.bool:
        return torch.tensor(value, dtype=dtype)
    try:
        number = float(value)
    except OverflowError:
        number = None
    made = None if number is None else torch.tensor(number, dtype=torch.float64).to(dtype)
    if made is None or (math.isfinite(number) and not torch.isfinite(made)):
        raise InputError(f"ScalarSpec {name!r}: {value} is outside {dtype}'s range")
    return made
