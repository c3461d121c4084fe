"""Kernels and programs that can be called and compiled: what `@pl.jit` and `@pl.program` give, as with PyPTO."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.errors import KernelError
from helpers.interpret.language.kernel import JitFunction, Program

NO_COMPILER = "interpret mode has no compiler passes; this needs PyPTO itself"


class CallableKernel(JitFunction):
    """A kernel that runs on the default platform."""

    @property
    def func_type(self) -> Any:
        """The `pl.FunctionType` of a `@pl.function`; of a kernel of `@pl.jit` PyPTO tells none either."""
        if "function" not in self.options:
            raise AttributeError(f"kernel '{self.name}' is no @pl.function", name="func_type", obj=self)
        import pypto.language as pl

        return pl.FunctionType[self.options["function"]]

    def __call__(self, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        """Run the kernel in place on the default platform, as PyPTO's `kernel(*args)` does."""
        from helpers.run import call

        return call(self, args, kwargs, config)

    def compile(self, *args: Any, config: Any = None, **kwargs: Any) -> CompiledKernel:
        """Check the kernel against the language, as far as that needs no arguments."""
        from helpers.interpret.lowering.lower import compile_kernel

        compile_kernel(self)
        return CompiledKernel(self, config, args, kwargs)

    def lower(self, *args: Any, config: Any = None, **kwargs: Any) -> LoweredKernel:
        """What `pypto.ir.compile` takes; of PyPTO's program after its passes it has nothing else."""
        return LoweredKernel(self.compile(*args, **kwargs))


class LoweredKernel:
    """What `kernel.lower(...)` gives: to be compiled, and nothing to be read."""

    def __init__(self, compiled: CompiledKernel):
        self._compiled = compiled

    def compile(self, config: Any = None) -> CompiledKernel:
        """As `pypto.ir.compile` does."""
        return CompiledKernel(self._compiled.kernel, config, (), self._compiled.like)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise KernelError(f"kernel '{self._compiled.kernel.fn.__name__}'.lower().{name}: {NO_COMPILER}")


class CompiledKernel:
    """What `kernel.compile(...)` gives: it can be called, and has what a script asks of PyPTO's."""

    def __init__(
        self, kernel: JitFunction, config: Any = None, args: Sequence = (), named: Mapping[str, Any] | None = None
    ):
        self.kernel, self.config = kernel, config
        given = {**dict(zip(self.param_names, args)), **(named or {})}
        self.like = {n: a.to("meta") for n, a in given.items() if hasattr(a, "to")}

    @property
    def platform(self) -> str | None:
        """The one that it was compiled for; None where nothing was said."""
        return getattr(self.config, "platform", None)

    def __call__(self, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        """Run it in place, where it was compiled for; without its outputs, these are made and returned."""
        from helpers.interpret.call import with_outputs
        from helpers.interpret.pypto.chip_worker import on_host

        if self.platform is not None:
            config = self.config
        args, kwargs = tuple(on_host(a) for a in args), {n: on_host(a) for n, a in kwargs.items()}
        if kwargs or len(args) != len(self.param_names) - len(self.output_indices):
            return self.kernel(*args, config=config, **kwargs)
        full, made = with_outputs(self.parameters, args, self.like)
        self.kernel(*full, config=config)
        return made[0] if len(made) == 1 else tuple(made)

    @functools.cached_property
    def parameters(self) -> list:
        """What the kernel takes, in order."""
        from helpers.interpret.lowering.lower import signature

        return signature(self.kernel).parameters

    @property
    def param_names(self) -> list[str]:
        """The names of its parameters."""
        return [p.name for p in self.parameters]

    @property
    def output_indices(self) -> list[int]:
        """Which of them are outputs, that a caller may leave out."""
        return [i for i, p in enumerate(self.parameters) if p.type.direction == "Out"]

    @property
    def has_return(self) -> bool:
        """Whether it has outputs to return."""
        return bool(self.output_indices)

    @functools.cached_property
    def output_dir(self) -> Path:
        """Where PyPTO leaves the code it generates: here an empty folder, gone when the process ends."""
        folder = tempfile.mkdtemp(prefix="interpreted-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @property
    def program(self) -> Any:
        """PyPTO's program after its passes, which interpret mode does not have."""
        raise KernelError(f"kernel '{self.kernel.fn.__name__}'.compile().program: {NO_COMPILER}")


class CallableProgram(Program):
    """A program that runs on the default platform."""

    def __call__(self, *args: Any, config: Any = None) -> None:
        self.entry(*args, config=config)

    def compile(self, *args: Any, config: Any = None) -> CompiledKernel:
        """Check the program against the language, as far as that needs no arguments."""
        return self.entry.compile(*args, config=config)

    def as_python(self, *_: Any, **__: Any) -> str:
        """The text of PyPTO's program, which interpret mode does not have."""
        raise KernelError(f"program {self.__name__}.as_python(): {NO_COMPILER}")
