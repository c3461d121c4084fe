"""Compile and run a kernel on PyPTO's platforms: the calls that the rest of the workbook makes."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from helpers import chips, platforms, shared_tensors
from helpers.errors import FaultError, InputError, KernelError, PlatformError, ToolchainError, shown
from helpers.interpret import dumps
from helpers.interpret.call import arrange, check
from helpers.interpret.dumps import Dumps
from helpers.interpret.language.decorated import bounds, unwrap
from helpers.interpret.lowering import lower
from helpers.interpret.lowering.compiled import with_callees
from helpers.interpret.lowering.lower import signature
from helpers.interpret.source import texts
from helpers.interpret.source.source import Place, explain, located
from helpers.interpret.trace.trace import Trace
from helpers.toolchain import artifacts, process, records, refusals
from helpers.toolchain.artifacts import Hint, Tile, Unit
from helpers.toolchain.cache import cache_folder


@dataclass(frozen=True)
class Compilation:
    """A kernel that the compiler has accepted, and what it made of it.

    Attributes:
        kernel: Its name.
        platform: What it is compiled for.
        folder: Where the result is kept.
        cached: It had been compiled before.
        assembled: ptoas has turned it into C++, too; else the compiler stopped at its input.
        seconds: What compiling took, when it was done.
    """

    kernel: str
    platform: str
    folder: Path
    cached: bool
    assembled: bool
    seconds: float

    @cached_property
    def units(self) -> list[Unit]:
        """The InCore functions as generated."""
        return artifacts.units(self.folder)

    @cached_property
    def hints(self) -> list[Hint]:
        """The compiler's performance hints."""
        return artifacts.hints(self.folder)

    @cached_property
    def files(self) -> list[Path]:
        """The generated files, as paths in `folder`."""
        return artifacts.files(self.folder)

    @property
    def limits(self) -> dict[str, int]:
        """The bytes of each on-chip buffer that a kernel may use on this chip."""
        return chips.chip(self.platform.removesuffix("sim")).buffers

    def peaks(self) -> dict[str, int]:
        """The highest byte in use of each on-chip buffer, over all InCore functions."""
        out = dict.fromkeys(self.limits, 0)
        for unit in self.units:
            for buffer, n in unit.peaks().items():
                out[buffer] = max(out[buffer], n)
        return out

    def fullest(self, buffer: str) -> tuple[Unit, Tile] | None:
        """The InCore function that uses most of a buffer, and the tile that ends highest there; None if none does."""
        using = [u for u in self.units if buffer in u.peaks()]
        unit = max(using, key=lambda u: u.peaks()[buffer], default=None)
        return unit and (unit, unit.largest(buffer))


@dataclass(frozen=True)
class Refusal:
    """A kernel that the compiler has refused, and why."""

    kernel: str
    platform: str
    error: KernelError


def compile_kernel(kernel: Any, platform: str, args: Sequence[Any] | Mapping[str, Any] | None = None) -> Compilation:
    """Compile a kernel; needs PyPTO alone, no assembler and no runtime.

    Args:
        args: What it would run on; their contents do not matter. Needed where a parameter's annotation has no shape.

    Raises:
        PlatformError: PyPTO is not installed.
        KernelError: the compiler refuses the kernel; says where.
        ToolchainError: the compiler failed, its cache cannot be written, ...
    """
    require_compiler(platform)
    _check_names(kernel)
    request = {"do": "compile", **_identity(kernel), **_common(platform)}
    if args is not None:
        values = arrange(signature(kernel), args)
        check(signature(kernel), values, dry=True)
        request["args"] = [
            ("tensor", (0, tuple(v.shape), _dtype(v))) if isinstance(v, torch.Tensor) else ("number", v) for v in values
        ]
    with _reported(request["name"], platform), _status() as progress:
        return _compilation(request["name"], platform, process.ask(platform, request, progress))


