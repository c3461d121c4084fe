"""Running a kernel: check what the caller passes, interpret, say what happened.

Everything about the arguments is checked before the first task runs, so a call that is refused has changed
nothing. A fault inside the kernel is reported at the line of the kernel that caused it.
"""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch

from helpers.chips import Chip
from helpers.errors import FaultError, InputError, WorkbookError
from helpers.interpret.facts.forms import Parameter
from helpers.interpret.language import dtypes
from helpers.interpret.language.annotations import Dim
from helpers.interpret.language.dtypes import FP4
from helpers.interpret.lowering.code import SOURCE
from helpers.interpret.lowering.compiled import Compiled, with_callees
from helpers.interpret.lowering.lower import compile_kernel
from helpers.interpret.machine.batches import Conflict
from helpers.interpret.machine.machine import Follow, Machine, Replay
from helpers.interpret.source import texts
from helpers.interpret.source.source import Place, Source, located
from helpers.interpret.trace.dumped import DumpRecorder
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values import fp4
from helpers.interpret.values.kept import Astray, Kept, Reopened
from helpers.interpret.values.lanes import Diverged
from helpers.interpret.values.products import one_thread
from helpers.interpret.values.seen import Enough, Look


def interpret(
    kernel: Any,
    args: Sequence[Any] | Mapping[str, Any],
    platform: str,
    chip: Chip,
    dry: bool = False,
    fit: bool = True,
    fill: float | None = None,
    replay: Replay | None = None,
    follow: Follow | None = None,
    guess: int = 0,
    make_machine: Callable[..., Machine] = Machine,
    look: Look | None = None,
    dumps: DumpRecorder | None = None,
    kept: Kept | None = None,
    tell: Callable[[int], None] | None = None,
) -> Trace:
    """Run `kernel` on the arguments in place and return the trace.

    Args:
        kernel: a function decorated with @pl.jit.
        args: contiguous CPU tensors and numbers, in parameter order or by name.
        platform: the name to put into the trace.
        chip: the chip that is modelled.
        dry: run control flow only; no tensor changes.
        fit: a task that needs more of an on-chip buffer than there is, is a fault.
        fill: what memory holds that nothing was written to, see Machine.
        replay: in which order tasks run; None: the program's.
        follow: what a dry run computes all the same; None: nothing.
        guess: what a number counts as that a dry run does not know.
        make_machine: gives the machine that it runs on: one that looks on, for example.
        look: the task to record; the run ends when it has, and the arguments hold what they held before.
        dumps: who keeps values of the tasks' arguments.
        kept: takes what opening a task later needs, see `again`.
        tell: called with n when n tasks are about to run together; what it raises ends the run, see `helpers.run.run`.

    Raises:
        KernelError: the kernel's source is not in the language.
        InputError: an argument does not fit its parameter; nothing has run.
        FaultError: the kernel did something wrong while it ran. The arguments hold what they held before, unless it
            had overwritten more than `machine.LOG_BYTES` of them, which the message then says.
    """
    compiled = compile_kernel(kernel)
    values = arrange(compiled, args)
    dims = check(compiled, values, dry)
    machine = make_machine(platform, chip, dry, fit, fill, replay, follow, guess, look, dumps, kept, tell=tell)
    machine.trace.outdated = texts.tell(c.source.bound for c in with_callees(compiled))
    data = [fp4.elements(v) if isinstance(v, torch.Tensor) else v for v in values]
    try:
        _go(compiled, machine, dims, data)
    except Enough:
        machine.log.take_back()
    except BaseException as e:
        restored = machine.log.take_back()
        if isinstance(e, FaultError) and not restored:
            raise FaultError(
                f"{e}\n  note: the kernel had written too much to put back; its outputs are half written"
            ) from e
        raise
    for given, elements in zip(values, data) if not dry else ():
        if elements is not given:
            fp4.pack(elements, given)
    if kept is not None:
        kept.given, kept.args, kept.dims = values, data, dims
        kept.finish(machine.trace)
    for buffer in machine.trace.buffers:  # a trace that is kept does not keep the memory of the run
        buffer.base = None
    return machine.trace


