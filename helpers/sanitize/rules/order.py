"""Tasks and blocks that touch the same elements in no order, and dependencies that say nothing new."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from helpers.interpret.source.source import Place
from helpers.interpret.source.texts import FileText
from helpers.interpret.trace import depend
from helpers.interpret.trace.boxes import clear
from helpers.interpret.trace.trace import ATOMIC, READ, Access, Dispatch, Trace
from helpers.interpret.values.values import Buffer
from helpers.sanitize.rules import touched
from helpers.sanitize.rules.findings import ERROR, HINT, Finding

MOST_LAUNCHES = 20_000  # of a trace whose ancestors are kept as bits, which take launches^2 / 8 bytes


@dataclass(frozen=True)
class Clash:
    """Two accesses to common elements, the later one first; `edge` is None within one launch."""

    later: Access
    earlier: Access
    edge: depend.Edge | None
    dispatch: int
    offset: int


def between_tasks(trace: Trace) -> list[tuple[Finding, Clash]]:
    """Elements that two launches touch, one of them writing, with no chain of dependencies between them."""
    out: dict[tuple, tuple[Finding, Clash]] = {}
    atomic: set[tuple] = set()
    for e in depend.races(trace):
        first, second = trace.dispatches[e.earlier], trace.dispatches[e.later]
        site = (first.name, first.place, second.name, second.place, e.why, _known(trace, e.buffer))
        if site in atomic:
            continue
        if site in out:
            continue
        clash = _meeting(trace, e)
        if clash is None:
            atomic.add(site)
            continue
        out[site] = (_race(trace, e, clash), clash)
    return list(out.values())


def _known(trace: Trace, buffer: int) -> object:
    b = trace.buffers[buffer]
    return b.name if b.argument else b.place


def _meeting(trace: Trace, e: depend.Edge) -> Clash | None:
    """Two accesses that need this edge; None where both only add to the elements."""
    theirs = list(_of(trace, trace.dispatches[e.earlier], e.buffer))
    for mine, offsets in _of(trace, trace.dispatches[e.later], e.buffer):
        for other, there in theirs:
            if mine.mode == other.mode and mine.mode in (READ, ATOMIC):
                continue
            if (e.why == depend.KINDS[0]) != (mine.mode == READ) or (e.why == depend.KINDS[2]) != (other.mode == READ):
                continue
            apart = clear(offsets, mine.extent, mine.strides, there, other.extent, other.strides)
            if not apart.all():
                at = int(np.argwhere(~apart)[0][0])
                return Clash(mine, other, e, e.later, int(offsets[at]))
    return None


def _of(trace: Trace, d: Dispatch, buffer: int) -> Iterator[tuple[Access, np.ndarray]]:
    seen = set()
    parts = [[(access, np.array([offset])) for access, offset in d.gates]]
    for part in (*parts, *(touched.accesses(trace, p) for p in d.parts)):
        for access, offsets in part:
            if access.buffer != buffer or not access.elements:
                continue
            offsets = np.unique(offsets)
            key = (access, offsets.tobytes())
            if key not in seen:
                seen.add(key)
                yield access, offsets


def _race(trace: Trace, e: depend.Edge, clash: Clash) -> Finding:
    first, second = trace.dispatches[e.earlier], trace.dispatches[e.later]
    b = trace.buffers[e.buffer]
    verbs = {
        depend.KINDS[0]: ("race", "reads what", "writes", "written here"),
        depend.KINDS[1]: ("double-write", "writes what", "writes too", "also written here"),
        depend.KINDS[2]: ("race", "overwrites what", "reads", "read here"),
    }
    kind, does, did, role = verbs[e.why]
    if first.name == second.name and first.place == second.place:
        who = f"one launch of task '{second.name}' {does} another one {did}"
    else:
        who = f"task '{second.name}' {does} task '{first.name}' {did}"
    return Finding(
        kind,
        ERROR,
        f"{who} in {touched.name(b)}, and no dependency orders them ({e.why})",
        clash.later.place,
        clash.earlier.place,
        role,
        second.name,
        touched.box(b, clash.later, clash.offset),
        _remedy(first, second, b),
    )


def _remedy(first: Dispatch, second: Dispatch, b: Buffer) -> str:
    if first.manual or second.manual:
        return f"bind '{first.name}' with `as tid` and give '{second.name}' deps=[tid]: a manual scope infers nothing"
    if b.manual_dep or b.id in first.no_dep or b.id in second.no_dep:
        return "this tensor is opted out of inference (manual_dep, no_dep): take that away, or declare deps="
    return (
        f"bind '{first.name}' with `as tid` and give '{second.name}' deps=[tid]; or use other memory "
        "(the runtime infers from what tasks write to what they read later, not from reads)"
    )


def between_blocks(trace: Trace) -> list[tuple[Finding, Clash]]:
    """Elements that two blocks of one launch touch between the same barriers, one of them writing."""
    out: dict[tuple, tuple[Finding, Clash]] = {}
    done: set[tuple] = set()
    for d in trace.dispatches:
        if d.blocks < 2 or not d.runs:
            continue
        phases: dict[int, list] = {}
        for part in d.parts:
            phases.setdefault(part.chunk.phase, []).append(part)
        for parts in phases.values():
            for finding, clash in _in_phase(trace, d, parts):
                key = (finding.kind, clash.later.place, clash.earlier.place)
                if key not in done:
                    done.add(key)
                    out[key] = (finding, clash)
    return list(out.values())


def _in_phase(trace: Trace, d: Dispatch, parts: list) -> Iterator[tuple[Finding, Clash]]:
    """Blocks of `parts` run in any order: who wrote each element, then who else wrote or reads it."""
    work = [(a, o, touched.blocks(p)) for p in parts for a, o in touched.accesses(trace, p) if a.elements]
    written = {a.buffer for a, _, _ in work if a.mode != READ}
    for buffer in written:
        mine = [w for w in work if w[0].buffer == buffer]
        if _apart(mine):
            continue
        size = trace.buffers[buffer].size
        owner = np.zeros(size, np.int32)  # 1 + the block that wrote it; zeros take no memory until they are written
        by = np.zeros(size, np.int32)  # which access of `mine` wrote it
        for turn in (False, True):  # writes, then reads
            for n, (access, offsets, ids) in enumerate(mine):
                if (access.mode == READ) != turn:
                    continue
                for (blocks, view), (_, source) in zip(
                    touched.views(owner, access, offsets, ids), touched.views(by, access, offsets, ids)
                ):
                    me = 1 + blocks.reshape(-1, *[1] * len(access.extent)).astype(np.int32)
                    clash = (view != 0) & (view != me)
                    if access.mode == ATOMIC:  # adding to what another adds to needs no order
                        clash &= np.isin(source, [i for i, w in enumerate(mine) if w[0].mode != ATOMIC])
                    if clash.any():
                        at = tuple(np.argwhere(clash)[0])
                        other = mine[int(source[at])][0]
                        mine_, theirs = int(np.ravel(me)[at[0]]) - 1, int(view[at]) - 1
                        yield _block_clash(trace, d, access, other, mine_, theirs, offsets)
                    if not turn:
                        view[...] = me
                        source[...] = n


def _apart(mine: list) -> bool:
    """True when every block keeps to a stretch of the buffer of its own: the quick answer, for most launches."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for access, offsets, ids in mine:
        for block, o in zip(ids, np.broadcast_to(offsets, len(ids))):
            block, o = int(block), int(o)
            starts[block] = min(o, starts.get(block, o))
            ends[block] = max(o + access.span, ends.get(block, 0))
    order = sorted(starts, key=starts.get)
    return all(ends[a] <= starts[b] for a, b in itertools.pairwise(order))


