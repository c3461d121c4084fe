"""The stages of the decoder: for each its notebook, its ladder of kernels, its golden. And how to run one.

What runs a stage is imported when one is run: to list them takes neither torch nor a kernel.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import kernels.qwen3_32b
from helpers.errors import InputError, KernelError
from kernels.qwen3 import BATCH, MAX_CHUNK, MAX_CTX

if TYPE_CHECKING:
    import torch

    from golden.runner import RunResult
    from golden.weights import Checkpoint
    from helpers.interpret.trace.trace import Trace


@dataclass(frozen=True)
class Late:
    """What a module has, looked up whenever it is asked for: a module that is loaded again has something else."""

    module: str
    pick: Callable[[ModuleType], Any]
    names: tuple[str, ...] = ()  # of what it picks, where that has names

    def now(self) -> Any:
        return self.pick(importlib.import_module(self.module))


@dataclass(frozen=True)
class Stage:
    """One stage of the decoder. Its kernels and its golden are those that their modules have when they are asked for.

    Attributes:
        name: As typed on the command line; also the name of its modules in kernels and golden (mlp_32b: mlp).
        title: One line for people.
        notebook: Stem of its file in notebooks/.
        versions: Its kernels, by name, naive to fused; all have the same parameters.
        specs: `specs(batch=, ctx=, seed=)` gives a run's TensorSpecs and ScalarSpecs, in parameter order.
        reference: Writes the golden into a dict of values.
        check: Raises InputError for values that the stage cannot be run on.
        tolerance: What the comparison allows; has rtol and atol, and reads well as text.
        compare_fn: The comparator of each output that needs one of its own.
        batch: Sequences of a run that does not say how many; None: it has no number of them.
        longest: The largest `ctx`, in tokens.
        small: Arguments of `specs` for a run that takes little: what is tried first at each save.
    """

    name: str
    title: str
    notebook: str | None
    versions: dict[str, Any]
    specs: Callable[..., list]
    reference: Callable[[dict[str, Any]], None]
    check: Callable[[dict[str, Any]], None]
    tolerance: Any
    compare_fn: dict[str, Callable] = field(default_factory=dict)
    batch: int | None = BATCH
    longest: int = MAX_CTX
    small: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its versions, without looking at them."""
        versions = object.__getattribute__(self, "versions")
        return versions.names if isinstance(versions, Late) else tuple(versions)

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        return value.now() if isinstance(value, Late) else value


def _golden(module: str, tolerance: str = "TOLERANCE", **how: Any) -> dict[str, Late]:
    """A stage's golden: the module of golden/, which of its tolerances, and arguments of its specs."""
    name = f"golden.{module}"
    return {
        "specs": Late(name, lambda m: partial(m.specs, **how) if how else m.specs),
        "reference": Late(name, lambda m: m.reference),
        "check": Late(name, lambda m: m.check),
        "tolerance": Late(name, lambda m: getattr(m, tolerance)),
        "compare_fn": Late(name, lambda m: getattr(m, "COMPARE_FN", {})),
    }


def _kernels(module: str, *names: str) -> Late:
    """Kernels of a module of kernels/, by name, naive to fused."""
    return Late(f"kernels.{module}", lambda m: {n: _kernel(m, n) for n in names}, names)


