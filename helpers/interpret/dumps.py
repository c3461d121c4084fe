"""Values of tasks' arguments: kept in memory after a run, written to a folder, and read from one.

The folder is the one that PyPTO's runtime (simpler) writes with `--dump-args` and that its `dump_viewer` reads:
`args_dump.json` lists every argument of every task, before the task was dispatched or after it had ended, and
`args.bin` has their bytes, row by row, little-endian. Source: simpler, docs/dfx/args-dump.md. What is written here has
the names of tasks and tensors besides, which the runtime does not know.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import torch

from helpers.errors import InputError
from helpers.files import whole
from helpers.interpret.language import dtypes
from helpers.interpret.language.dtypes import FP4, DType
from helpers.interpret.trace.dumped import AFTER, BEFORE, FULL, LAYOUT, MARKED, OFF, DumpedArgument, DumpRecorder
from helpers.interpret.trace.trace import Trace

MANIFEST, PAYLOAD, FOLDER = "args_dump.json", "args.bin", "args_dump"
STAGES = {"before": BEFORE, "after": AFTER}
ROLES = ("input", "output", "inout")
_RUNTIMES = {"FLOAT": "FP", "BFLOAT": "BF"}  # how the runtime spells types, where it is not as PyPTO does


@dataclass(frozen=True, eq=False)
class Dump:
    """One argument of one task, before it was dispatched or after it had ended.

    Attributes:
        task: The number of the launch, counted from 0; of a dump that says no more, in the order of task ids.
        name: The task's; "" where the dump does not say.
        tensor: The tensor's; "" where the dump does not say.
        index: Which of the task's arguments.
        role: "input", "output" or "inout".
        stage: "before_dispatch" or "after_completion".
        dtype: The element type, as `pl` spells it.
        strides, offset: Where it lies in its memory, in elements.
        value: Of a number.
        truncated: Its values are not all there.
        task_id: How the runtime calls the task.
        functions: The numbers of the kernels that the task runs.
    """

    task: int
    name: str
    tensor: str
    index: int
    role: str
    stage: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    _data: torch.Tensor | Callable[[], torch.Tensor] | None
    value: int | float | bool | None = None
    truncated: bool = False
    task_id: str = ""
    functions: tuple[int, ...] = ()

    @property
    def data(self) -> torch.Tensor | None:
        """The values, in the type that carries them on the host; None: they were not kept."""
        return self._data() if callable(self._data) else self._data

    @property
    def before(self) -> bool:
        """From before the task was dispatched."""
        return self.stage == BEFORE

    def __repr__(self) -> str:
        when = "before" if self.before else "after"
        what = f"{self.value}" if self.value is not None else f"[{', '.join(map(str, self.shape))}]"
        task = f"task {self.task}" + (f" '{self.name}'" if self.name else "")
        return f"{task}: {self.role} {self.index} {self.tensor or ''} {when}, {self.dtype} {what}".replace("  ", " ")


class Dumps(Sequence[Dump]):
    """The dumps of a run, in the order of its launches."""

    def __init__(self, dumps: Iterable[Dump] = (), level: int = FULL):
        self._dumps, self.level = list(dumps), level

    def __len__(self) -> int:
        return len(self._dumps)

    @overload
    def __getitem__(self, where: int) -> Dump: ...
    @overload
    def __getitem__(self, where: slice) -> Dumps: ...
    def __getitem__(self, where: int | slice) -> Dump | Dumps:
        return Dumps(self._dumps[where], self.level) if isinstance(where, slice) else self._dumps[where]

    def __iter__(self) -> Iterator[Dump]:
        return iter(self._dumps)

    def of(
        self,
        task: int | str | None = None,
        tensor: str | None = None,
        *,
        stage: str | None = None,
        role: str | None = None,
        index: int | None = None,
    ) -> Dumps:
        """Those of a task (its number, its name or its id), of a tensor, of a stage ("before", "after"), and so on.

        Raises:
            InputError: there is no such task, tensor, stage or role; says which there are.
        """
        left = self._dumps
        if stage is not None:
            stage = _one_of("stage", STAGES.get(stage, stage), [*STAGES.values()], [*STAGES])
        if role is not None:
            _one_of("role", role, ROLES, ROLES)
        if task is not None:
            left = [d for d in left if task in (d.task, d.name, d.task_id)]
            if not left:
                _one_of("task", task, (), _names(f"{d.task} {d.name}".strip() for d in self._dumps))
        if tensor is not None:
            found = [d for d in left if d.tensor == tensor]
            if not found:
                _one_of("tensor", tensor, (), _names(d.tensor or "(dumps without names)" for d in left))
            left = found
        for what, wanted in (("stage", stage), ("role", role), ("index", index)):
            if wanted is not None:
                left = [d for d in left if getattr(d, what) == wanted]
        return Dumps(left, self.level)

    @property
    def left_out(self) -> int:
        """How many have no values, or not all, since there was no room."""
        return sum(d.truncated for d in self._dumps)

    def __repr__(self) -> str:
        tasks = len({d.task for d in self._dumps})
        head = f"{len(self)} dumps of {tasks} tasks" + (f"; {self.left_out} without all values" * bool(self.left_out))
        rows = [head, *(f"  {i:>4}  {d}" for i, d in enumerate(self._dumps[:20]))]
        return "\n".join([*rows, f"  ... and {len(self) - 20} more"] if len(self) > 20 else rows)

    def write(self, folder: Path | str) -> Path:
        """Write them to `folder`/args_dump, which the runtime's own viewer reads; returns that folder.

        Raises:
            InputError: it cannot be written.
        """
        out = Path(folder) if Path(folder).name == FOLDER else Path(folder) / FOLDER
        try:
            out.mkdir(parents=True, exist_ok=True)
            with whole(out / PAYLOAD, "wb") as payload:
                entries = _entries(self._dumps, payload)
            empty = self.level == LAYOUT and not any(e["bin_size"] for e in entries)
            head = json.dumps({**self._counts(), "bin_file": None if empty else PAYLOAD}, indent=2).removesuffix("\n}")
            with whole(out / MANIFEST) as manifest:
                lines = ",\n".join("    " + json.dumps(e) for e in entries)
                manifest.write(f'{head},\n  "args": [\n{lines}\n  ]\n}}\n')
            if empty:
                (out / PAYLOAD).unlink()
        except OSError as e:
            raise InputError(f"the dump cannot be written to {out}: {e.strerror or e}") from None
        return out

    def _counts(self) -> dict[str, Any]:
        def count(what: str, value: str) -> int:
            return sum(getattr(d, what) == value for d in self._dumps)

        return {
            "run_dir": FOLDER, "bin_format": {"type": "logical_contiguous", "byte_order": "little_endian"},
            "dump_args_level": self.level, "total_args": len(self._dumps),
            **{stage: count("stage", stage) for stage in (BEFORE, AFTER)},
            **{f"{role}_args": count("role", role) for role in ROLES},
            "truncated_args": self.left_out, "dropped_records": 0, "dropped_overwrite": 0,
        }  # fmt: skip


def _one_of(what: str, value: Any, known: Iterable[Any], shown: Iterable[str]) -> Any:
    if value not in known:
        raise InputError(f"no dump has the {what} {value!r}; there are: {', '.join(map(str, shown)) or 'none'}")
    return value


def _names(found: Iterable[str]) -> list[str]:
    names = list(dict.fromkeys(found))
    return [*names[:12], f"{len(names) - 12} more"] if len(names) > 12 else names


# ---- what is asked for ---------------------------------------------------------------------------------------------


def asked(options: Mapping[str, Any] | None) -> tuple[int, list[int | str] | None]:
    """The level that options of a run ask for with `enable_dump_args`, and the tasks that `dump_tasks` names.

    Raises:
        InputError: there is no such level.
    """
    options = options or {}
    level, tasks = options.get("enable_dump_args") or OFF, options.get("dump_tasks")
    if level not in (OFF, MARKED, FULL, LAYOUT):
        raise InputError(
            f"enable_dump_args is {level!r}: 0 is off, 1 dumps what pl.dump_tag and dumps= mark, 2 every argument, "
            "3 the layout of every argument, with values of the marked ones"
        )
    if tasks is None:
        return int(level), None
    tasks = [tasks] if isinstance(tasks, (int, str)) else list(tasks)
    return int(level), [int(t) if isinstance(t, str) and t.isdigit() else t for t in tasks]


def of_run(recorder: DumpRecorder, trace: Trace) -> Dumps:
    """What a recorder kept of a run.

    Raises:
        InputError: it was asked for a task that there is not.
    """
    check_tasks(recorder.tasks, trace)
    return Dumps((_of_kept(k) for k in recorder.kept(trace)), recorder.level)


def check_tasks(tasks: Iterable[int | str] | None, trace: Trace) -> None:
    """Refuse names and numbers that no launch of a run has.

    Raises:
        InputError: there is one; says what there is.
    """
    names = dict.fromkeys(d.name for d in trace.dispatches)
    for t in tasks or ():
        if t not in names and not (isinstance(t, int) and 0 <= t < len(trace.dispatches)):
            raise InputError(
                f"there is no task {t!r} to dump: this run has {len(trace.dispatches):,} launches, counted from 0, of "
                f"{', '.join(_names(names))}"
            )


def of_runtime(folder: Path, trace: Trace | None, ids: Mapping[int, int], tasks: Iterable[int | str] | None) -> Dumps:
    """What PyPTO's runtime has dumped of a run, with the numbers and names of its launches; values are read now.

    Args:
        trace: Of the run, and `ids` the number of the launch of each task id; None where there is none.
    """
    there, found = read(folder), []
    for d in there:
        number = ids.get(int(d.task_id, 16))
        if trace is not None and number is not None:
            d = replace(d, task=number, name=trace.dispatches[number].name)
        if tasks is None or d.task in tasks or d.name in tasks:
            found.append(replace(d, _data=d.data))
    if trace is not None:
        check_tasks(tasks, trace)
    return Dumps(sorted(found, key=lambda d: (d.task, not d.before, d.index)), there.level)


def _of_kept(k: DumpedArgument) -> Dump:
    buffer = k.buffer
    four = buffer.dtype is FP4
    return Dump(
        k.launch.index, k.launch.name, buffer.name if buffer.argument else f"line {buffer.name}", k.number, k.role,
        k.stage, buffer.dtype.name, k.shape, k.strides, k.offset, k.data, None,
        k.left_out or four, f"0x{k.launch.index:016x}", (-1,),
    )  # fmt: skip


# ---- the folder ----------------------------------------------------------------------------------------------------


def _entries(dumps: Iterable[Dump], payload: Any) -> list[dict[str, Any]]:
    """The manifest's entries; their bytes are written. What several dumps share in memory is written once."""
    written: dict[int, tuple[int, int]] = {}
    at, out = 0, []
    for d in dumps:
        place = written.get(id(d._data), (0, 0))
        if place == (0, 0) and d.dtype != "FP4" and (data := d.data) is not None:
            raw = _bytes(data, dtypes.BY_NAME[d.dtype])
            payload.write(raw)
            place = written[id(d._data)] = at, len(raw)
            at += len(raw)
        out.append({
            "task_id": d.task_id or f"0x{d.task:016x}", "func_id": list(d.functions), "arg_index": d.index,
            "role": d.role, "stage": d.stage, "kind": "tensor" if d.value is None else "scalar",
            "dtype": _spelled(d.dtype), **({} if d.value is None else {"value": d.value}),
            "is_contiguous": d.strides == _dense(d.shape), "shape": list(d.shape), "strides": list(d.strides),
            "start_offset": d.offset, "numel": math.prod(d.shape), "bin_offset": place[0], "bin_size": place[1],
            "truncated": d.truncated, "overwritten": False, "task_name": d.name, "tensor": d.tensor,
        })  # fmt: skip
    return out