def again(kernel: Any, kept: Kept, launch: int, platform: str, chip: Chip, look: Look) -> bool:
    """Do the block of a launch that `look` is to record once more, in a run that was kept; nothing has changed after.

    Returns:
        True when it stored what it had stored in the run, bit by bit. If not, what was recorded is of no use: see
        `once_more`.
    """
    compiled = compile_kernel(kernel)
    try:
        reopened = Reopened(kept, launch, look.block)
    except Astray:
        return False
    machine = Machine(platform, chip, True, fit=False, look=look, reopened=reopened)
    went = True
    try:
        _go(compiled, machine, kept.dims, kept.args)
    except Enough:
        pass
    except (Astray, WorkbookError, LookupError, Conflict, Diverged):  # other numbers than the run had
        went = False
    finally:
        machine.log.take_back()
        same = reopened.close()
    return went and same


def once_more(kernel: Any, kept: Kept, platform: str, chip: Chip, look: Look) -> None:
    """Run a kernel from the beginning of a run that was kept, up to what `look` records; nothing has changed after."""
    packed = [(elements, given) for elements, given in zip(kept.args, kept.given) if elements is not given]
    try:
        with kept.beginning():
            for elements, given in packed:
                fp4.pack(elements, given)
            interpret(kernel, kept.given, platform, chip, look=look)
    finally:
        for elements, given in packed:
            fp4.pack(elements, given)


def _go(compiled: Compiled, machine: Machine, dims: dict[str, int], values: Sequence[Any]) -> None:
    """Run a kernel on a machine."""
    with machine.kernel(dims, compiled.auto_scope):
        bound = []
        for p, v in zip(compiled.parameters, values):
            if not isinstance(v, torch.Tensor):
                bound.append(v)
                continue
            tensor = machine.memory.bind(p.name, v, p.type.dtype or dtypes.of_host(v.dtype))
            tensor.buffer.place, tensor.buffer.layout = p.place, p.type.layout
            tensor.buffer.direction = p.type.direction
            if p.type.direction != "Out":
                of_direction = machine.trace.inout if p.type.direction == "InOut" else machine.trace.inputs
                of_direction.add(tensor.buffer.id)
            bound.append(tensor)
        if compiled.kind == "incore":  # one task of its own
            place = compiled.source.place(compiled.source.tree)
            body = lambda: machine.launches.incore(place, compiled.name, compiled.run, tuple(bound))  # noqa: E731
        else:
            body = lambda: compiled.run(machine, *bound)  # noqa: E731
        with one_thread():
            _guarded(body)


def arrange(compiled: Compiled, args: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    """The arguments in parameter order.

    Raises:
        InputError: too few, too many, or unknown names.
    """
    wanted = [p.name for p in compiled.parameters]
    if isinstance(args, Mapping):
        args = {**{p.name: p.default for p in compiled.parameters if p.default is not None}, **args}
        missing, extra = [n for n in wanted if n not in args], [n for n in args if n not in wanted]
        if missing or extra:
            parts = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(extra)}"] * bool(extra)
            raise InputError(f"kernel '{compiled.name}' takes ({', '.join(wanted)}): {'; '.join(parts)}")
        return [args[n] for n in wanted]
    given = len(args)
    args = [*args, *(p.default for p in compiled.parameters[given:] if p.default is not None)]
    if len(args) != len(wanted):
        raise InputError(f"kernel '{compiled.name}' takes {len(wanted)} arguments ({', '.join(wanted)}), got {given}")
    return list(args)


def with_outputs(
    parameters: Sequence[Parameter], inputs: Sequence[Any], like: Mapping[str, torch.Tensor] | None = None
) -> tuple[list[Any], list[torch.Tensor]]:
    """All arguments of a kernel that is called without its outputs, and these.

    Args:
        like: Tensors of the extents and types that it was compiled for, by parameter.

    Raises:
        InputError: the extents of an output are known only when it is passed.
    """
    given, full, made = iter(inputs), [], []
    for p in parameters:
        if p.type.direction != "Out":
            full.append(next(given))
            continue
        if p.name in (like or {}):
            made.append(torch.zeros_like(like[p.name], device="cpu"))
            full.append(made[-1])
            continue
        if p.type.shape is None or p.type.dtype is None or any(isinstance(n, Dim) for n in p.type.shape):
            raise InputError(f"output '{p.name}' is {p.type}, whose extents the call must say: pass the tensor")
        made.append(
            fp4.zeros(p.type.shape) if p.type.dtype is FP4 else torch.zeros(p.type.shape, dtype=p.type.dtype.torch)
        )
        full.append(made[-1])
    return full, made


