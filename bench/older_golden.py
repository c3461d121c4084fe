"""The harness of pypto-lib as scripts of spring 2026 call it, on top of today's: `given()`, before such a script runs.

Until May, options went into a `golden.RunConfig`, or one of pypto.runtime that took more names than today's.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import golden


class RunConfig:
    """Options of a run, whichever there are: `compile` and `runtime` are today's compile_cfg and runtime_cfg."""

    def __init__(self, compile: dict[str, Any] | None = None, runtime: dict[str, Any] | None = None, **options: Any):
        self.options = {"compile_cfg": compile, "runtime_cfg": runtime, **options}


def given() -> None:
    """Let `golden` and `pypto.runtime` take what scripts of an earlier day hand them; what means nothing is dropped."""
    from pypto import runtime

    from helpers.interpret.language.decorated import unwrap
    from helpers.interpret.ops import reduce
    from helpers.interpret.pypto.callable import CallableKernel

    reduce._check_room = lambda *args, **options: None  # a reduction's scratch tile might be smaller
    CallableKernel._func = property(lambda kernel: unwrap(kernel)[0])  # so was the function of a kernel called
    golden.RunConfig = RunConfig
    for name in ("run", "run_jit"):
        setattr(golden, name, _taking_config(getattr(golden, name)))
    runtime.RunConfig.__init__ = _taking_all(runtime.RunConfig.__init__)
    runtime.run = _harness(runtime.run)


def _harness(run: Any) -> Any:
    """`pypto.runtime.run` with specs and a golden was the harness once."""

    @functools.wraps(run)
    def either(*args: Any, **options: Any) -> Any:
        if "tensor_specs" not in options:
            return run(*args, **options)
        return golden.run(*args, config=RunConfig(runtime={"platform": options.pop("config").platform}), **options)

    return either


_MEANT = ("platform", "device_id")  # options that mean something when a program is followed


def _taking_config(run: Any) -> Any:
    known = inspect.signature(run).parameters

    @functools.wraps(run)
    def with_config(*args: Any, config: RunConfig | None = None, **options: Any) -> Any:
        options |= {} if config is None else config.options
        for old, new in (("golden", "golden_fn"), ("tensor_specs", "specs")):
            if old in options:
                options[new] = options.pop(old)
        if options.get("runtime_cfg"):
            options["runtime_cfg"] = {k: v for k, v in options["runtime_cfg"].items() if k in _MEANT}
        return run(*args, **{k: v for k, v in options.items() if k in known})

    return with_config


def _taking_all(init: Any) -> Any:
    known = inspect.signature(init).parameters

    @functools.wraps(init)
    def dropping(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **{k: v for k, v in options.items() if k in known})

    return dropping
