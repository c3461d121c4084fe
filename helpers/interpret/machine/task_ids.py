"""Task ids while a kernel runs: which launches they name, where deps= can name them, and what loops carry of them.

PyPTO's generated orchestration has a name for an id in the scope that makes it, and none after that scope is closed:
`pl.scope`, `pl.manual_scope` and, outside manual scopes, each turn of a loop and each arm of an if (src/ir/transforms/
materialize_runtime_scopes_pass.cpp). deps= takes only what has a name (src/codegen/orchestration/
orchestration_codegen.cpp, `ResolveDepEdgeBinding`). What an if leaves behind has none, nor what a loop outside manual
scopes carries.

In a manual scope an id that a `pl.parallel` binds again becomes an array with an element for each of its turns. After
the loop it stands for all of them; in the loop it is, in every turn, what it was before (docs/en/dev/language/
02-manual_dependencies.md, src/ir/transforms/classify_iter_arg_carry_pass.cpp).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from helpers.interpret.machine.now import MachinePart
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Dispatch
from helpers.interpret.values.lanes import counted_turns
from helpers.interpret.values.values import Array, TaskId

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine


class TaskIds(MachinePart):
    """Knows task ids, and the scopes that they are in."""

    def __init__(self, m: Machine):
        super().__init__(m)
        self.scopes: list[bool] = [False]  # manual?
        self.scope_count = 0
        self._auto_scope = True  # PyPTO puts loops and arms of ifs into scopes of their own
        self._open, self._opened = [0], 0  # scopes of the generated orchestration: those around, and the latest
        self._known_numbers: list[frozenset[str]] = []  # of the inline functions around: parameters that are constants

    def begin(self, auto_scope: bool) -> None:
        """A kernel begins; `auto_scope`: PyPTO puts its loops and arms of ifs into scopes of their own."""
        self._auto_scope = auto_scope

    @contextmanager
    def scope(self, manual: bool) -> Iterator[None]:
        """`pl.scope` / `pl.manual_scope`."""
        self.scope_count += 1
        self.scopes.append(manual)
        try:
            with self.opened():
                yield
        finally:
            self.scopes.pop()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """A scope of the generated orchestration: names made in it end with it."""
        self._opened += 1
        self._open.append(self._opened)
        try:
            yield
        finally:
            self._open.pop()

    @contextmanager
    def body(self) -> Iterator[None]:
        """A turn of a loop or an arm of an if."""
        if any(self.scopes) or not self._auto_scope:
            yield
            return
        with self.opened():
            yield

    @property
    def here(self) -> int:
        """The innermost scope of the generated orchestration."""
        return self._open[-1]

    def task_id(self, made: list[Dispatch]) -> TaskId:
        """The id of a launch that was begun; in a batch of turns, -1 stands for the first launch of each."""
        number = made[0].index if self.m.batches.batch is None else -len(self.m.batches.batch.groups)
        return TaskId((number,), scope=self.here)

    def no_task(self) -> TaskId:
        """None: an id that names nothing."""
        return TaskId((), scope=self.here)

    def fixed(self, names: tuple[str, ...]) -> bool:
        """True when PyPTO knows these parameters of the inline function that runs while it compiles."""
        return not self._known_numbers or self._known_numbers[-1].issuperset(names)

    def inlined(self, known: Sequence[tuple[str, bool]], body: Callable, *args: Any) -> Any:
        """The call of an inline function; `known`: whether PyPTO knows parameters of it while it compiles."""
        self._known_numbers.append(frozenset(name for name, fixed in known if fixed))
        try:
            return body(self.m, *args)
        finally:
            self._known_numbers.pop()

    def another_name(self, value: Any) -> Any:
        """`b = a` for a task id."""
        if isinstance(value, TaskId) and value.scope in self._open:
            return replace(value, scope=self.here)
        return value

    def joined(self, value: Any) -> Any:
        """What an if leaves of a name that its arms bind; None: a name that one of them does not bind."""
        if value is None:
            return TaskId()
        return replace(value, scope=None) if isinstance(value, TaskId) else value

    def id_in_loop(self, value: Any) -> Any:
        """What a name that a loop binds again is at the start of a turn, and after the loop."""
        if isinstance(value, TaskId):
            return replace(value, scope=self.here if any(self.scopes) else None)
        if isinstance(value, Array) and not self.scopes[-1]:
            return replace(value, scope=self.here)
        return value

    def element(self, at: Place, array: Array, index: int) -> Any:
        """`tids[i]`: a new name for the id, or the number, that the array holds there."""
        value = array.items[self.slot(at, array, index)]
        if array.dtype is not None:
            return value
        return self.no_task() if value is None else replace(value, scope=self.here)

    def with_element(self, at: Place, array: Array, index: int, value: Any) -> Array:
        """`tids[i] = value`: the array as it is then."""
        if array.dtype is None and value is not None and not isinstance(value, TaskId):
            raise self.m.fault(at, f"an array of task ids gets {value!r}, which is none", "tids[i] = tid")
        if isinstance(value, TaskId) and (array.dtype is not None or value.slots):
            what = "an array of numbers gets a task id" if array.dtype else "an element gets the ids of a whole loop"
            raise self.m.fault(at, what, "tids[i] = tid in the loop, of tids = pl.array.create(n, pl.TASK_ID)")
        items = list(array.items)
        items[self.slot(at, array, index)] = value
        return Array(items, array.dtype, array.scope if self.scopes[-1] else self.here)

    def slot(self, at: Place, array: Array, index: int) -> int:
        """The index, which must be one of the array's: generated code does not check it."""
        if not 0 <= index < len(array.items):
            raise self.m.fault(at, f"element {index} of an array of {len(array.items)}", f"0 to {len(array.items) - 1}")
        return index

    def carry(self, place: Place, bounds: tuple, names: dict[int, str], sequential: bool, fixed: bool) -> Carry:
        """Of a loop with init_values, see `Carry`."""
        return Carry(self.m, place, len(counted_turns(bounds)), names, sequential, fixed)

    def waits(self, at: Place, entries: Sequence[tuple[str, Any]]) -> tuple[int, ...]:
        """The launches that a deps= names; `entries`: its text and value, one for each.

        Raises:
            FaultError: an entry is no task id, or one that has no name here.
        """
        out: list[int] = []
        whole = [text for text, v in entries if isinstance(v, Array)]
        for text, v in entries:
            if v is None:
                continue
            if not (isinstance(v, TaskId) or (isinstance(v, Array) and v.dtype is None)):
                raise self.m.fault(at, f"`{text}` in deps= is no task id", "what `as tid` or a pl.submit binds")
            if whole and "[" in text:
                raise self.m.fault(
                    at, f"deps= names the whole array '{whole[0]}' and the element `{text}`", "one or the other"
                )
            if "[" not in text and v.scope not in self._open:
                raise self.m.fault(
                    at, f"'{text}' in deps= was bound in a scope that is closed here: its name in PyPTO's code is gone",
                    "wait for it in the scope that made it; or keep ids in an array that is made before the scope:"
                    " tids = pl.array.create(n, pl.TASK_ID)",
                )  # fmt: skip
            for task in v.items if isinstance(v, Array) else [v]:
                out += task.dispatches if task is not None else ()
        return tuple(dict.fromkeys(out))