def _block_clash(
    trace: Trace, d: Dispatch, mine: Access, other: Access, me: int, them: int, offsets: object
) -> tuple[Finding, Clash]:
    b = trace.buffers[mine.buffer]
    reads = mine.mode == READ
    does = "reads what" if reads else "writes what"
    offset = int(np.ravel(offsets)[0])
    finding = Finding(
        "race" if reads else "double-write",
        ERROR,
        f"block {me} of task '{d.name}' {does} block {them} writes{'' if reads else ' too'} in {touched.name(b)}, "
        "and nothing orders blocks of one launch",
        mine.place,
        other.place,
        "written here",
        d.name,
        touched.box(b, mine, offset),
        "give each block elements of its own; or a pl.system.syncall, or a launch of its own, between the two",
    )
    return finding, Clash(mine, other, None, d.index, offset)


def ancestors(trace: Trace) -> Callable[[int], int] | None:
    """For each launch the launches that surely ran before it, as bits; None for traces of very many launches."""
    n = len(trace.dispatches)
    if n > MOST_LAUNCHES:
        return None
    before: list[list[int]] = [[] for _ in range(n)]
    for e in depend.stated(trace):
        before[e.later].append(e.earlier)
    bits: list[int] = [0] * n
    for i in range(n):
        for p in set(before[i]):
            bits[i] |= bits[p] | (1 << p)
    return bits.__getitem__