def compile_file(file: Path, platform: str, only: str | None = None) -> list[Compilation | Refusal]:
    """Compile every entry (`@pl.jit`, `@pl.program`) that a file defines itself; or `only` the one of that name.

    Raises:
        InputError: there is no such file, or it defines none of that name.
        PlatformError, KernelError, ToolchainError: see `compile_kernel`; KernelError: it cannot be imported.
    """
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    require_compiler(platform)
    request = {"do": "compile", "module": None, "file": str(file.resolve()), "name": None, **_common(platform)}
    with _reported(file.name, platform), _status() as progress:
        done = process.ask(platform, request, progress)["kernels"]
    if not done:
        raise InputError(f"{file} defines no kernel: no function with @pl.jit, no class with @pl.program")
    names = [one["name"] for one in done]
    if only is not None and only not in names:
        raise InputError(f"{file} has no kernel {only!r}; it has: {', '.join(names)}")
    done = [one for one in done if only in (None, one["name"])]
    out: list[Compilation | Refusal] = []
    for one in done:
        try:
            with _reported(one["name"], platform):
                if "folder" not in one:
                    raise process.Failed(one, "")
                out.append(_compilation(one["name"], platform, one))
        except KernelError as e:
            out.append(Refusal(one["name"], platform, e))
    return out


def run(
    kernel: Any, args: Sequence[Any] | Mapping[str, Any], platform: str, options: Mapping[str, Any] | None = None
) -> tuple[float, Trace | None]:
    """Run a kernel in place on `args`; returns the seconds of the call, and what the runtime recorded.

    Outputs are written when the run has ended well; else the arguments hold what they held.

    Args:
        options: Of PyPTO's RunConfig; others are left out.

    Raises:
        InputError: an argument does not fit; nothing has run.
        PlatformError: the kernel needs what the simulators do not have.
        KernelError: the compiler refuses the kernel.
        FaultError: the runtime reports that the kernel failed.
        ToolchainError: a crash, a time-out, a full disk, a tool that fails.
    """
    expected = signature(kernel)
    values = arrange(expected, args)
    check(expected, values)
    _check_names(kernel)
    block, slots = shared_tensors.allocate(values)
    try:
        passed = [
            ("number", v) if slot is None else ("tensor", (slot.offset, slot.shape, _dtype(v)))
            for v, slot in zip(values, slots)
        ]
        request = {
            "do": "run", **_identity(kernel), **_common(platform, options), "args": passed, "bytes": block.size,
            "record": True,
        }  # fmt: skip
        with _reported(request["name"], platform), _status() as progress:
            answer = process.ask(platform, request, progress, block.fd)
        trace = records.read(answer["records"], Path(answer["folder"]), platform)
        dumped = _dumped(answer, trace, options)
        for parameter, value, slot in zip(expected.parameters, values, slots):
            if slot is not None and parameter.type.direction != "In":
                value.copy_(block.view(slot))
    finally:
        block.close()
    return answer["seconds"], trace, dumped


def _dumped(answer: dict[str, Any], trace: Trace | None, options: Mapping[str, Any] | None) -> Dumps:
    """What the runtime has dumped, in a folder that is this run's own and is removed."""
    if answer["dumped"] is None:
        return Dumps()
    folder = Path(answer["dumped"])
    try:
        return dumps.of_runtime(folder, trace, records.order(answer["records"]), dumps.asked(options)[1])
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _check_names(kernel: Any) -> None:
    """Say of a task that cannot be built under its name what PyPTO leaves to a C++ compiler, which names no line of it.

    Raises:
        KernelError: there is one.
    """
    try:
        compiled = lower.compile_kernel(kernel)
    except KernelError:  # whether PyPTO takes it is for PyPTO to say
        return
    for place, what, fix in (found for c in with_callees(compiled) for found in c.misnamed):
        raise located(KernelError, place, what, fix)


