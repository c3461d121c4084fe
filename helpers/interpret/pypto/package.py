"""The rest of the `pypto` package that kernel scripts import, as far as interpreting a script needs it.

A pypto-lib script imports `pypto.runtime`, `pypto.backend` or `pypto.ir` next to the language, to choose a platform
or to read a type. Where PyPTO is not installed, `language.StandInFinder` serves the modules built here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from helpers.errors import KernelError, WorkbookError
from helpers.interpret.language import dtypes
from helpers.interpret.language.kernel import JitFunction, Program
from helpers.interpret.pypto.callable import NO_COMPILER, CompiledKernel


class BackendType(enum.Enum):
    """The chips PyPTO generates code for."""

    Ascend910B = "a2a3"
    Ascend950 = "a5"


class MemoryPlanner(enum.Enum):
    """Who places tiles on chip. Interpret mode counts memory as PYPTO, the default one, does."""

    PYPTO, DSA_RP, PTOAS = 0, 1, 2


class OptimizationStrategy(enum.Enum):
    """How PyPTO compiles, of which there is one way. Interpret mode has no use for it."""

    Default = "Default"


@dataclass
class RunConfig:
    """Options of a run, those of PyPTO's (python/pypto/runtime/runner.py). To interpret mode `platform` means something
    (None is the workbook's `default`) and `enable_dump_args`, with `save_kernels_dir` for where it writes."""

    platform: str | None = None
    device_id: int = 0
    rtol: float = 1e-5
    atol: float = 1e-5
    strategy: Any = None
    backend_type: BackendType = BackendType.Ascend910B
    dump_passes: Any = False
    save_kernels: bool = False
    save_kernels_dir: str | None = None
    codegen_only: bool = False
    enable_chip_swimlane: int = 0
    enable_dump_args: int = 0
    enable_pmu: int = 0
    enable_dep_gen: bool = False
    enable_scope_stats: bool = False
    compile_profiling: bool = False
    diagnostic_phase: Any = None
    disabled_diagnostics: Any = None
    golden_data_dir: str | None = None
    aicpu_thread_num: int | None = None
    ring_task_window: Any = None
    ring_heap: Any = None
    ring_dep_pool: Any = None
    distributed_config: Any = None
    analyze_auto_scopes_for_deps: bool = False
    memory_planner: MemoryPlanner | None = None
    dump_ptoas_passes: bool = False
    enable_l2_swimlane: int = 0  # the older name of enable_chip_swimlane

    def __post_init__(self) -> None:
        if self.platform is not None:
            self.backend_type = BackendType.Ascend950 if self.platform.startswith("a5") else BackendType.Ascend910B


def run(program: Any, *tensors: Any, config: Any = None) -> Any:
    """`pypto.runtime.run(program, *tensors)`: what it compiles can be called again; without tensors nothing runs."""
    compiled = program.compile(config=config)
    if tensors and not getattr(config, "codegen_only", False):
        compiled(*tensors, config=config)
    return compiled


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
NO_DEVICE = "it is abstract, or a pointer alone: make a ChipWorker, and a tensor by its alloc_tensor"


def _runtime() -> dict[str, Any]:
    from golden.spec import ScalarSpec, TensorSpec
    from helpers.interpret.pypto.chip_worker import ChipWorker

    return {
        "RunConfig": RunConfig,
        "TensorSpec": TensorSpec,
        "ScalarSpec": ScalarSpec,
        "run": run,
        "ChipWorker": ChipWorker,
        **{n: _class_refused(n, NO_DEVICE) for n in ("Worker", "DeviceTensor")},
        **{n: _refused(n, NO_COMPILER) for n in ("benchmark", "compile_program", "execute_compiled")},
        "DistributedWorker": _class_refused("DistributedWorker", ONE_CHIP),
        # Where C++ kernels find their headers. None is run here; a kernel that calls one is refused there.
        "pto_isa_include_dir": lambda: "pto-isa/include",
    }


def compile_(program: Any, *_: Any, platform: str | None = None, **__: Any) -> Any:
    """`pypto.ir.compile(program)`: the program checked, and ready to be called."""
    return program.compile(config=RunConfig(platform=platform))


def _compiled_program() -> dict[str, Any]:
    def to_torch_dtype(dtype: Any) -> Any:
        found = dtypes.of(dtype)
        if found is None:
            raise KernelError(f"{dtype!r} is no element type that interpret mode supports")
        return found.torch

    return {"_to_torch_dtype": to_torch_dtype, "CompiledProgram": CompiledKernel}


def _distributed() -> dict[str, Any]:
    return {"DistributedConfig": _class_refused("DistributedConfig", ONE_CHIP)}


def _passes() -> dict[str, Any]:
    return {"OptimizationStrategy": OptimizationStrategy, "PassManager": _class_refused("PassManager", NO_COMPILER)}


BUILDERS: dict[str, Callable[[], dict[str, Any]]] = {
    "pypto.runtime": _runtime,
    "pypto.runtime.runner": lambda: {"RunConfig": RunConfig, "run": run},
    "pypto.pypto_core": dict,
    "pypto.pypto_core.passes": lambda: {"MemoryPlanner": MemoryPlanner},
    "pypto.backend.pto_backend": lambda: {"PartialCodegenError": WorkbookError},  # what a refused kernel raises
    "pypto.backend": lambda: {"BackendType": BackendType, "set_backend_type": lambda kind: None},
    "pypto.ir": lambda: {
        "compile": compile_,
        "OptimizationStrategy": OptimizationStrategy,
        "Function": JitFunction,
        "Program": Program,
    },
    "pypto.ir.compiled_program": _compiled_program,
    "pypto.ir.distributed_compiled_program": _distributed,
    "pypto.ir.pass_manager": _passes,
    "pypto.ir.printer": lambda: {"python_print": _refused("python_print", NO_COMPILER)},
}


def fill(module: ModuleType) -> None:
    """Give a served module its members."""
    module.__dict__.update(BUILDERS[module.__name__]())