def without_turns(name: str, turns: str | None = None) -> tuple[str, str]:
    """What is wrong with a pl.parallel that carries an id and whose number of turns is not known, and what to do."""
    return (
        f"this pl.parallel of a manual scope carries the task id '{name}' and has"
        f" {turns or 'a number of turns that only the run knows'}: PyPTO keeps an id for each turn, and must have a"
        " statically-known trip count",
        "a number of turns that is known when the kernel is parsed; or tids = pl.array.create(n, pl.TASK_ID) before it,"
        " and tids[i] = tid in it",
    )


class Carry:
    """What the names that a loop of orchestration binds again hold, turn by turn.

    `names`: those that can hold a task id, by their places among what the loop carries. `fixed`: PyPTO knows the number
    of turns while it compiles.
    """

    def __init__(
        self, machine: Machine, place: Place, turns: int, names: dict[int, str], sequential: bool, fixed: bool
    ):
        self.machine, self.place, self.turns, self.names, self.fixed = machine, place, turns, names, fixed
        self.array = not sequential and any(machine.ids.scopes)  # of each id that it carries
        self.before: tuple = ()
        self.count = 0  # turns that ran
        self.found: dict[int, dict[int, tuple[int, list]]] = {}  # place -> turn -> slots and launches of the id

    def entering(self, values: tuple) -> tuple:
        """What the names hold at the start of a turn."""
        if self.names:
            values = tuple(self.machine.ids.id_in_loop(v) if n in self.names else v for n, v in enumerate(values))
        self.before = values
        return values

    def turned(self, values: tuple) -> tuple:
        """What they hold at the end of one that ran alone, for the next."""
        self.count += 1
        return self.leaving(self.before, values, [(self.count, [])])

    def parallel(self, n: int, value: Any) -> bool:
        """True for a name that becomes an array of all turns."""
        return self.array and n in self.names and isinstance(value, TaskId)

    def leaving(self, before: tuple, after: tuple, rows: Sequence[tuple[int, list[Dispatch]]]) -> tuple:
        """What the names hold for the next turn; `rows`: the turns that ran, and what each launched as a batch."""
        out = []
        for n, (old, new) in enumerate(zip(before, after)):
            if not self.parallel(n, new):
                out.append(new)
                continue
            self._check(n, old, new)
            for turn, made in rows:
                self.found.setdefault(n, {})[turn] = new.slots, self._launches(new, made)
            out.append(old)
        return tuple(out)

    def _launches(self, task: TaskId, made: list[Dispatch]) -> list:
        """By the launches themselves, whose numbers may change yet; in a batch around by number."""
        if self.machine.batches.batch is not None:
            return list(task.dispatches)
        listed = self.machine.trace.dispatches
        return [made[-1 - i] if i < 0 else listed[i] for i in task.dispatches]

    def _check(self, n: int, before: Any, task: TaskId) -> None:
        name = self.names[n]
        if not self.fixed:
            raise self.machine.fault(self.place, *without_turns(name))
        if task.scope is None:
            raise self.machine.fault(
                self.place, f"'{name}', which this pl.parallel of a manual scope carries, is bound in an arm of an if:"
                " PyPTO has no name for what an if leaves", "bind it outside the if",
            )  # fmt: skip
        if isinstance(before, TaskId) and before.slots not in (0, self.turns):
            raise self.machine.fault(
                self.place, f"'{name}' stands for {before.slots} tasks of another pl.parallel, and this one, which"
                f" binds it again, has {self.turns} turns: PyPTO loses what it stood for", "another name",
            )  # fmt: skip
        if task.slots not in (0, self.turns):
            raise self.machine.fault(
                self.place, f"'{name}' stands for {task.slots} tasks of a pl.parallel within this one of {self.turns}"
                " turns, which keeps an id for each turn", "another name, or loops of as many turns",
            )  # fmt: skip

    def after(self, values: tuple) -> tuple:
        """What the names hold after the loop."""
        if not self.names:
            return values
        out = [self.machine.ids.id_in_loop(v) if n in self.names else v for n, v in enumerate(values)]
        for n, turns in self.found.items():
            out[n] = self._array(turns)
        return tuple(out)

    def _array(self, turns: dict[int, tuple[int, list]]) -> TaskId:
        """All turns' ids; where each turn's is an array, the last one's: it is copied over those before."""
        inner = [turns[i] for i in sorted(turns)]
        kept = [inner[-1]] if inner[-1][0] else inner
        launches = [d if isinstance(d, int) else d.index for _, found in kept for d in found]
        return TaskId(tuple(dict.fromkeys(launches)), self.turns, self.machine.ids.here)
