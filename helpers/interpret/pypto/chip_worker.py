"""`pypto.runtime.ChipWorker`: a chip with memory of its own, which tensors stay in from run to run.

Interpret mode has no such chip. Its memory is the computer's, and what is uploaded there is a copy, as with PyPTO.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch

from helpers.errors import InputError


class DeviceTensor:
    """A tensor in the memory of a `ChipWorker`, made by its `alloc_tensor`."""

    def __init__(self, data: torch.Tensor):
        self.data: torch.Tensor | None = data
        self.shape, self.dtype = tuple(data.shape), data.dtype
        self.data_ptr, self.nbytes = data.data_ptr(), data.numel() * data.element_size()


def on_host(argument: Any) -> Any:
    """What a kernel is given for an argument.

    Raises:
        InputError: it is a tensor that its worker has freed.
    """
    if not isinstance(argument, DeviceTensor):
        return argument
    if argument.data is None:
        raise InputError(f"the device tensor {list(argument.shape)} {argument.dtype} was freed; alloc_tensor a new one")
    return argument.data


class ChipWorker:
    """One chip: `alloc_tensor`, `free_tensor`, `register`, `run`, `copy_to` and `copy_from`; `close` frees all."""

    def __init__(self, config: Any = None, **_: Any):
        self.config, self.platform = config, getattr(config, "platform", None)
        self.device_id, self.level = getattr(config, "device_id", 0), 2
        self.initialized = True
        self._tensors: dict[int, DeviceTensor] = {}

    def __enter__(self) -> ChipWorker:
        self.initialized = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free every tensor; nothing runs here any more."""
        for tensor in [*self._tensors.values()]:
            self.free_tensor(tensor)
        self.initialized = False

    def alloc_tensor(
        self, shape: Sequence[int], dtype: torch.dtype, *, init: torch.Tensor | None = None, worker_id: int = 0
    ) -> DeviceTensor:
        """Memory of the chip, with a copy of `init` in it.

        Raises:
            InputError: `init` has another shape or element type; the worker is closed.
        """
        self._open("alloc_tensor")
        if init is not None and (tuple(init.shape) != tuple(shape) or init.dtype != dtype):
            raise InputError(
                f"ChipWorker.alloc_tensor: init is {list(init.shape)} {init.dtype}, not {list(shape)} {dtype}"
            )
        data = torch.empty(tuple(shape), dtype=dtype) if init is None else init.detach().cpu().contiguous().clone()
        tensor = DeviceTensor(data)
        self._tensors[tensor.data_ptr] = tensor
        return tensor

    def free_tensor(self, tensor: DeviceTensor, *, worker_id: int = 0) -> None:
        """Give its memory back.

        Raises:
            InputError: it is no tensor of this worker, or is free already.
        """
        if self._tensors.get(tensor.data_ptr) is not tensor:
            raise InputError("ChipWorker.free_tensor: no tensor of this worker, or freed before")
        del self._tensors[tensor.data_ptr]
        tensor.data = None

    def copy_to(self, dst_dev_ptr: int, src_host_ptr: int, nbytes: int, *, worker_id: int = 0) -> None:
        """Bytes of the host to a tensor of this worker, which begins at `dst_dev_ptr`."""
        ctypes.memmove(self._place("copy_to", dst_dev_ptr, nbytes), src_host_ptr, nbytes)

    def copy_from(self, dst_host_ptr: int, src_dev_ptr: int, nbytes: int, *, worker_id: int = 0) -> None:
        """Bytes of a tensor of this worker, which begins at `src_dev_ptr`, to the host."""
        ctypes.memmove(dst_host_ptr, self._place("copy_from", src_dev_ptr, nbytes), nbytes)

    def register(self, compiled: Any) -> Registered:
        """What can be called in place of `run(compiled, ...)`."""
        self._open("register")
        self._same(compiled)
        return Registered(self, compiled)

    def run(self, compiled: Any, *args: Any, config: Any = None) -> Any:
        """Run what `kernel.compile` or `pypto.ir.compile` gave.

        Raises:
            InputError: it was compiled for another platform; the worker is closed.
        """
        self._open("run")
        self._same(compiled)
        return compiled(*args, config=config)

    def _open(self, name: str) -> None:
        if not self.initialized:
            raise InputError(f"ChipWorker.{name}: the worker is closed; make a new one, or work inside `with`")

    def _same(self, compiled: Any) -> None:
        if compiled.platform != self.platform:
            raise InputError(f"compiled for {compiled.platform!r}, and the ChipWorker is on {self.platform!r}")

    def _place(self, name: str, pointer: int, nbytes: int) -> int:
        self._open(name)
        found = self._tensors.get(pointer)
        if found is None or not 0 < nbytes <= found.nbytes:
            raise InputError(f"ChipWorker.{name}: {nbytes} bytes at {pointer:#x} are no tensor of this worker")
        return pointer


class Registered:
    """A compiled kernel on a worker."""

    def __init__(self, worker: ChipWorker, compiled: Any):
        self.worker, self.compiled, self.closed = worker, compiled, False

    def __call__(self, *args: Any, config: Any = None) -> Any:
        if self.closed:
            raise InputError("this handle was unregistered; ChipWorker.register the kernel again")
        return self.worker.run(self.compiled, *args, config=config)

    def __enter__(self) -> Registered:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def unregister(self) -> None:
        """It cannot be called any more."""
        self.closed = True
