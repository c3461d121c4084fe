"""From one version of a stage to the next: what each single change is predicted to be worth by itself.

A version changes several things of the one before. Each is made alone in the version before, and undone alone in the
version itself; the kernels that this makes differ in that one thing. A stage's record says how (`changes`, see
`helpers.stages.records`); what it does not name is the rest: how the work is cut into launches and regions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from helpers import chips, stages
from helpers.errors import InputError, WorkbookError
from helpers.profile.profile import profile
from helpers.stages import Stage
from helpers.tuning import tuned_stage

REST = "the rest: launches and regions"


@dataclass(frozen=True)
class Change:
    """One thing that a version changes of the one before.

    Attributes:
        name: What it is.
        alone: Microseconds of the version before with this change and no other; None: there is no such kernel.
        without: Microseconds of the version with all but this change; None: there is no such kernel.
        share: Of the whole gain, the mean over all orders in which the changes can be made (Shapley value); None where
            some of these kernels do not exist. The shares of all changes add up to 1.
        why: Why there is no such kernel, where there is none.
    """

    name: str
    alone: float | None
    without: float | None
    share: float | None
    why: str = ""


@dataclass(frozen=True)
class Step:
    """A version and the one before, in microseconds on one chip, predicted, and what lies between them."""

    stage: str
    before: str
    after: str
    chip: str
    us_before: float
    us_after: float
    changes: tuple[Change, ...]

    @property
    def gain(self) -> float:
        """Microseconds less; below 0: more."""
        return self.us_before - self.us_after

    def __str__(self) -> str:
        lines = [
            f"{self.stage}: {self.before} to {self.after} on {self.chip}, predicted{chips.chip(self.chip).within}: "
            f"{self.us_before:,.1f} to {self.us_after:,.1f} µs"
        ]
        for c in self.changes:
            alone = f"alone {c.alone:,.1f} µs" if c.alone is not None else "not alone"
            without = f"all but this {c.without:,.1f} µs" if c.without is not None else "cannot be left out alone"
            share = f"{100 * c.share:.0f} % of the gain; " if c.share is not None else ""
            lines.append(f"  {c.name}: {share}{alone}; {without}{f' ({c.why})' if c.why else ''}")
        return "\n".join(lines)


def ablate(stage: str | Stage, version: str | None = None, chip: str = "a2a3", batch: int | None = None) -> list[Step]:
    """What each single change of a stage's versions is worth.

    Args:
        stage: Its name, or the stage.
        version: The step to this version only; None: every step whose changes the stage names.
        chip: "a2a3" or "a5".
        batch: Sequences; None: the stage's own.

    Raises:
        InputError: no such stage or version, or it names no changes.
        WorkbookError: a version itself cannot be predicted.
    """
    found = stages.find(stage) if isinstance(stage, str) else stage
    names = list(found.names)
    if version is not None and version not in names:
        raise InputError(f"stage {found.name} has no version {version!r}; there are: {', '.join(names)}")
    wanted = [v for v in names[1:] if v in found.changes and version in (None, v)]
    if not wanted:
        known = [s.name for s in stages.STAGES.values() if s.changes]
        raise InputError(
            f'stage {found.name} names no single changes{f" of {version}" if version else ""}: add "changes" to its '
            f"record, see helpers.stages.records; stages that do: {', '.join(known)}"
        )
    return [_step(found, names[names.index(v) - 1], v, chip, batch) for v in wanted]


def _step(stage: Stage, before: str, after: str, chip: str, batch: int | None) -> Step:
    changes = stage.changes[after]
    why: dict[str, str] = {}

    @cache
    def us(version: str, edits: frozenset[str]) -> float | None:
        """The version before with these changes, or the version without them."""
        values: dict[str, int] = {}
        for name in sorted(edits):
            one = changes[name][0 if version == before else 1]
            if one is None:
                return None
            values |= one
        try:
            made = tuned_stage(stage, version, **values)
            trace = stages.trace_stage(made, version, chip=chip, batch=batch)
            return profile(trace, chips.chip(chip)).makespan
        except WorkbookError as error:
            if not edits:
                raise
            why.setdefault(min(edits), str(error).splitlines()[0])
            return None

    players = (*changes, REST)

    def value(made: frozenset[str]) -> float | None:
        """With these changes made."""
        if REST in made:
            return us(after, frozenset(changes) - made)
        return us(before, made)

    shares = _shapley(players, value)
    us_before, us_after = us(before, frozenset()), us(after, frozenset())
    everything = frozenset(players)
    rows = [
        Change(name, value(frozenset({name})), value(everything - {name}), shares.get(name), why.get(name, ""))
        for name in players
    ]
    return Step(stage.name, before, after, chip, us_before, us_after, tuple(rows))


def _shapley(players: tuple[str, ...], value: Callable[[frozenset[str]], float | None]) -> dict[str, float]:
    """Each player's share of the gain, or {} where some value is not known or nothing is gained."""
    n = len(players)
    values = {s: value(s) for s in _subsets(players)}
    if any(v is None for v in values.values()):
        return {}
    gain = values[frozenset()] - values[frozenset(players)]
    if abs(gain) < 1e-9:
        return {}
    out = {}
    for p in players:
        total = 0.0
        for s in values:
            if p not in s:
                weight = math.factorial(len(s)) * math.factorial(n - len(s) - 1) / math.factorial(n)
                total += weight * (values[s] - values[s | {p}])
        out[p] = total / gain
    return out


def _subsets(players: tuple[str, ...]) -> Iterator[frozenset[str]]:
    for k in range(len(players) + 1):
        yield from map(frozenset, combinations(players, k))
