"""Kernels that are mutated, how each is checked, and what a mutant is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import golden.flash_attention
import golden.mlp
import golden.rope_kv_cache
import kernels
from bench import mutant_kernels
from golden.spec import ScalarSpec, TensorSpec
from helpers.sanitize import Finding, check
from kernels.qwen3 import EPS

MEMORY, ORDER, BOUNDS, SPLIT, VALUE = "memory", "order", "bounds", "split", "value"
FAMILIES = (MEMORY, ORDER, BOUNDS, SPLIT, VALUE)


@dataclass(frozen=True)
class Subject:
    """A kernel that is mutated, and how it is checked."""

    file: Path
    version: str
    specs: Callable[..., list]
    reference: Callable[[dict], None]
    tolerance: Any
    compare_fn: Mapping[str, Callable]
    sweep: Mapping[str, Sequence[int]] | None

    def check(self, module: ModuleType, sweeps: bool) -> list[Finding]:
        """Findings of this version in a module, at other sizes too when it `sweeps`."""
        return check(
            getattr(module, self.version), self.specs, self.reference, rtol=self.tolerance.rtol,
            atol=self.tolerance.atol, compare_fn=self.compare_fn, sweep=self.sweep, sweeps=sweeps,
        )  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One edit: in the text after `after`, the first `old` becomes `new`."""

    subject: str
    family: str
    what: str
    after: str
    old: str
    new: str
    survives: str = ""  # why nothing can notice it, where nothing does

    @property
    def name(self) -> str:
        """Subject and edit, for people and for choosing."""
        return f"{self.subject}: {self.what}"


def _hello(rows: int = 48) -> list:
    def random(*shape: int) -> Callable[[], torch.Tensor]:
        return lambda: torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))

    return [
        TensorSpec("x", [rows, 512], torch.float32, init_value=random(rows, 512)),
        TensorSpec("weight", [1, 512], torch.float32, init_value=random(1, 512)),
        TensorSpec("out", [rows, 512], torch.bfloat16, is_output=True),
    ]


def _rms_norm(values: dict[str, Any]) -> None:
    x = values["x"]
    values["out"].copy_(x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * values["weight"])


SMALL = (1, 128, 300)


def _rope(batch: int = 3, ctx: Any = SMALL) -> list:
    return golden.rope_kv_cache.specs(batch=batch, ctx=list(ctx) if isinstance(ctx, tuple) else ctx)


def _attention(batch: int = 3, ctx: Any = SMALL) -> list:
    return golden.flash_attention.specs(batch=batch, ctx=list(ctx) if isinstance(ctx, tuple) else ctx)


_CASES = {"batch": (1, 15, 16), "ctx": (1, 128, 129, 4096)}


Specs = Callable[..., list]


def _beside(specs: Specs, large: Mapping[str, tuple[Any, float]]) -> Specs:
    """Specs in which some elements of some inputs are large: for each name which, and the value that is added."""

    def grown(spec: TensorSpec | ScalarSpec) -> TensorSpec | ScalarSpec:
        if spec.name not in large:
            return spec
        where, value = large[spec.name]

        def init() -> torch.Tensor:
            made = spec.create_tensor()
            made[where] += torch.tensor(value).to(made.dtype)
            return made

        return TensorSpec(spec.name, spec.shape, spec.dtype, init, spec.is_output)

    # the names of parameters are read from the function: each has its own
    if specs is _hello:
        return lambda rows=48: [grown(s) for s in _hello(rows)]
    if specs in (_rope, _attention):
        return lambda batch=3, ctx=SMALL: [grown(s) for s in specs(batch, ctx)]
    return lambda batch=5: [grown(s) for s in specs(batch=batch)]


KERNELS = Path(kernels.__file__).parent


def _of_rope(version: str, large: Mapping | None = None) -> Subject:
    stage = golden.rope_kv_cache
    specs = _beside(_rope, large) if large else _rope
    file = KERNELS / "rope_kv_cache.py"
    return Subject(file, version, specs, stage.reference, stage.TOLERANCE, stage.COMPARE_FN, _CASES)


def _of_attention(version: str, large: Mapping | None = None) -> Subject:
    stage = golden.flash_attention
    specs = _beside(_attention, large) if large else _attention
    file = KERNELS / "flash_attention.py"
    return Subject(file, version, specs, stage.reference, stage.TOLERANCE, stage.COMPARE_FN, _CASES)


