"""A stand-in for an installed PyPTO, for tests of the worker processes: it compiles and computes nothing.

`install(folder)` writes packages `pypto`, `simpler` and `simpler_setup`, a `ptoas` and a `g++-15` that have the names
the workbook uses and behave as the file `behaviour` in `folder` says: "fine", or one of the mishaps below. "Fine"
doubles the first argument into the second.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

KERNEL = """
import pypto.language as pl

@pl.jit
def double(x: pl.Tensor[[4, 8], pl.FP32], out: pl.Out[pl.Tensor[[4, 8], pl.FP32]], n: pl.Scalar[pl.INT32]):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="doubled"):
        out[:, :] = pl.mul(x, 2.0)
    return out
"""

_PYPTO = """
import errno, os, signal, subprocess, sys, time
from pathlib import Path

SITE = Path(__file__).parent.parent

def behaviour():
    return (SITE / "behaviour").read_text()

def count(what):
    with open(SITE / what, "a") as f:
        f.write("x")

def misbehave():
    how = behaviour()
    print(f"about to: {how}", flush=True)
    if how in ("SIGSEGV", "SIGKILL"):
        os.kill(os.getpid(), getattr(signal, how))
    if how == "exit":
        os._exit(7)
    if how == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (SITE / "child").write_text(str(child.pid))
        time.sleep(600)
    if how == "full disk":
        raise OSError(errno.ENOSPC, "No space left on device", "x.cpp")
    if how == "another's":
        raise OSError(errno.EACCES, "Permission denied", "pypto/build/.lock")
    if how == "raise":
        raise RuntimeError("task 3 failed on core 5")
"""

_LANGUAGE = """
import inspect
from pathlib import Path
import pypto

class Tensor:
    shape = dtype = None
    def __class_getitem__(cls, item):
        made = cls()
        made.shape, made.dtype = item
        return made

class Out:
    def __class_getitem__(cls, item):
        return item

class Scalar:
    def __class_getitem__(cls, item):
        return cls()

class ParserSyntaxError(Exception):
    hint = "write something else"
    def __init__(self, message, span):
        super().__init__(message)
        self.span = span

class JITFunction:
    def __init__(self, fn):
        self._func, self._func_type, self.__name__, self._cache = fn, "orchestration", fn.__name__, {}

    def compile(self, *args, config, **numbers):
        if config.platform in self._cache:  # as PyPTO has it: nothing is written
            return self._cache[config.platform]
        pypto.count("compiled")
        if pypto.behaviour() == "refuse":
            code = self._func.__code__
            span = {"filename": code.co_filename, "begin_line": code.co_firstlineno + 3, "begin_column": 9}
            raise ParserSyntaxError("no such operation", span)
        if pypto.behaviour().startswith("compiling: "):
            (pypto.SITE / "behaviour").write_text(pypto.behaviour().removeprefix("compiling: "))
            pypto.misbehave()
        folder = Path(config.save_kernels_dir)
        (folder / "kernels").mkdir()
        barrier = "pto.syncall() mode = hard" if pypto.behaviour() == "barrier" else ""
        task = "double" if pypto.behaviour() == "keyword" else "doubled"
        code = self._func.__code__
        at = f'loc("{code.co_filename}":{code.co_firstlineno + 3}:9)'
        text = f"module {{{barrier}}}\\nfunc.func @{task}() {{\\n pto.tmuls ins(%0) outs(%1) {at}\\n}}\\n"
        (folder / "kernels" / "doubled.pto").write_text(text)
        (folder / "kernels" / "doubled.cpp").write_text("static void doubled() {\\n    TMULS(v2, v1, v3);\\n}\\n")
        if pypto.behaviour() == "assembler refuses":
            (folder / "report").mkdir()
            said = f"ptoas compilation failed: {code.co_filename}:{code.co_firstlineno + 3}:9: error: rows of 4 bytes"
            report = f"1 function(s) failed to compile\\n\\n  [doubled]\\n{said}\\n note: see the operation"
            (folder / "report" / "codegen_errors.txt").write_text(report)
            raise RuntimeError(f"1 function(s) failed to compile: {folder}/report/codegen_errors.txt")
        (folder / "kernel_config.py").write_text("KERNELS = []")
        self._cache[config.platform] = folder

jit = JITFunction
FP32 = INT32 = RUNTIME = object()

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return None
"""

_COMPILED = """
import os
from pathlib import Path
import pypto

class CompiledProgram:
    @classmethod
    def from_dir(cls, folder, platform):
        assert (Path(folder) / "kernel_config.py").is_file()
        made = cls()
        made.folder = folder
        return made

    def __call__(self, x, out, n, config):
        if pypto.behaviour() == "g++ refuses":
            at = f"{self.folder}/kernels/doubled.cpp:2:5:   required from here"
            error = "TMulS.hpp:7:9: error: no member named 'row' in this tile"
            raise RuntimeError(f"kernel compilation failed with exit code 1:\\n{at}\\n{error}\\nmany more lines")
        pypto.count("ran")
        (pypto.SITE / "rings").write_text(" ".join(os.environ.get(f"PTO2_RING_{n}", "") for n in ("HEAP", "DEP_POOL")))
        twice = 2 * x
        out.fill_(-1.0)
        pypto.misbehave()
        out.copy_(twice)
        if pypto.behaviour() == "overwrite input":
            x.zero_()
"""

_RUNTIME = """
class RunConfig:
    def __init__(self, platform, save_kernels_dir=None, device_id=0, enable_dep_gen=False, enable_chip_swimlane=0):
        self.platform, self.save_kernels_dir, self.device_id = platform, save_kernels_dir, device_id
"""

_FILES = {
    "pypto/__init__.py": _PYPTO,
    "pypto/language/__init__.py": _LANGUAGE,
    "pypto/ir/__init__.py": "class Program: pass\n",
    "pypto/ir/compiled_program.py": _COMPILED,
    "pypto/runtime.py": _RUNTIME,
    "simpler/__init__.py": "",
    "simpler_setup/__init__.py": "",
    "kernels_for_test.py": KERNEL,
    "behaviour": "fine",
}


def install(folder: Path) -> None:
    """Write the stand-in into a folder, which then goes on the import path; its tools are in `folder`/bin."""
    for name, text in _FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    for tool in ("ptoas", "g++-15"):
        path = folder / "bin" / tool
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\nexit 0\n")
        path.chmod(0o755)
