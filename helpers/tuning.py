"""Tile sizes as parameters: a kernel with other constants, which constants each stage offers, and which values fit."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from helpers.errors import InputError, KernelError, WorkbookError
from helpers.interpret.decorated import unwrap
from helpers.interpret.trace import Trace
from helpers.stages import Stage, trace_guessed
from kernels.qwen3 import BATCH


@dataclass(frozen=True)
class Knob:
    """A constant of a kernel's module that may be changed: its name, what it is, the values that keep results right."""

    name: str
    title: str
    values: tuple[int, ...]


_TILE_N = Knob("TILE_N", "columns of a tile", (32, 64, 128))
_STEP_K = (64, 128, 256, 512, 1024)
_GROUP_N = Knob("GROUP_N", "columns of a group", (64, 128, 256, 512))

_MLP = {
    "partial_products": (_TILE_N, Knob("TILE_K", "step of K", (64, 128, 256, 512))),
    "accumulate": (_TILE_N, Knob("TILE_K", "step of K", (64, 128, 256, 512))),
    "mixed": (
        Knob("WIDE_N", "columns of a block", (64, 128, 256, 512, 1024)),
        Knob("WIDE_K", "step of K", _STEP_K),
        Knob("MIXED_K", "step of K, gate and up", (32, 64, 128, 256, 512)),
    ),
}
_PREFILL = (
    Knob("WIDE_N", "columns of a tile", (128, 256, 512)),
    Knob("WIDE_K", "step of K", (64, 128, 256)),
    Knob("ATTENTION_BLOCKS", "blocks of attention", (4, 8, 16, 24, 48)),
    Knob("MLP_BLOCKS", "blocks of gate and up", (8, 12, 16, 24)),
)
KNOBS: dict[str, dict[str, tuple[Knob, ...]]] = {
    "qkv_proj": {
        "tile": (_TILE_N, Knob("TILE_K", "step of K", _STEP_K)),
        "grouped": (_GROUP_N, Knob("TILE_K", "step of K", _STEP_K)),
        "spmd": (_GROUP_N, Knob("TILE_K", "step of K", _STEP_K)),
        "split_k": (
            _GROUP_N,
            Knob("SPLIT_TILE_K", "step of K", (64, 128, 256)),
            Knob("SPLITS", "parts of K", (1, 2, 4, 5, 10, 20)),
        ),
    },
    "flash_attention": {"fused": (Knob("RUN", "KV heads at a time", (1, 2, 4, 8)),)},
    "prefill": {"spmd": _PREFILL, "chunked": _PREFILL},
    "prefill_chunk": {"chunked": _PREFILL},
    "mlp": _MLP,
    "mlp_32b": _MLP,
    "lm_head": {
        "narrow": (
            Knob("NARROW_N", "columns of a tile", (32, 64, 128, 256)),
            Knob("NARROW_K", "step of K", _STEP_K),
        ),
        "wide": (
            Knob("WIDE_CHUNKS", "chunks of a task", (1, 2, 3, 4, 6, 9, 12)),
            Knob("WIDE_K", "step of K", _STEP_K),
        ),
    },
}
"""The constants of each stage's versions, by stage and version. The values divide the widths of the stage's tensors."""


def knobs(stage: str, version: str) -> tuple[Knob, ...]:
    """What can be changed of a version; () where nothing can."""
    return KNOBS.get(stage, {}).get(version, ())


def constants(kernel: Any, names: tuple[str, ...]) -> dict[str, int]:
    """The values that constants of a kernel's module have.

    Raises:
        InputError: the module has no such constant.
    """
    known = vars(_module(kernel))
    missing = [n for n in names if n not in known]
    if missing:
        raise InputError(f"{_module(kernel).__name__} has no constant {', '.join(missing)}")
    return {n: known[n] for n in names}


def tuned(kernel: Any, **values: int) -> Any:
    """The kernel with other values for constants of its module; what is computed from them there follows.

    The kernel itself and its module stay as they are. Line numbers are those of the file.

    Raises:
        KernelError: it is no kernel.
        InputError: the module does not assign such a constant.
    """
    module = _module(kernel)
    tree = ast.parse(inspect.getsource(module), module.__file__)
    left = dict(values)
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in left:
                node.value = ast.copy_location(ast.Constant(left.pop(name)), node.value)
    if left:
        raise InputError(f"{module.__name__} has no constant {', '.join(left)}")
    copy = ModuleType(module.__name__)
    copy.__file__ = module.__file__
    exec(compile(tree, module.__file__, "exec"), vars(copy))
    return getattr(copy, unwrap(kernel)[0].__name__)


def tuned_stage(stage: Stage, version: str, **values: int) -> Stage:
    """The stage with a version whose constants have other values; without values the stage itself."""
    if not values:
        return stage
    return replace(stage, versions={**stage.versions, version: tuned(stage.versions[version], **values)})


def attempt(
    stage: Stage, version: str, *, chip: str, batch: int = BATCH, ctx: int | None = None, **values: int
) -> Trace | WorkbookError:
    """The trace of a version with other constants, or what stands against them: on-chip memory, as a rule.

    It runs nothing, see `helpers.stages.trace_guessed`.
    """
    try:
        kernel = tuned_stage(stage, version, **values).versions[version]
        return trace_guessed(kernel, stage.specs(batch=batch, ctx=ctx), chip=chip)
    except WorkbookError as error:
        return error


def _module(kernel: Any) -> ModuleType:
    found = unwrap(kernel)
    if found is None:
        raise KernelError(f"{kernel!r} is not a kernel: decorate the function with @pl.jit")
    return sys.modules[found[0].__module__]