def _dense(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _spelled(dtype: str) -> str:
    """A type as the runtime spells it."""
    for there, here in _RUNTIMES.items():
        if dtype.startswith(here) and dtype[len(here) :].isdigit() and len(dtype) == 4:
            return there + dtype[len(here) :]
    return {"INDEX": "INT64", "FP4": "FP4E2M1"}.get(dtype, dtype)


def _known(spelled: str) -> DType | None:
    """The type that the runtime spells like this."""
    name = "FP4" if spelled == "FP4E2M1" else spelled.upper()
    for there, here in _RUNTIMES.items():
        if name.startswith(there):
            name = here + name[len(there) :]
    return dtypes.BY_NAME.get(name)


# What holds an element in the payload, where it is not the type that carries it here.
_STORED = {"UINT16": torch.uint16, "UINT32": torch.uint32, "UINT64": torch.uint64}


def _bytes(data: torch.Tensor, dtype: DType) -> bytes:
    stored = _STORED.get(dtype.name, data.dtype)
    return data.to(stored).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def read(folder: Path | str) -> Dumps:
    """The dumps in a folder that PyPTO's runtime, or `Dumps.write`, has written: that folder, or one above it.

    Values are read from the file when they are asked for. The runtime dumps what a pl.spmd takes once for each of its
    blocks: the first counts. Tasks are numbered as they were submitted where the runtime wrote its deps.json, too
    (enable_dep_gen), else by their ids, which count by scope.

    Raises:
        InputError: there is none, or it is not of the form that is known here; says what is wrong.
    """
    manifest = _manifest(Path(folder))
    try:
        found = json.loads(manifest.read_bytes())
    except OSError as e:
        raise InputError(f"{manifest} cannot be read: {e.strerror or e}") from None
    except ValueError as e:
        raise InputError(f"{manifest} is no JSON ({e}): the run that wrote it may not have ended") from None
    entries = found.get("args", found.get("tensors")) if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"{manifest} is no dump of arguments: it has no list 'args'")
    order = (found.get("bin_format") or {}).get("byte_order", "little_endian")
    if order != "little_endian":
        raise InputError(f"{manifest}: its bytes are {order}; little_endian is read")
    name = found.get("bin_file", PAYLOAD)
    payload = manifest.parent / name if name else None
    size = payload.stat().st_size if payload is not None and payload.is_file() else None
    ids = {str(e.get("task_id")) for e in entries if isinstance(e, dict)}
    order = _submitted(manifest.parent.parent / "deps.json")
    numbers = {i: order.get(_by_number(i)[0], n) for n, i in enumerate(sorted(ids, key=_by_number))}
    made = [_of_entry(i, e, numbers, manifest, payload, size) for i, e in enumerate(entries)]
    first: dict[tuple, int] = {}  # of what each block of a pl.spmd has dumped: where the first lies
    for i, (d, e) in enumerate(zip(made, entries)):
        key = d.task_id, d.index, d.stage
        if key not in first or e.get("bin_offset", 0) < entries[first[key]].get("bin_offset", 0):
            first[key] = i
    return Dumps((made[i] for i in sorted(first.values())), found.get("dump_args_level", FULL))