def replay(kernel: Any, args: Sequence[Any] | Mapping[str, Any], platform: str) -> Trace:
    """The launches of a compiled kernel, found without running it: its generated orchestration, followed on the host.

    Args:
        args: What it would run on. Tensors without memory (torch's "meta" device) may stand for those whose elements
            the orchestration does not read.

    Returns:
        A trace of tasks, their tensors and their declared dependencies; of what tasks do it says nothing.

    Raises:
        ToolchainError: the orchestration depends on what tasks compute, or there is no C++ compiler.
        PlatformError, InputError, KernelError: see `compile_kernel`.
    """
    require_compiler(platform)
    expected = signature(kernel)
    values = arrange(expected, args)
    check(expected, values, dry=True)
    block, slots = shared_tensors.allocate(
        [v if isinstance(v, torch.Tensor) and not v.is_meta else None for v in values]
    )
    try:
        passed = [
            ("tensor", (slot.offset if slot else None, tuple(v.shape), _dtype(v)))
            if isinstance(v, torch.Tensor)
            else ("number", v)
            for v, slot in zip(values, slots)
        ]
        chip = chips.chip(platform.removesuffix("sim"))
        request = {
            "do": "replay", **_identity(kernel), **_common(platform), "args": passed, "bytes": block.size,
            "cores": (chip.clusters, chip.vector_cores),
        }  # fmt: skip
        with _reported(request["name"], platform), _status() as progress:
            answer = process.ask(platform, request, progress, block.fd)
    finally:
        block.close()
    return records.launches(answer["graph"], Path(answer["folder"]), platform)


def require_compiler(platform: str) -> None:
    """Refuse a platform that nothing can be compiled for here.

    Raises:
        PlatformError: it is none of PyPTO's, or PyPTO is not installed.
    """
    if platform not in platforms.PLATFORMS or platform.endswith("interp"):
        known = ", ".join(p for p in platforms.PLATFORMS if not p.endswith("interp"))
        raise PlatformError(f"{platform!r} is no platform of PyPTO's compiler; there are: {known}")
    lack = platforms.missing_compiler()
    if lack is not None:
        raise PlatformError(f"nothing can be compiled for '{platform}' here: {lack}")


# ---- requests and answers ------------------------------------------------------------------------------------------


def _identity(kernel: Any) -> dict[str, Any]:
    """How another process finds a kernel: its file and its name there."""
    found = unwrap(kernel)
    if found is None:
        raise KernelError(f"{kernel!r} is not a kernel: decorate the function with @pl.jit")
    fn = found[0]
    file = fn.__code__.co_filename
    if not Path(file).is_file():
        raise KernelError(f"kernel '{fn.__name__}' is in no file ({file}): PyPTO compiles kernels of files only")
    if "<locals>" in fn.__qualname__:
        raise KernelError(
            f"kernel '{fn.__name__}' is defined inside a function, where another process cannot find it: "
            "define it at the top of its file"
        )
    bound = bounds(kernel)
    there = unwrap(getattr(sys.modules.get(fn.__module__), fn.__name__, None))
    if there is not None and there[0] is not fn:
        raise KernelError(
            f"kernel '{fn.__name__}' is not the one that {file} has: it has other tile sizes, or the file was imported "
            "again since. PyPTO compiles what the file has: write the values there"
        )
    loaded = texts.files(bound)
    changed = [shown(t.file) for t in loaded.values() if t.changed()]
    if changed:
        raise KernelError(_changed(fn.__name__, changed))
    digests = {path: text.digest for path, text in loaded.items()}
    return {"module": fn.__module__, "file": os.path.abspath(file), "name": fn.__qualname__, "texts": digests}


def _changed(name: str, files: Sequence[str]) -> str:
    return (
        f"kernel '{name}' is not the one that is on disk: {', '.join(files)} has changed since it was loaded. PyPTO "
        "compiles what the files have: load them again (importlib.reload) and take the kernel from its module"
    )