def check(compiled: Compiled, values: Sequence[Any], dry: bool = False) -> dict[str, int]:
    """Check every argument against its parameter; returns the extent of each dynamic dimension.

    A dry run also takes tensors without memory (torch's "meta" device).

    Raises:
        InputError: what is wrong, with the parameter's name.
    """
    dims: dict[str, tuple[int, str]] = {}
    for p, v in zip(compiled.parameters, values):
        if p.type.kind == "tensor":
            _check_tensor(compiled, p, v, dims, dry)
        elif p.type.kind == "scalar":
            _check_scalar(compiled, p, v)
        else:
            raise InputError(f"{_where(compiled, p)}: a {p.type.kind} cannot be passed from outside")
    _check_overlap(compiled, values)
    found = {name: extent for name, (extent, _) in dims.items()}
    if not compiled.program:
        _check_computed(compiled, values, {n: e for n, e in found.items() if n.isidentifier()})
    return found


def _check_computed(compiled: Compiled, values: Sequence[Any], known: dict[str, int]) -> None:
    """Extents that are computed from dimensions, `N * 2`, where these are known."""
    for p, v in zip(compiled.parameters, values):
        for axis, want in enumerate(p.type.shape or ()):
            n = want.extent(known) if isinstance(want, Dim) else None
            if n is not None and fp4.extents(v)[axis] != n:
                raise InputError(
                    f"{_where(compiled, p)}: axis {axis} is {fp4.extents(v)[axis]}, and {want.name} is {n}"
                )


def _where(compiled: Compiled, p: Parameter) -> str:
    return f"kernel '{compiled.name}', argument '{p.name}'"


def _check_tensor(compiled: Compiled, p: Parameter, v: Any, dims: dict[str, tuple[int, str]], dry: bool) -> None:
    where, t = _where(compiled, p), p.type
    if not isinstance(v, torch.Tensor):
        raise InputError(f"{where}: {t} is expected, not {type(v).__name__}")
    if v.device.type != "cpu" and not (dry and v.device.type == "meta"):
        raise InputError(f"{where}: the tensor is on {v.device}; pass a CPU tensor")
    host = dtypes.of_host(v.dtype)
    if host is None or (t.dtype is not None and (t.dtype is FP4 or v.dtype != t.dtype.torch) and host is not t.dtype):
        raise InputError(f"{where}: dtype {t.dtype} is expected, not {v.dtype}")
    if t.dtype is not None and t.dtype is not FP4 and v.dtype != t.dtype.torch:
        raise InputError(f"{where}: pass {t.dtype} in a {t.dtype.torch} tensor; torch cannot compute in {v.dtype}")
    shape = fp4.extents(v)
    if t.shape is not None:
        if v.dim() != len(t.shape):
            raise InputError(f"{where}: rank {len(t.shape)} is expected for {t}, not shape {list(shape)}")
        for axis, (n, want) in enumerate(zip(shape, t.shape)):
            if isinstance(want, Dim):
                known, first = dims.setdefault(want.name, (n, p.name))
                if known != n and (not compiled.program or want.name in compiled.extents):
                    raise InputError(f"{where}: axis {axis} is {n}, but '{first}' has {want.name} = {known}")
                if n == 0:
                    raise InputError(f"{where}: axis {axis} ({want.name}) is empty")
            elif n != want:
                raise InputError(f"{where}: shape {list(shape)} does not fit {t}: axis {axis} must be {want}")
    if v.layout != torch.strided:
        raise InputError(f"{where}: the tensor is {v.layout}; pass v.to_dense()")
    if t.direction != "In" and v.requires_grad and torch.is_grad_enabled():
        raise InputError(f"{where}: the kernel writes it, and torch watches it for gradients; pass v.detach()")
    if t.direction != "In" and v.is_inference() and not torch.is_inference_mode_enabled():
        raise InputError(f"{where}: the kernel writes it, and it was made in inference mode; pass v.clone()")
    if not v.is_contiguous():
        raise InputError(f"{where}: the tensor is not contiguous (strides {tuple(v.stride())}); pass v.contiguous()")


