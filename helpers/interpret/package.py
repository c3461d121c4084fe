"""The rest of the `pypto` package that kernel scripts import, as far as interpreting a script needs it.

A pypto-lib script imports `pypto.runtime`, `pypto.backend` or `pypto.ir` next to the language, to choose a platform
or to read a type. Where PyPTO is not installed, `language.StandInFinder` serves the modules built here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from types import ModuleType
from typing import Any

from helpers.errors import KernelError
from helpers.interpret import dtypes


class RunConfig:
    """Options of a run. Only `platform` means something to interpret mode; the rest is kept and not used."""

    def __init__(self, **options: Any):
        self.platform: str | None = None
        self.__dict__.update(options)

    def __repr__(self) -> str:
        return f"RunConfig({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


class BackendType(enum.Enum):
    """The chips PyPTO generates code for."""

    Ascend910B = "a2a3"
    Ascend950 = "a5"


def _refused(name: str, why: str) -> Callable:
    def refused(*_: Any, **__: Any) -> Any:
        raise KernelError(f"{name}: {why}")

    refused.__name__ = name
    return refused


def _class_refused(name: str, why: str) -> type:
    def __init__(self: Any, *_: Any, **__: Any) -> None:
        raise KernelError(f"{name}: {why}")

    return type(name, (), {"__init__": __init__})


ONE_CHIP = "interpret mode runs one chip; programs over several need PyPTO and its runtime"
NO_COMPILER = "interpret mode has no compiler passes; this needs PyPTO itself"


def _runtime() -> dict[str, Any]:
    from golden.spec import ScalarSpec, TensorSpec

    return {
        "RunConfig": RunConfig,
        "TensorSpec": TensorSpec,
        "ScalarSpec": ScalarSpec,
        "DistributedWorker": _class_refused("DistributedWorker", ONE_CHIP),
        # Where C++ kernels find their headers. None is run here; a kernel that calls one is refused there.
        "pto_isa_include_dir": lambda: "pto-isa/include",
    }


def _compiled_program() -> dict[str, Any]:
    def to_torch_dtype(dtype: Any) -> Any:
        found = dtypes.of(dtype)
        if found is None:
            raise KernelError(f"{dtype!r} is no element type that interpret mode supports")
        return found.torch

    return {"_to_torch_dtype": to_torch_dtype}


def _distributed() -> dict[str, Any]:
    return {"DistributedConfig": _class_refused("DistributedConfig", ONE_CHIP)}


def _passes() -> dict[str, Any]:
    return {n: _class_refused(n, NO_COMPILER) for n in ("OptimizationStrategy", "PassManager")}


BUILDERS: dict[str, Callable[[], dict[str, Any]]] = {
    "pypto.runtime": _runtime,
    "pypto.backend": lambda: {"BackendType": BackendType, "set_backend_type": lambda kind: None},
    "pypto.ir": dict,
    "pypto.ir.compiled_program": _compiled_program,
    "pypto.ir.distributed_compiled_program": _distributed,
    "pypto.ir.pass_manager": _passes,
    "pypto.ir.printer": lambda: {"python_print": _refused("python_print", NO_COMPILER)},
}


def fill(module: ModuleType) -> None:
    """Give a served module its members."""
    module.__dict__.update(BUILDERS[module.__name__]())
