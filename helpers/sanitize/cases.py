"""The sizes that break kernels: one, a tile less one, a tile, a tile and one, several tiles."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from helpers.interpret.language.annotations import Dim
from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values.values import dense_strides

Specs = Sequence[TensorSpec | ScalarSpec]
MOST_BYTES = 1 << 28  # of a tensor that is grown


@dataclass(frozen=True)
class Axis:
    """A size that varies: its values in the order of trying, smallest first, and its value in the given specs."""

    name: str
    sizes: tuple[int, ...]
    given: int | None


@dataclass(frozen=True)
class Space:
    """All the cases of a kernel: `build` makes the specs for a value of each axis."""

    axes: tuple[Axis, ...]
    build: Callable[[dict[str, int]], list]

    def cases(self, small: bool = False) -> Iterator[dict[str, int]]:
        """All at their smallest; all at their largest; each size of each axis beside the largest of the others.

        `small`, for runs that compute: beside the smallest of the others; and all at their second smallest.
        """
        seen = set()
        least, most = ({a.name: a.sizes[i] for a in self.axes} for i in (0, -1))
        beside = least if small else most
        chosen = [least, {a.name: a.sizes[:2][-1] for a in self.axes}, most] if small else [least, most]
        chosen += [{**beside, a.name: size} for a in self.axes for size in a.sizes]
        for sizes in chosen:
            key = tuple(sizes.values())
            if key not in seen and self.axes:
                seen.add(key)
                yield sizes

    def smaller(self, sizes: dict[str, int]) -> Iterator[dict[str, int]]:
        """Cases that differ from `sizes` in one axis that is smaller, smallest first."""
        for axis in self.axes:
            for size in axis.sizes:
                if size < sizes[axis.name]:
                    yield {**sizes, axis.name: size}


def text(sizes: Mapping[str, Any]) -> str:
    """ "batch=5, ctx=129"."""
    return ", ".join(f"{k}={v}" for k, v in sizes.items())


def dynamic(compiled: Compiled) -> dict[str, list[tuple[str, int]]]:
    """The dynamic dimensions of a kernel: for each the parameters and axes that have it."""
    out: dict[str, list[tuple[str, int]]] = {}
    for p in compiled.parameters:
        for axis, n in enumerate(p.type.shape or ()):
            if isinstance(n, Dim):
                out.setdefault(n.name, []).append((p.name, axis))
    return out


def by_calling(specs: Callable[..., Specs], sweep: Mapping[str, Sequence[int]]) -> Space:
    """A space of calls `specs(name=size, ...)`.

    Raises:
        InputError: `specs` has no such parameter, or no sizes are given for one.
    """
    known = inspect.signature(specs).parameters
    for name, sizes in sweep.items():
        if name not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise InputError(f"sweep: specs takes no '{name}'; it takes {', '.join(known)}")
        if not sizes:
            raise InputError(f"sweep: no sizes for '{name}'")
    axes = tuple(Axis(n, tuple(sorted(s)), None) for n, s in sweep.items())
    return Space(axes, lambda sizes: list(specs(**sizes)))


def by_resizing(compiled: Compiled, specs: Specs, trace: Trace | None, sweep: Mapping[str, Sequence[int]]) -> Space:
    """A space of the given specs cut, or repeated, along their dynamic dimensions; integer scalars go down to 1.

    Sizes are those of `sweep`; else they follow from the tiles that the kernel was seen to use along the dimension. A
    dimension that is not longer than its tile is never made longer: the tile may be all that there is.
    """
    made = {s.name: s for s in specs}
    axes, places = [], {}
    for name, spots in dynamic(compiled).items():
        param, axis = spots[0]
        given = made[param].shape[axis]
        tile = _tile(trace, param, axis) if trace is not None else 1
        sizes = tuple(sweep.get(name) or _around(given, tile))
        if any(n > given and _bytes(made[p], a, n) > MOST_BYTES for n in sizes for p, a in spots):
            sizes = tuple(n for n in sizes if n <= given)
        axes.append(Axis(name, tuple(sorted(set(sizes))), given))
        places[name] = spots
    for s in specs:
        if isinstance(s, ScalarSpec) and not s.dtype.is_floating_point and s.dtype != torch.bool:
            value = int(s.to_python())
            sizes = sweep.get(s.name) or sorted({n for n in (1, value - 1, value) if 0 < n <= value})
            if sizes:
                axes.append(Axis(s.name, tuple(sorted(sizes)), value))

    def build(sizes: dict[str, int]) -> list:
        out = dict(made)
        for name, size in sizes.items():
            if name not in places:
                out[name] = ScalarSpec(name, made[name].dtype, size)
                continue
            for param, axis in places[name]:
                out[param] = resized(out[param], axis, size)
        return [out[s.name] for s in specs]

    return Space(tuple(axes), build)


def _around(given: int, tile: int) -> list[int]:
    if given <= tile:
        return sorted({n for n in (1, given - 1, given) if n > 0})
    return sorted({n for n in (1, tile - 1, tile, tile + 1, 2 * tile + 1, given) if n > 0})


def _tile(trace: Trace, param: str, axis: int) -> int:
    """The largest extent that a task was seen to take along an axis of a parameter."""
    for b in trace.buffers:
        if b.argument and b.name == param:
            strides = dense_strides(b.shape)
            found = [a.extent[axis] for a in trace.shapes if a.buffer == b.id and a.strides == strides]
            return max(found, default=1)
    return 1


def _bytes(spec: TensorSpec, axis: int, n: int) -> int:
    size = spec.dtype.itemsize * n
    for a, s in enumerate(spec.shape):
        size *= 1 if a == axis else s
    return size


def resized(spec: TensorSpec, axis: int, size: int) -> TensorSpec:
    """The same tensor, cut or repeated to `size` along an axis."""
    shape = list(spec.shape)
    was, shape[axis] = shape[axis], size
    if size == was:
        return spec
    if spec.fill is None and (spec.init_value is None or isinstance(spec.init_value, (int, float))):
        return TensorSpec(spec.name, shape, spec.dtype, spec.init_value, spec.is_output)

    def init() -> torch.Tensor:
        return spec.create_tensor().index_select(axis, torch.arange(size) % max(1, was))

    return TensorSpec(spec.name, shape, spec.dtype, init, spec.is_output)