def _common(platform: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    plain = {
        k: v for k, v in (options or {}).items()
        if isinstance(v, (bool, int, float, str, list, tuple)) and k != "dump_tasks"
    }  # fmt: skip
    return {"cache": str(cache_folder()), "revision": platforms.toolchain_revision(), "options": plain}


def _compilation(name: str, platform: str, about: dict[str, Any]) -> Compilation:
    return Compilation(
        name, platform, Path(about["folder"]), about["cached"], about["assembled"], about["seconds_to_compile"]
    )


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Shows what a worker is at while that takes its time; nothing when all is compiled and quickly done."""
    console = Console(file=sys.stderr)
    status = console.status("")
    started = False

    def progress(text: str) -> None:
        nonlocal started
        if not text:
            return
        status.update(f"{text} ...")
        if not started and (console.is_terminal or console.is_jupyter):
            status.start()
            started = True

    try:
        yield progress
    finally:
        if started:
            status.stop()


@contextmanager
def _reported(name: str, platform: str) -> Iterator[None]:
    """What a worker says went wrong, as the error that a user meets."""
    try:
        yield
    except process.Failed as failed:
        about = failed.about
        what = re.sub(
            r"\nCheck failed: .*|\n+C\+\+ Traceback.*(\n .*)*", "", f"{about['type']}: {about['message']}"
        ).strip()
        elsewhere = about["file"] and not Path(about["file"]).is_relative_to(cache_folder())
        if about["errno"] in (errno.EACCES, errno.EPERM, errno.EROFS) and elsewhere and about["phase"] != "load":
            raise ToolchainError(
                f"{platform}: '{name}' was not built: PyPTO or its runtime writes to {about['file']}, and this user may"
                f" not ({what}). Give it that right, or use a PyPTO that it has installed"
            ) from None
        if about["errno"] is not None and about["phase"] != "load":
            raise ToolchainError(
                f"{platform}: '{name}' could not be kept ({what}). Compiled kernels are kept in {cache_folder()}; "
                "make room there, or set XDG_CACHE_HOME to a folder that can be written"
            ) from None
        if about["phase"] == "barrier":
            raise PlatformError(
                f"'{name}' has a barrier between cores, and {platform} has none: {about['message']}"
            ) from None
        if about["phase"] == "changed":
            raise KernelError(_changed(name, [about["message"]])) from None
        if about["phase"] == "load":
            raise KernelError(f"'{name}' cannot be imported: {what}") from None
        if about["phase"] == "name":
            raise KernelError(_explained(about["message"], about)) from None
        if about["phase"] == "compile" and about["refused"]:
            raise KernelError(_assembler(name, platform, about["refused"])) from None
        if about["phase"] == "compile" and (forgotten := refusals.forgotten_return(about["message"])):
            about["fix"] = "return its output at the end"
            raise KernelError(_explained(f"{forgotten} ({platform}: {what})", about)) from None
        if about["phase"] == "compile":
            where_ = f", in '{about['region'][0]}'" if about["region"] else ""
            raise KernelError(
                _explained(f"PyPTO's compiler refuses '{name}' for {platform}{where_}: {what}", about)
            ) from None
        unbuilt = refusals.cpp(about["message"]) if platform.endswith("sim") else None
        if unbuilt is not None:
            raise PlatformError(_unbuilt(name, platform, unbuilt)) from None
        if about["phase"] == "run":
            raise FaultError(f"{platform}: '{name}' failed while it ran: {what}.{failed.log}") from None
        raise ToolchainError(f"{platform}: '{name}' could not be built: {what}.{failed.log}") from None


_NAMED = re.compile(r"([^\s:\"'\[]+\.py):(\d+):(\d+)")


def _explained(text: str, about: dict[str, Any]) -> str:
    """The compiler's message, with the line of the kernel that it is about."""
    place = about["place"]
    if place is None or not all(place):
        found = _NAMED.findall(text)
        place = (found[0][0], int(found[0][1]), int(found[0][2])) if found else (about["region"] or (None, None))[1]
    if place is None:
        return text
    return explain(refusals.placed(place), text, about["fix"])


def _assembler(name: str, platform: str, refused: Sequence[tuple[str, str, refusals.At | None]]) -> str:
    """What PyPTO's assembler says first, and of how many other tasks it says something."""
    function, text, place = refused[0]
    more = f"; of {', '.join(f for f, *_ in refused[1:])} it says something too" if len(refused) > 1 else ""
    what = f"PyPTO's assembler (ptoas) refuses '{name}' for {platform}, in '{function}': {text}{more}"
    return what if place is None else explain(refusals.placed(place), what)


def _unbuilt(name: str, platform: str, found: refusals.Unbuilt) -> str:
    """The operation that a simulator lacks."""
    if found.instruction is None:
        return f"{platform}: the C++ of '{found.function}', of '{name}', does not build: {found.text}"
    what = (
        f"{platform} cannot run '{name}': its headers (PTO-ISA) have no {found.instruction} of these tiles, in the code"
        f" of '{found.function}' ({found.text})"
    )
    return what if found.place is None else explain(refusals.placed(found.place), what)


def where(place: Place | None) -> str:
    """A place as it is shown in a table: file and line."""
    return f"{shown(place.file)}:{place.line}" if place else "-"
