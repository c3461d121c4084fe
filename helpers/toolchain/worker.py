"""The far side: a process that imports PyPTO, compiles and runs kernels on one platform, and says how it went.

Started by `process` with a socket. A request is a dict with "do": "compile", "run" or "replay"; the answer is any
number of ("progress", text) and then one of ("done", dict) and ("failed", dict). Nothing of PyPTO crosses: only plain
values.
Compiled kernels are kept in a folder each, by everything that decides what the compiler makes of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import inspect
import json
import math
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from types import ModuleType
from typing import Any

from helpers.interpret.language import cpp_names
from helpers.interpret.source.texts import FileText, loaded
from helpers.toolchain import artifacts, refusals, regions
from helpers.toolchain.artifacts import has_barrier

Progress = Callable[[str], None]

# What a simulator's runtime has room for, where the environment does not say: entries of its dependency pool and its
# task ring, bytes of its heap (memory that is touched only when used), milliseconds that a task may take. With its own
# sizes, which are a chip's, naive versions fill a ring, and on a slow host the runtime takes that for a deadlock.
# Source: simpler, docs/troubleshooting/device-error-codes/capacity.md; tried, docs/setup.md.
ROOM = {
    "PTO2_RING_DEP_POOL": "1048576",
    "PTO2_RING_TASK_WINDOW": "131072",
    "PTO2_RING_HEAP": str(4 << 30),
    "SIMPLER_SCHEDULER_TIMEOUT_MS": "600000",
}


def main(fd: int, watched: int) -> None:
    """Answer requests until the other side goes away; then end with everything that this process started.

    Args:
        fd: The socket.
        watched: A pipe that closes when the process that started this one ends, however it ends.
    """
    if os.fork() == 0:  # a guard that nothing here can hold up: neither a crash nor a hang in the simulator
        os.close(fd)
        os.read(watched, 1)
        os.killpg(0, signal.SIGKILL)
    os.close(watched)
    os.set_inheritable(fd, False)  # a compiler that outlives this process would keep the socket open
    connection = Connection(fd)
    worker = Worker(lambda text: connection.send(("progress", text)))
    try:
        while True:
            request = connection.recv()
            block = recv_handle(connection) if request.get("bytes") else None
            connection.send(worker.answer(request, block))
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


class Worker:
    """Compiles and runs; `progress` is told what it is at."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.phase = "start"
        self.files: dict[str, int] = {}  # sources that were imported, and when they were written
        self.modules: dict[str, ModuleType] = {}  # by file
        self.sources: dict[str, dict[str, FileText]] = {}  # by file: it and what it imports, by path

    def answer(self, request: dict[str, Any], block: int | None) -> tuple[str, dict[str, Any]]:
        """Do what is asked; whatever is raised becomes a ("failed", ...)."""
        self.phase = "start"
        sys.path[:] = request["path"]
        try:
            os.chdir(request["folder"])
            result = {"compile": self.compile, "run": self.run, "replay": self.replay}[request["do"]](request, block)
            return "done", {**result, "files": self.files}
        except BaseException as e:
            traceback.print_exc()
            return "failed", {"phase": self.phase, "files": self.files, **describe(e)}
        finally:
            if block is not None:
                os.close(block)

    def compile(self, request: dict[str, Any], _: int | None) -> dict[str, Any]:
        """Compile one kernel, or all that a file defines; what is compiled already is taken from the cache."""
        module = self.load(request)
        if request["name"] is not None:
            return self.build(module, request["name"], request)
        done = []
        for name in kernels_of(module):
            try:
                done.append({"name": name, **self.build(module, name, request)})
            except Exception as e:
                traceback.print_exc()
                done.append({"name": name, "phase": self.phase, **describe(e)})
        return {"kernels": done}

    def run(self, request: dict[str, Any], block: int | None) -> dict[str, Any]:
        """Compile and run a kernel on the arguments that lie in the block; outputs are written there."""
        import torch
        from pypto.ir.compiled_program import CompiledProgram

        module = self.load(request)
        built = self.build(module, request["name"], request)
        folder, platform = Path(built["folder"]), request["platform"]
        self.phase = "barrier"
        if platform.endswith("sim") and has_barrier(folder):
            raise NotImplementedError("pl.system.syncall does nothing there, and what stands behind it does not wait")
        self.phase = "build"
        if platform.endswith("sim"):
            for name, size in ROOM.items():
                os.environ.setdefault(name, size)
        with _locked(folder):
            program = CompiledProgram.from_dir(folder, platform=platform)
            if hasattr(program, "load"):
                self.progress(f"building {request['name']} for {platform}")
                program.load()
            self.phase = "run"
            memory = mmap.mmap(block, request["bytes"])
            values = []
            for kind, value in request["args"]:
                if kind == "number":
                    values.append(value)
                else:
                    offset, shape, dtype = value
                    flat = torch.frombuffer(memory, dtype=getattr(torch, dtype), count=math.prod(shape), offset=offset)
                    values.append(flat.reshape(shape))
            records = folder / "dfx_outputs"
            shutil.rmtree(records, ignore_errors=True)
            options = {"enable_dep_gen": True, "enable_chip_swimlane": 2} if request["record"] else {}
            config = _config(request, **options)
            self.progress(f"running {request['name']} on {platform}")
            start = time.perf_counter()
            program(*values, config=config)
            seconds = time.perf_counter() - start
            found = {f.name: f.read_bytes() for f in records.glob("*.json")} if records.is_dir() else {}
            dumped = None
            if (records / "args_dump" / "args_dump.json").is_file():  # the next run of this kernel removes it
                dumped = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}-dump-", dir=folder.parent)) / "args_dump"
                (records / "args_dump").rename(dumped)
        return {**built, "seconds": seconds, "records": found, "dumped": dumped and str(dumped)}

    def replay(self, request: dict[str, Any], block: int | None) -> dict[str, Any]:
        """Run the orchestration that the compiler generated, on the host and without a device: what it would launch.

        Needs a C++ compiler. Tensors whose elements are not at hand have offset None.
        """
        module = self.load(request)
        built = self.build(module, request["name"], request)
        folder = Path(built["folder"])
        self.phase = "replay"
        (source,) = (folder / "orchestration").glob("*.cpp")
        library = folder / "replay.so"
        if not library.is_file():
            made = folder / f".replay-{os.getpid()}.so"
            tool = shutil.which("g++") or shutil.which("c++")
            if tool is None:
                raise RuntimeError("no C++ compiler (g++ or c++) is on PATH")
            include = str(Path(__file__).with_name("replay"))
            command = [tool, "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-I", include, "-o", str(made), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                wrong = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
                raise RuntimeError(f"the generated orchestration uses what is not known here: {wrong[0]}")
            made.rename(library)
        memory = mmap.mmap(block, request["bytes"])
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        tensors, numbers = [], []
        for kind, value in request["args"]:
            if kind == "number":
                numbers.append(_bits(value))
            else:
                offset, shape, dtype = value
                at = None if offset is None else start + offset
                tensors.append(_Given(at, (*shape, *[0] * (8 - len(shape))), len(shape), _DTYPES.index(dtype)))
        entry = ctypes.CDLL(str(library)).replay
        entry.restype = ctypes.c_char_p
        found = entry(
            (_Given * len(tensors))(*tensors), len(tensors), (ctypes.c_uint64 * len(numbers))(*numbers), len(numbers),
            *request["cores"],
        )  # fmt: skip
        if found.startswith(b"error: "):
            raise RuntimeError(f"the orchestration cannot be followed: {found[7:].decode()}")
        return {**built, "graph": found}

    # ---- kernels -----------------------------------------------------------------------------------------------

    def load(self, request: dict[str, Any]) -> ModuleType:
        """The module of a kernel, imported as its own program imports it."""
        self.phase = "load"
        module, file = request["module"], request["file"]
        if file in self.modules:
            return self.checked(request)
        self.progress(f"importing {request['name'] or os.path.basename(file)}")
        import pypto.language  # noqa: F401 - before the kernels, so that an error about it is not one of theirs

        try:
            found = importlib.import_module(module) if module not in (None, "__main__") else None
        except ImportError:
            found = None
        if found is None or not _same_file(getattr(found, "__file__", None), file):
            with contextlib.suppress(ValueError):
                sys.path.remove(os.path.dirname(file))
            sys.path.insert(0, os.path.dirname(file))
            spec = importlib.util.spec_from_file_location(f"kernels_of_{abs(hash(file))}", file)
            found = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = found
            spec.loader.exec_module(found)
        self.modules[file] = found
        self.sources[file] = {os.path.realpath(t.path): t for t in loaded(found)}
        self.files.update((source, os.stat(source).st_mtime_ns) for source in self.sources[file])
        return self.checked(request)

    def checked(self, request: dict[str, Any]) -> ModuleType:
        """The module of a kernel, when its files have the text that the kernel is bound to in the asking process."""
        for path, digest in request.get("texts", {}).items():
            own = self.sources[request["file"]].get(os.path.realpath(path))
            if own is not None and own.digest != digest:
                self.phase = "changed"
                raise RuntimeError(path)
        return self.modules[request["file"]]

    def build(self, module: ModuleType, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Compile a kernel, unless that has been done; says where the result is.

        A number stays an argument where the compiler can do that (`pl.RUNTIME`), so that one result serves every
        layer; else its value is compiled in, as PyPTO's own call of a kernel does.
        """
        self.phase = "compile"
        kernel = module
        for part in name.split("."):
            kernel = getattr(kernel, part)
        root = Path(request["cache"]) / request["platform"]
        samples = request.get("args")
        ways = [None] if not samples else [None, samples]
        if type(kernel).__name__ == "JITFunction" and samples and _bare(kernel):
            ways = [samples]
        for way in ways:
            folder = root / self.key(name, request, way)
            if (folder / _ABOUT).is_file():
                return {**json.loads((folder / _ABOUT).read_text()), "folder": str(folder), "cached": True}
        for way in ways:
            try:
                return self.compiled(kernel, root / self.key(name, request, way), name, request, way)
            except OSError:
                raise
            except Exception:
                if way is ways[-1]:
                    raise
        raise AssertionError

    def key(self, name: str, request: dict[str, Any], samples: list | None) -> str:
        """What decides the compiler's result: sources, toolchain, chip and, where they count, shapes and numbers."""
        digest = hashlib.sha256()
        options = sorted(request["options"].items())
        for part in (request["platform"], request["revision"], request["file"], name, options, _outline(samples)):
            digest.update(f"{part}\0".encode())
        for text in self.sources[request["file"]].values():
            digest.update("".join(text.lines).encode("utf-8", "surrogatepass"))
        return f"{name}-{digest.hexdigest()[:24]}"

    def compiled(
        self, kernel: Any, folder: Path, name: str, request: dict[str, Any], samples: list | None
    ) -> dict[str, Any]:
        """Compile into `folder`, which is there when all of it is."""
        self.progress(f"compiling {name} for {request['platform']}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        made = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}-", dir=folder.parent))
        start = time.perf_counter()
        try:
            _compile(kernel, made, request, samples)
            for path, text in self.sources[request["file"]].items():  # PyPTO reads the files once more
                if text.changed():
                    self.phase = "changed"
                    raise RuntimeError(path)
            about = {
                "seconds_to_compile": time.perf_counter() - start,
                "assembled": (made / "kernel_config.py").is_file(),
            }
            if not any(made.iterdir()):
                raise RuntimeError(f"PyPTO has compiled {name} and written nothing")
            self.check_names(made)
            (made / _ABOUT).write_text(json.dumps(about))
            try:
                made.rename(folder)
            except OSError:  # another process was first, with the same result
                if not (folder / _ABOUT).is_file():
                    raise
        except Exception as e:
            e.refused = [(d.function, d.text, d.place) for d in refusals.assembler(made)]
            if self.phase == "compile" and not e.refused and not isinstance(e, OSError):
                with contextlib.suppress(Exception):  # what the compiler has said is said all the same
                    e.region = regions.region(e, lambda: _compile(kernel, made / "again", request, samples))
            raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return {**about, "folder": str(folder), "cached": False}

    def check_names(self, folder: Path) -> None:
        """Refuse a task that no C++ compiler takes, for its name."""
        for unit in artifacts.units(folder):
            wrong = cpp_names.wrong(unit.name)
            if wrong is not None:
                self.phase = "name"
                raise Misnamed(*wrong, unit.place)


def _compile(kernel: Any, folder: Path, request: dict[str, Any], samples: list | None) -> None:
    """Have PyPTO compile a kernel into a folder; see `Worker.build`."""
    import pypto.language as pl
    from pypto import ir

    if type(kernel).__name__ != "JITFunction":
        skip = _assembler() is None
        ir.compile(kernel, str(folder), platform=request["platform"], dump_passes=False, skip_ptoas=skip)
        return
    config = _config(request, save_kernels_dir=str(folder))
    getattr(kernel, "_cache", {}).clear()  # what PyPTO has compiled in this process it does not write again
    if samples is None:
        kernel.compile(config=config, **dict.fromkeys(_scalars(kernel), pl.RUNTIME))
    else:
        kernel.compile(*map(_sample, samples), config=config)


class Misnamed(Exception):
    """A task has a name that it cannot have; `fix` is what to do."""

    def __init__(self, what: str, fix: str, place: Any):
        super().__init__(what)
        self.fix = fix
        self.span = place and {"filename": place.file, "begin_line": place.line, "begin_column": place.column}


_ABOUT = "workbook.json"  # written last: what we know of a compilation


def kernels_of(module: ModuleType) -> list[str]:
    """Names of the entries and programs that a module defines itself, in the order of its text."""
    from pypto import ir

    found = []
    for name, value in vars(module).items():
        entry = getattr(value, "_func_type", None) == "orchestration" and not name.startswith("_")
        if (entry and value._func.__module__ == module.__name__) or isinstance(value, ir.Program):
            found.append(name)
    return found


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as plain values."""
    number = getattr(error, "errno", None)
    message = str(error) or repr(error)
    for extra in ("hint", "note"):
        if isinstance(getattr(error, extra, None), str) and getattr(error, extra) not in message:
            message += f"\n{extra}: {getattr(error, extra)}"
    span = getattr(error, "span", None)
    place = None
    if isinstance(span, dict):
        place = (span.get("filename"), span.get("begin_line"), span.get("begin_column"))
    elif span is not None:
        place = tuple(getattr(span, f, None) for f in ("filename", "begin_line", "begin_column"))
    file = getattr(error, "filename", None)
    file = os.fsdecode(file) if isinstance(file, str | bytes) else None
    return {
        "type": type(error).__name__, "message": message, "errno": number, "file": file, "place": place,
        "fix": getattr(error, "fix", None), "refused": getattr(error, "refused", []),
        "region": getattr(error, "region", None),
    }  # fmt: skip


def _config(request: dict[str, Any], **options: Any) -> Any:
    """PyPTO's RunConfig with the options of a request that it knows, and these."""
    from pypto.runtime import RunConfig

    known = inspect.signature(RunConfig).parameters
    asked = {k: v for k, v in request["options"].items() if k in known and k not in _OURS}
    return RunConfig(platform=request["platform"], **{**asked, **options})


_OURS = ("platform", "save_kernels", "save_kernels_dir", "backend_type", "codegen_only")


def _scalars(kernel: Any) -> list[str]:
    """The parameters of a kernel that are numbers."""
    return [n for n, a in _annotations(kernel) if type(a).__name__ in ("Scalar", "DataType")]


def _bare(kernel: Any) -> bool:
    """True for a kernel with a parameter `pl.Tensor` of no shape: it compiles for given arguments only."""
    return any(isinstance(a, type) or getattr(a, "shape", ()) is None for _, a in _annotations(kernel))


def _annotations(kernel: Any) -> Iterator[tuple[str, Any]]:
    scope = {**kernel._func.__globals__, **inspect.getclosurevars(kernel._func).nonlocals}
    for name, parameter in inspect.signature(kernel._func).parameters.items():
        value = parameter.annotation
        if isinstance(value, str):
            with contextlib.suppress(Exception):
                value = eval(value, scope)
        yield name, value


def _outline(samples: list | None) -> list:
    """Shapes, element types and numbers of arguments."""
    return [(kind, value[1:] if kind == "tensor" else value) for kind, value in samples or ()]


class _Given(ctypes.Structure):
    """A tensor as replay/pto_orchestration_api.h takes it."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("shapes", ctypes.c_uint32 * 8), ("ndims", ctypes.c_uint32),
        ("dtype", ctypes.c_uint8),
    )  # fmt: skip


# Torch's names of that header's DataType, in its order.
_DTYPES = ("float32", "float16", "int32", "int16", "int8", "uint8", "bfloat16", "int64", "uint64", "uint16", "uint32",
           "bool", "float8_e4m3fn", "float8_e8m0fnu")  # fmt: skip


def _bits(number: float | int | bool) -> int:
    """A number as the runtime passes it: its own bits in the low end of 64."""
    if isinstance(number, float):
        return struct.unpack("<I", struct.pack("<f", number))[0]
    return number & (1 << 64) - 1


def _sample(argument: tuple[str, Any]) -> Any:
    """An argument that has a shape and no memory."""
    import torch

    kind, value = argument
    return value if kind == "number" else torch.empty(value[1], dtype=getattr(torch, value[2]), device="meta")


def _assembler() -> str | None:
    from pypto.backend._ptoas_locate import find_ptoas_binary

    return find_ptoas_binary()


def _same_file(one: str | None, other: str) -> bool:
    return one is not None and os.path.realpath(one) == os.path.realpath(other)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time builds and runs what is in a folder: records of a run are written into it."""
    with open(folder / ".lock", "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _sweep(root: Path) -> None:
    """Remove what processes that were killed left half made."""
    for left in root.glob(".*-*"):
        pid = left.name[1:].partition("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
