"""Rows of inputs that hold no data: whether what lies in them reaches a result.

A kernel that takes fewer sequences than its tile has rows declares both: a dynamic extent, up to the tile's, and inputs
whose first axis is the tile's. The rows from the dynamic extent on are padding. Where a task reads some, the kernel
runs twice, over other values in them, and what is real of its outputs has to be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from helpers.errors import WorkbookError
from helpers.interpret.language.annotations import Dim
from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import READ, Trace
from helpers.sanitize.rules.findings import ERROR, Finding
from helpers.sanitize.rules.replay import FILL, Subject, difference


@dataclass(frozen=True)
class Padding:
    """Rows `first` to `rows` of an input, which hold no data, and where a task reads some of them."""

    name: str
    first: int
    rows: int
    place: Place
    task: str


def read(trace: Trace, compiled: Compiled, extents: Mapping[str, int], most: Mapping[str, int]) -> list[Padding]:
    """The padding that a run reads.

    Args:
        extents: Of each dynamic dimension in this run.
        most: The largest extent of each that the kernel is tried with: that of its tile.
    """
    tiles = {most[d]: n for d, n in extents.items() if n < most.get(d, n)}
    ids = {b.name: b for b in trace.buffers if b.argument}
    limits: dict[int, int] = {}  # buffer -> first element of its padding
    rows: dict[int, int] = {}
    for p in compiled.parameters:
        n = p.type.shape[0] if p.type.kind == "tensor" and p.type.shape else None
        if n is None or isinstance(n, Dim) or n not in tiles or p.type.direction != "In" or p.name not in ids:
            continue
        b = ids[p.name]
        if b.dtype.is_float:
            limits[b.id], rows[b.id] = tiles[n] * (b.size // n), n
    found: dict[int, Padding] = {}
    wanted = np.array([a.buffer in limits and a.mode == READ and a.elements > 0 for a in trace.shapes], bool)
    for d in trace.dispatches:
        for part in d.parts:
            for i in np.flatnonzero(wanted[part.chunk.shapes]).tolist():
                access = trace.shapes[part.chunk.shapes[i]]
                b = access.buffer
                if b not in found and np.max(part.at(part.chunk.offsets[i])) + access.span > limits[b]:
                    name = trace.buffers[b].name
                    found[b] = Padding(name, tiles[rows[b]], rows[b], access.place, d.name)
    return list(found.values())


def reaching(subject: Subject, compiled: Compiled, padding: Sequence[Padding]) -> list[Finding]:
    """Padding that changes an output: the kernel is run on the values of `subject`, and on others in the padding."""
    tiles = {p.rows: p.first for p in padding}
    ways = {p.name: p.type.direction for p in compiled.parameters if p.type.kind == "tensor"}

    def outputs(values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """What is real of them: of an output with as many rows as the tile those that hold data."""
        return {n: values[n][: tiles.get(len(values[n]))] for n, way in ways.items() if way != "In" and values[n].dim()}

    values = subject.make()
    try:
        subject.run(values)
    except WorkbookError:
        return []  # which other sanitizers say
    was, out = outputs(values), []
    for p in padding:
        values = subject.make()
        values[p.name] = values[p.name].clone()
        values[p.name][p.first :] = FILL
        try:
            subject.run(values)
            changed = difference(was, outputs(values))
        except WorkbookError as error:
            changed = f"the kernel fails: {error.what or error}"
        if changed is not None:
            out.append(
                Finding(
                    "padded-lanes", ERROR,
                    f"a result depends on rows {p.first}:{p.rows} of '{p.name}', which hold no data",
                    p.place, None, "", p.task, f"{p.name}[{p.first}:{p.rows}]",
                    f"read the first {p.first} rows only (valid_shape=), and pl.fillpad where the others count",
                    f"with other values in them, {changed}",
                )
            )  # fmt: skip
    return out