def _check_scalar(compiled: Compiled, p: Parameter, v: Any) -> None:
    where, d = _where(compiled, p), p.type.dtype
    if (isinstance(v, bool) and d is not dtypes.BOOL) or not isinstance(v, (int, float)):
        raise InputError(f"{where}: a number is expected for {p.type}, not {type(v).__name__}")
    if d is None or d.is_float:
        return
    if not isinstance(v, int):
        raise InputError(f"{where}: an integer is expected for {p.type}, not {v!r}")
    low, high = (0, 2**d.bits - 1) if d.name.startswith("U") else (-(2 ** (d.bits - 1)), 2 ** (d.bits - 1) - 1)
    if not low <= v <= high:
        raise InputError(f"{where}: {v} does not fit {d}")


def _check_overlap(compiled: Compiled, values: Sequence[Any]) -> None:
    """A tensor that the kernel writes shares no memory with another: what the other one holds then depends on when.

    Two that are only read may: the same weights twice.
    """
    spans = []
    for p, v in zip(compiled.parameters, values):
        if isinstance(v, torch.Tensor) and v.numel() and v.device.type == "cpu":
            spans.append((v.data_ptr(), v.data_ptr() + v.numel() * v.element_size(), p))
    for i, (lo, hi, p) in enumerate(spans):
        for lo2, hi2, q in spans[i + 1 :]:
            if lo < hi2 and lo2 < hi and not (p.type.direction == q.type.direction == "In"):
                raise InputError(
                    f"{_where(compiled, p)} ({p.type.direction}): it overlaps '{q.name}' ({q.type.direction}) in "
                    "memory, and one of them is written; pass a copy (.clone()) of one"
                )


# What Python raises for a line; what interpret mode raises to go another way is none of these.
PYTHONS = (
    ArithmeticError, LookupError, TypeError, ValueError, AttributeError, NameError, RuntimeError, MemoryError,
)  # fmt: skip


def _guarded(run: Any) -> None:
    """Run generated code; a Python error inside it becomes a FaultError at the kernel's line."""
    # A trace is millions of small objects that stay: collecting garbage over and over would cost more than the run.
    collecting = gc.isenabled()
    gc.disable()
    try:
        run()
    except WorkbookError:
        raise
    except PYTHONS as e:
        place, last = _kernel_place(e.__traceback__)
        if place is None:
            raise
        what = _of_python(e)
        if not last and not _of_a_value(e):
            what = f"interpret mode itself failed on this line, which is a defect of it ({type(e).__name__}: {e})"
        raise located(FaultError, place, what) from e
    finally:
        if collecting:
            if not gc.get_freeze_count():  # what the run left counts as old at once: no young collection walks it
                gc.freeze()
                gc.unfreeze()
            gc.enable()


NO_NUMBER = re.compile("cannot convert float (NaN|infinity) to integer")


def _of_a_value(error: Exception) -> bool:
    """True where a value is none that an operation takes: that is the kernel's doing."""
    of_type = isinstance(error, TypeError) and re.search(r"'(Tile|Tensor)'", str(error)) is not None
    return of_type or _of_memory(error) or NO_NUMBER.search(str(error)) is not None


def _of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def _of_python(error: Exception) -> str:
    """What Python says of a line of a kernel, in the words of the language."""
    text = str(error)
    if isinstance(error, UnboundLocalError):
        return f"'{text.split(chr(39))[1]}' has no value yet: no line before this one has bound it"
    if isinstance(error, IndexError):
        return f"an index is past the end: {text}"
    if isinstance(error, TypeError) and (found := re.search(r"'(Tile|Tensor)'", text)):
        return f"a {found[1].lower()} stands on this line where a number, or a list of them, is needed"
    if _of_memory(error):
        return "there is no memory for what this line makes"
    if NO_NUMBER.search(text):
        return "a number of this line is infinite or none (NaN), and a whole number is needed"
    return f"this line cannot be run: {text or type(error).__name__}"


def _kernel_place(tb: TracebackType | None) -> tuple[Place | None, bool]:
    """The innermost frame of the traceback that is a kernel's, and whether it is the innermost of all."""
    found, last = None, False
    for frame, line in traceback.walk_tb(tb):
        source = frame.f_globals.get(SOURCE)
        last = isinstance(source, Source)
        if last:
            text = source.bound.text.line(line)
            found = Place(source.file, line, len(text) - len(text.lstrip()) + 1, source.bound.text)
    return found, last
