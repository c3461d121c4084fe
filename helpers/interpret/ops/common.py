"""What every operation needs: operands on chip, shapes that fit, results accounted for."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from helpers.interpret.language import element_types
from helpers.interpret.language.dtypes import DType, four_bits, of
from helpers.interpret.language.operation import ALL, Operation, signature
from helpers.interpret.machine.machine import Machine
from helpers.interpret.machine.now import Crossing
from helpers.interpret.ops import halves
from helpers.interpret.source.source import Place
from helpers.interpret.values import numbers
from helpers.interpret.values.lanes import Lanes, is_scalar, one
from helpers.interpret.values.values import Tensor, Tile

OPS: dict[str, Operation] = {}
"""Operations by the path that names them below `pl`: "add", "tile.load", "tensor.dim" ..."""

# The on-chip buffers by the names of `pl.Mem`. The scales of block-scaled operands lie beside the operands.
SPACES = {"Vec": "UB", "Mat": "L1", "Left": "L0A", "Right": "L0B", "Acc": "L0C", "Bias": "L1", "DDR": "UB"}
SPACES |= {"LeftScale": "L0A", "RightScale": "L0B"}


def op(
    name: str, takes: str, on: str = "pl tensor tile", *, says: str = "", types: str | tuple[str, str] | None = None,
    tensor: str | None = None, tile: str | None = None, array: str | None = None,
    apart_with_number: tuple[int, ...] = (), apart_when_wider: bool = False, **known: Any,
) -> Callable:  # fmt: skip
    """Declare an operation, of which the function that follows computes the result: its arguments are the machine, the
    place, and the operands.

    Args:
        name: of the operation, without a namespace.
        takes: its parameters, see `operation.signature`; in a namespace of `on` where they differ, `tensor`, ...
        says: what it computes, in one sentence; the first one of the function's docstring if it is left out.
        types: the element types that it takes, on both chips or for A2/A3 and A5.
        apart_with_number: as `apart`, where its second operand is a number.
        apart_when_wider: its result may not overwrite its operand where its elements are wider.
        known: the other fields of `Operation`.
    """
    different = {"tensor": tensor, "tile": tile, "array": array}
    signatures = {
        name if space == "pl" else f"{space}.{name}": signature(different.get(space) or takes) for space in on.split()
    }
    limits = None if types is None else element_types.by_chip(*((types,) if isinstance(types, str) else types))

    def declare(fn: Callable) -> Callable:
        sentence = says or re.split(r"\.\s", f"{inspect.getdoc(fn)}\n", maxsplit=1)[0].replace("\n", " ") + "."
        compute = apart_from(fn, known.get("apart", ()), apart_with_number)
        record = Operation(name, signatures, _widening(fn) if apart_when_wider else compute, sentence, limits, **known)
        for path in signatures:
            OPS[path] = dataclasses.replace(record, compute=halves.watched(record, path))
        return fn

    return declare


def check_type(m: Machine, at: Place, path: str, element: DType) -> None:
    """Refuse `pl.<path>` where the chip has no instruction for this element type."""
    record = OPS[path]
    if element_types.refused(record.types, element.name, m.chip.rules):
        raise m.fault(at, *element_types.described(record.name, record.types, element.name, m.chip.rules))


def apart_from(fn: Callable, operands: tuple[int, ...], with_number: tuple[int, ...]) -> Callable:
    """`fn` with its result kept apart from the operands that it reads while it writes.

    Source: what PyPTO declares for each operation (`not_inplace_safe`, `forbid_output_alias` in
    src/ir/op/tile_ops/*.cpp) and what docs/en/dev/passes/33 says of casts that widen.
    """
    if not operands and not with_number:
        return fn

    @functools.wraps(fn)
    def made(m: Machine, at: Place, *args: Any, **named: Any) -> Any:
        which = operands or (with_number if len(args) > 1 and is_scalar(args[1]) else ())
        if not which or m.now.task is None:
            return fn(m, at, *args, **named)
        before = len(m.now.task.memory)
        out = fn(m, at, *args, **named)
        held = [a for i, a in enumerate((*args, *named.values())) if i in which]
        _keep(m, out, held, before, loads=which == ALL or not all(isinstance(a, Tile) for a in held))
        return out

    return made


def _widening(fn: Callable) -> Callable:
    @functools.wraps(fn)
    def made(m: Machine, at: Place, *args: Any, **named: Any) -> Any:
        before = len(m.now.task.memory) if m.now.task is not None else 0
        out = fn(m, at, *args, **named)
        x = args[0] if args else named.get("input")
        if isinstance(out, Tile) and not is_scalar(x) and out.dtype.bits > x.dtype.bits:
            _keep(m, out, [x], before, loads=True)
        return out

    return made


def _keep(m: Machine, out: Any, operands: Iterable[Any], before: int, loads: bool) -> None:
    """Let the operands, and what the operation itself has made (`loads`), outlive the birth of its results."""
    results = [t.memory for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, Tile)]
    if not results:
        return
    held = [a.memory for a in operands if isinstance(a, Tile)]
    if loads:
        held += m.now.task.memory[before:]
    for memory in held:
        if not any(memory is r for r in results):
            memory.last = m.onchip.clock


def operand(m: Machine, at: Place, x: Any, space: str = "UB") -> Tile:
    """`x` as a tile in `space`: a tensor is loaded.

    Raises:
        FaultError: `x` is neither a tensor nor a tile.
    """
    if type(x) is Tile:
        if x.memory.cut is not None:
            x.memory.cut.used(at)
        if x.slot is not None:
            m.onchip.check_slot(at, x)
        if x.memory.space != space:
            crossed(m, at, x, space)
        m.onchip.touch(x, space)
        m.onchip.check_shape(at, x.shape, x.dtype, x.memory.space)
        if x.empty and not m.now.dry:
            raise Crossing
        return x
    if type(x) is Tensor:
        tile = m.memory.entry_load(at, x) if space == "UB" and x.root is None else m.memory.load(at, x, space)
        m.onchip.touch(tile, space)
        return tile
    raise m.fault(at, f"a tensor or tile is needed here, not {describe(x)}")


SEVERAL = "loop over the axes in front, or store it and load it again"


def leaving(m: Machine, at: Place, x: Any) -> None:
    """Note that a tile is stored: of several products each leaves L0C for its place, once, so that none is left
    (`DetectDirectStore` in src/ir/transforms/flatten_tile_nd_to_2d/batch_matmul.cpp)."""
    if type(x) is Tile and x.pages:
        if x.crossed:
            raise m.fault(
                at, f"{x}, which is several products, is stored a second time or in another shape: PyPTO stores each as"
                " it leaves L0C", SEVERAL,
            )  # fmt: skip
        x.crossed = True


def crossed(m: Machine, at: Place, x: Tile, space: str) -> None:
    """Note that a tile goes from the cube to a vector core or back, once for each value."""
    way = {("L0C", "UB"): "L0C-UB", ("UB", "L1"): "UB-L1"}.get((x.memory.space, space))
    if x.pages and way == "L0C-UB":
        raise m.fault(at, f"{x} is several products, which PyPTO can only store", SEVERAL)
    if way is not None and not x.crossed:
        x.crossed = True
        if way == "UB-L1":
            halves.check_handed(m, at, x)
        rows, nbytes = elements(x.shape[:-1]), -(-x.shape[-1] * x.dtype.bits // 8)
        if m.chip.ring == "GM":
            m.now.task.ring_bytes += rows * nbytes
        if not m.now.quiet:
            m.onchip.step("move", way, x.dtype, (rows, nbytes), at, x.memory)
        m.onchip.channel(at, space, x)


def in_ub(m: Machine, at: Place, x: Any) -> Tile:
    """`x` as an operand of a vector instruction: vector cores read UB, and what they are passed from L0C.

    Source: the assembler (`pto.tpush`) on tiles of each buffer.

    Raises:
        FaultError: `x` is neither a tensor nor a tile, or a tile in L1, L0A or L0B.
    """
    tile = operand(m, at, x)
    if tile.memory.space in ("L1", "L0A", "L0B"):
        raise m.fault(
            at, f"{tile} is in {tile.memory.space}, which vector cores do not reach", "pl.load it into pl.Mem.Vec"
        )
    return tile


def check_scratch(m: Machine, at: Place, name: str, tmp: Any, types: str = "") -> None:
    """Scratch lies in UB, and for some of A2/A3's instructions has one of `types` (the assembler); A5 takes any.

    Raises:
        FaultError: `tmp` is a tile elsewhere, or on A2/A3 of another type than one of `types`.
    """
    if type(tmp) is Tile and tmp.memory.space not in ("UB", ""):
        raise m.fault(at, f"pl.{name} with the scratch {tmp}, which is in {tmp.memory.space}", "pl.create_tile in UB")
    if types and type(tmp) is Tile and m.chip.rules == "a2a3" and tmp.dtype.name not in types.split():
        raise m.fault(at, f"pl.{name} with the scratch {tmp}", f"pl.create_tile(..., pl.{types.split()[0]})")


def operands(m: Machine, at: Place, *xs: Any, space: str = "UB") -> list[Tile]:
    """Several operands of one operation: all of them are on chip when it runs, the first loaded included."""
    tiles = [in_ub(m, at, x) if space == "UB" else operand(m, at, x, space) for x in xs]
    for t in tiles[:-1]:
        m.onchip.touch(t, space)
    return tiles


def describe(x: Any) -> str:
    """How a value is named in an error."""
    if isinstance(x, (Tensor, Tile)):
        return repr(x)
    return f"the scalar {x}" if is_scalar(x) else f"a {type(x).__name__}"


def space_of(target: Any) -> str:
    """The on-chip buffer that a `pl.Mem` value names."""
    return SPACES[getattr(target, "name", str(target)).rsplit(".", 1)[-1]]


def dtype_of(m: Machine, at: Place, x: Any) -> DType:
    """The element type that a dtype argument names."""
    d = of(x)
    if d is None:
        raise m.fault(at, f"{x!r} is no element type that interpret mode supports")
    refusal = four_bits(d, m.chip.rules) if m.now.task is not None else None
    if refusal is not None:
        raise m.fault(at, *refusal)
    return d


_STATIC: set[tuple[int, ...]] = set()  # shapes that were found to be positive integers


def static(m: Machine, at: Place, shape: Any, what: str = "shape") -> tuple[int, ...]:
    """A shape argument as integers; `Diverged` where blocks disagree on it."""
    if type(shape) is tuple and shape in _STATIC:
        return shape
    if not isinstance(shape, (list, tuple)):
        raise m.fault(at, f"{what} must be a list, not {describe(shape)}")
    out = tuple(int(one(n)) for n in shape)
    if any(n <= 0 for n in out):
        raise m.fault(at, f"{what} {list(out)} has an extent that is not positive")
    _STATIC.add(out)
    return out


def scalar(x: Any, rank: int, dtype: DType | None = None) -> Any:
    """A scalar operand for torch: a number, or one a block shaped to broadcast against tiles of `rank`.

    Beside a tile of `dtype` it is a number of that type before it is used, rounded or wrapped, as PTO-ISA's
    instructions take it (`TADDS(..., typename TileDataSrc::DType scalar)`); torch rounds it for some operations and
    not for others.
    """
    if dtype is not None and not dtype.is_float:
        x = numbers.whole(x, dtype)
    rounds = dtype is not None and (dtype.is_float or dtype.bits < 64)
    if type(x) is Lanes:
        values = torch.as_tensor(x.values).view(-1, *[1] * rank)
        return values.to(dtype.torch) if rounds else values
    x = x.item() if isinstance(x, np.generic) else x
    return torch.tensor(x, dtype=dtype.torch) if rounds and dtype.is_float and dtype.bits < 32 else x


def full_shape(a: tuple, b: tuple) -> tuple | None:
    """Broadcast of two shapes, or None."""
    if a == b:
        return a
    try:
        return tuple(torch.broadcast_shapes(a, b))
    except RuntimeError:
        return None


def check_rows(m: Machine, at: Place, name: str, x: Tile, y: Tile) -> None:
    """Refuse a row [1, C] beside [R, C], of two tiles of one rank: PyPTO compiles that, and the instruction computes
    its first row alone (tried on PyPTO with a2a3sim and a5sim)."""
    if x.shape[:-1] == y.shape[:-1]:
        return
    row, other = (x, y) if elements(x.shape) < elements(y.shape) else (y, x)
    of = {"maximum": "max", "minimum": "min"}.get(name, name)
    plain = of in ("add", "sub", "mul", "div", "max", "min")
    wide = f"pl.col_expand_{of}(the tile, the row)" if row is y or of in ("add", "mul", "max", "min") else ""
    raise m.fault(
        at, f"pl.{name} of {x} and {y}: {row} is not broadcast to {list(other.shape)}, PyPTO computes its first row",
        wide if plain and wide else "pl.col_expand the row first: pl.col_expand(the tile, the row)",
    )  # fmt: skip


def elements(shape: tuple) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def vector(m: Machine, shape: tuple, dtype: DType, name: str) -> None:
    """Account for one vector instruction `name` over `shape`; `dtype` is that of the wider side."""
    t = m.now.task
    t.vector_ops += 1
    t.vector_elements += elements(shape)
    if not m.now.quiet:
        m.onchip.step("vector", name, dtype, shape)