def _kernel(module: ModuleType, name: str) -> Any:
    if not hasattr(module, name):
        raise KernelError(f"{module.__name__} has no kernel '{name}' since it was loaded again; a stage has it")
    return getattr(module, name)


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="qkv_proj",
            title="Input RMSNorm and the Q, K and V projections (decode)",
            notebook="03_swiglu_mlp",
            versions=_kernels("qkv_proj", "tile", "grouped", "spmd", "split_k"),
            **_golden("qkv_proj"),
            small={"batch": 2, "layers": 1, "layer": 0},
        ),
        Stage(
            name="rope_kv_cache",
            title="Q/K RMSNorm, RoPE, and K/V into the paged cache (decode)",
            notebook="01_rope_kv_cache",
            versions=_kernels("rope_kv_cache", "naive", "per_sequence", "flat"),
            **_golden("rope_kv_cache"),
            small={"batch": 2, "ctx": (1, 130)},
        ),
        Stage(
            name="flash_attention",
            title="Attention over the paged KV cache, online softmax over its pages (decode)",
            notebook="02_flash_attention",
            versions=_kernels("flash_attention", "separate", "flat", "mixed", "fused"),
            **_golden("flash_attention"),
            small={"batch": 2, "ctx": (1, 130)},
        ),
        Stage(
            name="mlp",
            title="Output projection, RMSNorm, SwiGLU MLP, down projection, residuals (decode)",
            notebook="03_swiglu_mlp",
            versions=_kernels("mlp", "partial_products", "accumulate", "mixed"),
            **_golden("mlp"),
            small={"batch": 2, "hidden": 512, "inter": 512},
        ),
        Stage(
            name="mlp_32b",
            title="The same at the width of pull request 90: hidden 8192, intermediate 25600",
            notebook="03_swiglu_mlp",
            versions=_kernels("mlp", "partial_products", "accumulate", "mixed"),
            **_golden("mlp", "TOLERANCE_32B", hidden=kernels.qwen3_32b.HIDDEN, inter=kernels.qwen3_32b.INTERMEDIATE),
            small={"batch": 2, "hidden": 512, "inter": 512},
        ),
        Stage(
            name="lm_head",
            title="Final RMSNorm, LM head and the greedy token (decode)",
            notebook="04_lm_head",
            versions=_kernels("lm_head", "narrow", "wide"),
            **_golden("lm_head"),
            small={"batch": 2, "mode": "single"},
        ),
        Stage(
            name="decode_layer",
            title="One decoder layer, all of it (decode)",
            notebook="05_decode_layer",
            versions=_kernels("decode_layer", "naive", "fused"),
            **_golden("decode_layer"),
            small={"batch": 1, "ctx": 1},
        ),
        Stage(
            name="decode",
            title="Two decoder layers, the LM head and the greedy token (decode)",
            notebook="05_decode_layer",
            versions=_kernels("decode", "naive", "fused"),
            **_golden("decode"),
            small={"batch": 1, "ctx": 1, "layers": 1, "mode": "single"},
        ),
        Stage(
            name="prefill",
            title="A whole layer on a prompt: K and V of all its tokens to the cache, causal attention",
            versions=_kernels("prefill", "per_token", "spmd", "chunked"),
            notebook="06_prefill",
            **_golden("prefill"),
            batch=1,
            longest=MAX_CHUNK,
            small={"ctx": 8, "hidden": 512, "inter": 1024},
        ),
        Stage(
            name="prefill_chunk",
            title="Two layers on chunks of several prompts, which go on where earlier calls ended",
            versions=_kernels("prefill", "spmd", "chunked"),
            notebook="06_prefill",
            **_golden("prefill", start=None, layers=2),
            batch=4,
            longest=MAX_CHUNK,
            small={"batch": 2, "ctx": 8, "hidden": 512, "inter": 1024, "layers": 1},
        ),
    )
}
"""Every stage, by name, in the decoder's order."""


def find(name: str) -> Stage:
    """The stage called `name`.

    Raises:
        InputError: there is none; says which there are.
    """
    if name not in STAGES:
        raise InputError(f"unknown stage {name!r}; there are: {', '.join(STAGES)}")
    return STAGES[name]


