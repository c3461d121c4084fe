"""Kernels and programs that can be called and compiled: what `@pl.jit` and `@pl.program` give, as with PyPTO."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from helpers.errors import KernelError
from helpers.interpret.language.kernel import JitFunction, Program

NO_COMPILER = "interpret mode has no compiler passes; this needs PyPTO itself"


class CallableKernel(JitFunction):
    """A kernel that runs on the default platform."""

    def __call__(self, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        """Run the kernel in place on the default platform, as PyPTO's `kernel(*args)` does."""
        from helpers.run import call

        return call(self, args, kwargs, config)

    def compile(self, *args: Any, config: Any = None, **kwargs: Any) -> CompiledKernel:
        """Check the kernel against the language, as far as that needs no arguments."""
        from helpers.interpret.lowering.lower import compile_kernel

        compile_kernel(self)
        return CompiledKernel(self)

    def lower(self, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        """PyPTO's program after its passes, which interpret mode does not have.

        Raises:
            KernelError: always.
        """
        raise KernelError(f"kernel '{self.fn.__name__}'.lower(): {NO_COMPILER}")


class CompiledKernel:
    """What `kernel.compile(...)` gives: it can be called, and has what a script asks of PyPTO's."""

    def __init__(self, kernel: JitFunction):
        self.kernel = kernel

    def __call__(self, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        """Run it in place; without its outputs, these are made and returned."""
        from helpers.interpret.call import with_outputs

        if kwargs or len(args) != len(self.param_names) - len(self.output_indices):
            return self.kernel(*args, config=config, **kwargs)
        full, made = with_outputs(self.parameters, args)
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
