"""A run in the terminal, predicted or recorded: the tables of pypto-lib's profiling, and what the time went to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from helpers.profile.levers import Lever
from helpers.profile.pipe_times import PIPES
from helpers.profile.profile import PathStep, Profile
from helpers.profile.stalls import stalls

CAUSES = {"dependency": "it waited for the one above", "core": "its core was the one's above", "submit": "submitted"}
_STEPS = 12
_STALLED = 4  # names whose stalls are shown


def summary(profile: Profile, title: str) -> RenderableType:
    """Tasks by name, the losses of both engines, bytes by level, and the critical path."""
    real = profile.trace.recorded is not None
    head = Text.assemble(
        (f"{title} on {profile.trace.platform if real else profile.chip.title}, ", "bold"),
        (profile.kind.upper(), "bold yellow"),
        (
            f"{f', {profile.basis}' if real else ' by the cost model'}: {profile.makespan:,.1f} us{profile.within}, "
            f"{len(profile.tasks):,} tasks, {profile.mean_task:,.2f} us a task on average",
            "bold",
        ),
    )
    if not real and profile.chip.assumed:
        head.append(f"\nassumed of {profile.chip.name}: {', '.join(profile.chip.assumed)}", "yellow")
    if profile.compiler.day is not None:
        head.append(f"\nwith PyPTO's compiler of {profile.compiler.day}", "yellow")
    if profile.trace.partial:
        head.append(f"\npartial: {profile.trace.partial}", "bold red")
    inside = () if real else (_pipes(profile), Text(), _stalls(profile), Text())
    return Group(
        head, _names(profile), Text(), *inside, _engines(profile), Text(), _levels(profile), Text(), _path(profile)
    )


def helping(found: list[Lever]) -> RenderableType:
    """What would help most, each change by itself: `helpers.profile.levers`."""
    if not found:
        return Text("no single change of those that are tried gains a percent")
    table = _table("one thing changed, predicted", "at", ">us less", ">of the time")
    for one in found:
        where = f"{Path(one.place.file).name}:{one.place.line}"
        table.add_row(one.what, where, f"{one.gain:,.1f}", f"{100 * one.gain / one.of:.0f} %")
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for h in headings:
        table.add_column(h.lstrip(">"), justify="right" if h.startswith(">") else "left")
    return table


def _names(profile: Profile) -> Table:
    table = _table("task", "core", ">count", ">total us", ">mean us", ">share", "bound by", "launched at")
    rows = profile.by_name()
    total = sum(r.total for r in rows) or 1.0
    for r in rows:
        where = f"{Path(r.place.file).name}:{r.place.line}"
        share = f"{100 * r.total / total:.1f} %"
        table.add_row(r.name, r.core, f"{r.tasks:,}", f"{r.total:,.1f}", f"{r.mean:,.2f}", share, r.bound, where)
    return table


def _pipes(profile: Profile) -> Table:
    """How busy the pipes of a core are while it has a task of each name, in the words of the runtime's PMU."""
    rows = profile.by_name()
    used = [p for p in PIPES if any(r.busy.get(p, 0.0) > 0 for r in rows)]
    table = _table("busy while a task runs", *(f">{p}" for p in used))
    for r in rows:
        table.add_row(r.name, *(f"{100 * r.busy[p]:.0f} %" if r.busy.get(p) else "" for p in used))
    return table


def _stalls(profile: Profile) -> Table:
    """What pipes wait for, in the first task of each of the names that take the most time."""
    table = _table("in the first task of", ">of its time", "")
    for r in sorted(profile.by_name(), key=lambda r: -r.total)[:_STALLED]:
        first = int(np.argmax(profile.tasks.name == profile.tasks.names.index(r.name)))
        runs = profile.core(first)
        total = sum(core.total for core in runs)
        for stall in sorted((s for core in runs for s in stalls(core)), key=lambda s: -s.us)[:2]:
            if stall.us > 0.02 * total:
                table.add_row(r.name, f"{100 * stall.us / total:.0f} %", str(stall))
    return table


def _engines(profile: Profile) -> Table:
    table = _table("cores", ">busy", ">lost to dispatch", ">to dependencies", ">to imbalance")
    for engine, shares in profile.losses_by_engine.items():
        table.add_row(engine, *(f"{100 * share:.1f} %" for share in shares.values()))
    return table


def _levels(profile: Profile) -> Table:
    ring = "out to GM and back, each byte twice" if profile.chip.ring == "GM" else "on chip"
    said = {"C2V": f"cube to vector, {ring}", "V2C": f"vector to cube, {ring}", "HBM": "of what is read; an estimate"}
    table = _table("moved", ">MB", "")
    for level, nbytes in profile.bytes.items():
        table.add_row(level, f"{nbytes / 1e6:,.2f}", said.get(level, ""))
    return table


def _path(profile: Profile) -> Table:
    path = profile.path
    shown: list[PathStep | None] = list(path)
    if len(path) > _STEPS:
        shown = [*path[: _STEPS // 2], None, *path[-_STEPS // 2 :]]
    table = _table("critical path", "source", ">waited us", ">runs us", "because")
    for step in shown:
        if step is None:
            left = path[_STEPS // 2 : -_STEPS // 2]
            waited, ran = sum(p.waited for p in left), sum(p.end - p.start for p in left)
            table.add_row(f"... {len(left):,} more", "", f"{waited:,.1f}", f"{ran:,.1f}", "")
            continue
        where = f"{Path(step.place.file).name}:{step.place.line}"
        table.add_row(step.name, where, f"{step.waited:,.2f}", f"{step.end - step.start:,.2f}", CAUSES[step.cause])
    return table