def run_stage(
    stage: Stage,
    version: str,
    *,
    platform: str = "default",
    batch: int | None = None,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    weights: Checkpoint | None = None,
    **how: Any,
) -> RunResult:
    """Run one version of a stage on seeded inputs, of the model's full shapes by default; compare it with the golden.

    Args:
        version: A name in `stage.versions`.
        platform: "default" or one of helpers.platforms.PLATFORMS.
        batch: Sequences, 1 to 16; None: as many as the stage has by default.
        ctx: Tokens of every sequence, or of each; None: the stage's own ragged lengths.
        seed: Same seed, same inputs.
        weights: Where to take the weights from, in place of seeded ones.
        how: Other arguments of `stage.specs`, such as widths.

    Returns:
        What golden.run_jit returns: verdict, errors by output, platform, seconds, trace.

    Raises:
        InputError: no such version; batch or ctx out of range; weights that are not this stage's.
        PlatformError: the platform does not exist or does not work here.
        KernelError, FaultError: see helpers.errors.
    """
    import golden.weights
    from golden.runner import run_jit

    if version not in stage.versions:
        raise InputError(f"stage {stage.name} has no version {version!r}; there are: {', '.join(stage.versions)}")
    specs = stage.specs(batch=stage.batch if batch is None else batch, ctx=ctx, seed=seed, **how)
    if weights is not None:
        specs = golden.weights.loaded(stage.name, specs, weights)
    run_of = (stage.name, batch, str(ctx), seed, weights and weights.directory, str(how))
    result = run_jit(
        stage.versions[version],
        [_made_once(spec, run_of) for spec in specs],
        stage.reference,
        runtime_cfg={"platform": platform},
        rtol=stage.tolerance.rtol,
        atol=stage.tolerance.atol,
        compare_fn=stage.compare_fn,
        check=stage.check,
        quiet=True,
    )
    if not result.passed:  # it may have written what it should only read
        _large.clear()
    return result


_LARGE = 1 << 27  # bytes of an input from which on it is kept for the stage's other versions
_large: dict[tuple, dict[str, torch.Tensor]] = {}  # the large inputs of the last run, by what they depend on


def _made_once(spec: Any, run_of: tuple) -> Any:
    """The spec, with the tensor shared with the next run of the same inputs if it is large."""
    from golden.spec import TensorSpec

    if not isinstance(spec, TensorSpec) or spec.is_output or math.prod(spec.shape) * spec.dtype.itemsize < _LARGE:
        return spec

    def made() -> torch.Tensor:
        if run_of not in _large:
            _large.clear()
            _large[run_of] = {}
        if spec.name not in _large[run_of]:
            _large[run_of][spec.name] = spec.create_tensor()
        return _large[run_of][spec.name]

    return replace(spec, init_value=None, fill=None, shared=made)


def trace_stage(stage: Stage, version: str, *, chip: str = "a2a3", batch: int | None = None, **how: Any) -> Trace:
    """What a version of a stage would do at full shapes, without its arithmetic: no numbers, and no time to speak of.

    Tensors of 1 MiB and more have no memory. `batch` is as in `run_stage`, `how` what else `stage.specs` takes.
    """
    specs = stage.specs(batch=stage.batch if batch is None else batch, **how)
    return trace_kernel(stage.versions[version], specs, chip=chip)


def trace_kernel(kernel: Any, specs: list, *, chip: str = "a2a3") -> Trace:
    """The same for any kernel, with arguments as `specs` say: TensorSpecs and ScalarSpecs, in parameter order."""

    import torch

    from golden.spec import TensorSpec
    from helpers.run import run

    def value(spec: Any) -> Any:
        if not isinstance(spec, TensorSpec):
            return spec.to_python()
        if math.prod(spec.shape) * spec.dtype.itemsize < 2**20:
            return spec.create_tensor()
        return torch.empty(spec.shape, dtype=spec.dtype, device="meta")

    values = {spec.name: value(spec) for spec in specs}
    make = {spec.name: spec.create_tensor for spec in specs if isinstance(spec, TensorSpec)}
    return run(kernel, values, platform=f"{chip}interp", dry=True, make=make).trace


def trace_settled(kernel: Any, specs: list, *, chip: str = "a2a3") -> Trace:
    """The same, also for a kernel that goes by more than can be computed at once: that one is run."""
    from golden.spec import TensorSpec
    from helpers.run import run

    trace = trace_kernel(kernel, specs, chip=chip)
    if not trace.partial:
        return trace
    values = {s.name: s.create_tensor() if isinstance(s, TensorSpec) else s.to_python() for s in specs}
    return run(kernel, values, platform=f"{chip}interp").trace