def _submitted(graph: Path) -> dict[int, int]:
    """The number of each task id in what the runtime's dep-gen wrote beside the dump; empty where there is none."""
    try:
        return {int(task["task_id"]): n for n, task in enumerate(json.loads(graph.read_bytes())["tasks"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _by_number(task_id: str) -> tuple[int, str]:
    try:
        return int(task_id, 16), task_id
    except ValueError:
        return -1, task_id


def _manifest(folder: Path) -> Path:
    ways = [folder] if folder.is_file() else [folder / way / MANIFEST for way in ("", FOLDER, f"dfx_outputs/{FOLDER}")]
    for file in ways:
        if file.is_file():
            return file
    if not folder.exists():
        raise InputError(f"there is no folder {folder}")
    raise InputError(
        f"{folder} has no {MANIFEST}, nor has {FOLDER} in it: a run writes one where enable_dump_args is 1 or 2 and a "
        "task has an argument that it is to dump"
    )


def _of_entry(
    number: int, e: Any, tasks: dict[str, int], manifest: Path, payload: Path | None, size: int | None
) -> Dump:
    where = f"{manifest}, entry {number}"
    try:
        dtype, shape = _known(e["dtype"]), tuple(int(n) for n in e["shape"])
        strides = tuple(int(n) for n in e.get("strides", _dense(shape)))
        start, length = int(e.get("bin_offset", 0)), int(e.get("bin_size", 0))
        role, stage, index, task_id = e["role"], e["stage"], int(e["arg_index"]), str(e["task_id"])
        offset, functions = int(e.get("start_offset", 0)), tuple(int(n) for n in _listed(e.get("func_id", ())))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be read ({error})"
        raise InputError(f"{where}: it {what}; this is no dump of PyPTO's runtime that is known here") from None
    if dtype is None:
        raise InputError(f"{where}: the element type {e['dtype']!r} is not known here")
    if role not in ROLES or stage not in STAGES.values():
        raise InputError(f"{where}: role {role!r}, stage {stage!r}; known are {', '.join(ROLES)}; {BEFORE}, {AFTER}")
    lost, scalar = bool(e.get("truncated") or e.get("overwritten")) or dtype is FP4, e.get("kind") == "scalar"
    stored = _STORED.get(dtype.name, dtype.torch)
    whole = math.prod(shape) * (stored.itemsize if dtype.bits >= 8 else 0)
    if length and not scalar:
        if size is None:
            raise InputError(f"{where}: its values are in {payload or PAYLOAD}, which is not there")
        if start + length > size:
            raise InputError(f"{where}: its values end at byte {start + length:,} of {payload}, which has {size:,}")
        if length != whole and not lost:
            raise InputError(f"{where}: {length:,} bytes for {list(shape)} of {dtype}, which take {whole:,}")
    readable = length == whole and length > 0 and not e.get("overwritten") and not scalar
    made = Dump(
        tasks[task_id], str(e.get("task_name", "")), str(e.get("tensor", "")), index, role, stage, dtype.name, shape,
        strides, offset, None, e.get("value") if scalar else None, lost, task_id, functions,
    )  # fmt: skip
    if not readable:
        return made
    return replace(made, _data=lambda: _values(payload, start, length, dtype, shape))


def _listed(x: Any) -> Sequence[Any]:
    return x if isinstance(x, (list, tuple)) else (x,)


def _values(payload: Path, start: int, length: int, dtype: DType, shape: tuple[int, ...]) -> torch.Tensor:
    try:
        with open(payload, "rb") as f:
            f.seek(start)
            raw = bytearray(f.read(length))
    except OSError as e:
        raise InputError(f"{payload} cannot be read: {e.strerror or e}") from None
    if len(raw) != length:
        raise InputError(f"{payload} has changed: {length:,} bytes from {start:,} on are not there any more")
    stored = torch.frombuffer(raw, dtype=_STORED.get(dtype.name, dtype.torch)).reshape(shape)
    return stored.to(dtype.torch)