def _of_mlp(version: str, large: Mapping | None = None) -> Subject:
    stage = golden.mlp
    specs = partial(stage.specs, batch=5, layers=2, layer=1, hidden=1024, inter=1024)
    specs = _beside(specs, large) if large else specs
    return Subject(KERNELS / "mlp.py", version, specs, stage.reference, stage.TOLERANCE, {}, {"batch": (1, 16)})


def _of_hello(version: str, large: Mapping | None = None) -> Subject:
    tolerance = golden.Tolerance(rtol=2.0**-7, atol=1e-5, text="1 BF16 ULP")
    specs = _beside(_hello, large) if large else _hello
    return Subject(KERNELS / "hello.py", version, specs, _rms_norm, tolerance, {}, {"rows": (16, 48)})


def _random(name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> TensorSpec:
    def init() -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(len(name))).to(dtype)

    return TensorSpec(name, list(shape), dtype, init_value=init)


def _of_scopes(version: str, reference: Callable[[dict], None]) -> Subject:
    k = mutant_kernels
    rows, width, tile, depth = k.ROWS, k.WIDTH, k.TILE, k.DEPTH
    x, y = _random("x", [rows, width]), TensorSpec("y", [rows, width], torch.float32, is_output=True)
    part = TensorSpec("y", [tile, width], torch.float32, is_output=True)
    n = TensorSpec("n", [1, 8], torch.int32, init_value=torch.tensor([[1, -5, 1, -5, 1, -5, 1, -5]], dtype=torch.int32))
    products = [_random("a", [tile, depth], torch.bfloat16), _random("b", [depth, width], torch.bfloat16), part]
    specs = {"summed": [x, part], "gated": [n, x, y], "upper": products, "beside": products}.get(version, [x, y])
    tolerance = golden.Tolerance(rtol=1e-4, atol=1e-4, text="FP32")
    return Subject(Path(mutant_kernels.__file__), version, lambda: specs, reference, tolerance, {}, None)


def _in_phases(v: dict[str, Any]) -> None:
    x = v["x"].clone()
    for _ in range(mutant_kernels.PHASES):
        x = x + 0.01 * x.sum(0, keepdim=True)
    v["y"].copy_(x)


def _less_the_largest(v: dict[str, Any]) -> None:
    product = v["a"].float() @ v["b"].float()
    v["y"].copy_(product - product.amax(0, keepdim=True))


SCOPES: dict[str, Callable[[dict], None]] = {
    "chain": lambda v: v["y"].copy_((2 * v["x"] + 1) ** 2 - 2 * v["x"]),
    "phases": _in_phases,
    "reused": lambda v: v["y"].copy_(2 * v["x"]),
    "slots": lambda v: v["y"].copy_(2 * v["x"] - 2 * v["x"].roll(-mutant_kernels.TILE, 0)),
    "gated": lambda v: v["y"].copy_(2 * v["x"]),
    "summed": lambda v: v["y"].copy_(v["x"].view(mutant_kernels.TILES, mutant_kernels.TILE, -1).sum(0)),
    "upper": lambda v: v["y"].copy_(torch.softmax(v["a"].float() @ v["b"].float(), -1)),
    "beside": _less_the_largest,
}

# One column that is large, beside the others.
LARGE: dict[str, Subject] = {
    "hello.one_task": _of_hello("one_task", {"weight": ((slice(None), 7), 1e5)}),
    "hello.two_tasks": _of_hello("two_tasks", {"weight": ((slice(None), 7), 1e5)}),
    "rope_kv_cache.flat": _of_rope(
        "flat", dict.fromkeys(("q_norm_weight", "k_norm_weight", "v_proj"), ((..., 3), 10000.0))
    ),
    "flash_attention.flat": _of_attention("flat", {"v_cache": ((..., 5), 1e3)}),
    "mlp.mixed": _of_mlp("mixed", {"hidden_states": ((..., 9), 1e3)}),
}  # fmt: skip

SUBJECTS: dict[str, Subject] = {
    **{f"rope_kv_cache.{v}": _of_rope(v) for v in ("naive", "per_sequence", "flat")},
    **{f"flash_attention.{v}": _of_attention(v) for v in ("flat", "mixed", "fused")},
    **{f"mlp.{v}": _of_mlp(v) for v in ("accumulate", "mixed")},
    **{f"hello.{v}": _of_hello(v) for v in ("two_tasks", "one_task")},
    **{f"{name} beside a large column": subject for name, subject in LARGE.items()},
    **{f"scopes.{v}": _of_scopes(v, reference) for v, reference in SCOPES.items()},
}