def redundant(trace: Trace) -> list[Finding]:
    """Dependencies written with deps= that other ones enforce already, at every launch of the line.

    One that a function takes from its caller is none: what its other callers let be inferred it cannot know.
    """
    edges = depend.declared(trace)
    past = ancestors(trace) if edges else None
    if past is None:
        return []
    into: dict[int, set[int]] = {}
    for e in depend.stated(trace):
        into.setdefault(e.later, set()).add(e.earlier)
    inferred = {(e.earlier, e.later) for e in depend.stated(trace) if e.why != "deps"}
    needed: dict[tuple, bool] = {}
    for e in edges:
        first, second = trace.dispatches[e.earlier], trace.dispatches[e.later]
        if not _one_call(trace, e.earlier, e.later):
            continue
        site = (first.name, first.place, second.name, second.place)
        around = any((past(p) >> e.earlier) & 1 for p in into[e.later] if p != e.earlier)
        needed[site] = needed.get(site, False) or not (around or (e.earlier, e.later) in inferred)
    return [
        Finding(
            "redundant-dependency",
            HINT,
            f"task '{second}' waits for task '{first}' without it too: another dependency, or an inferred one, says so",
            there,
            here,
            "launched here",
            second,
            fix="leave it out of deps=",
        )
        for (first, here, second, there), is_needed in needed.items()
        if not is_needed
    ]


def _one_call(trace: Trace, earlier: int, later: int) -> bool:
    """Whether two launches are of one call of one function.

    Lines of it that no loop goes over are run in their order, and once a call.
    """
    first, second = trace.dispatches[earlier].place, trace.dispatches[later].place
    function = _around(ast.FunctionDef, first)
    if function != _around(ast.FunctionDef, second):
        return False
    loops = _around((ast.For, ast.While), first) & _around((ast.For, ast.While), second)
    if any(loop[0] > max(function, default=(0, 0))[0] for loop in loops):
        return True
    between = trace.dispatches[earlier + 1 : later]
    return first.line < second.line and all(d.place != first for d in between)


def _around(kinds: Any, place: Place) -> frozenset[tuple[int, int]]:
    """The first and last lines of the functions, or loops, that a line is in."""
    return frozenset(span for span in _spans(kinds, place.text) if span[0] <= place.line <= span[1])


def loops(place: Place) -> list[int]:
    """The first lines of the `for` loops that a line is in, the innermost last."""
    return sorted(first for first, _ in _around(ast.For, place))


@cache
def _spans(kinds: Any, text: FileText | None) -> list[tuple[int, int]]:
    try:
        tree = ast.parse("".join(text.lines if text is not None else ()))
    except SyntaxError:
        return []
    return [(n.lineno, n.end_lineno or n.lineno) for n in ast.walk(tree) if isinstance(n, kinds)]
