"""Kernels from text: a kernel is parsed from its file, so what a test draws at random is written to one first.

`module(source)` writes, imports and returns; `kernel(source)` gives the kernel called `k` in it. A source seen before
is not written again. Every module begins with the line `import pypto.language as pl`, so the first line of `source`
is line 2 of the file.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import shutil
import sys
import tempfile
import textwrap
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

import kernels  # noqa: F401  makes `import pypto.language` work
from helpers.chips import chip
from helpers.interpret.call import interpret
from helpers.interpret.language import element_types
from helpers.interpret.ops import limits
from helpers.interpret.trace.trace import Trace

HEADER = "import pypto.language as pl\n"


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def module(source: str) -> ModuleType:
    """The module whose text is HEADER and `source` (dedented)."""
    source = textwrap.dedent(source)
    future = "from __future__ import annotations\n"
    text = (future if source.startswith(future) else "") + HEADER + source.removeprefix(future)
    name = "kernel_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    path = _folder() / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


def kernel(source: str) -> Any:
    """The decorated function `k` of `module(source)`."""
    return module(source).k


def run(source_or_kernel: Any, *args: Any, on: str = "a2a3", **named: Any) -> Trace:
    """Interpret a kernel (or the `k` of a source) in place on the arguments; gives the trace."""
    k = kernel(source_or_kernel) if isinstance(source_or_kernel, str) else source_or_kernel
    return interpret(k, named or list(args), f"{on}interp", chip(on))


def tensor(shape: list[int] | tuple[int, ...], dtype: str) -> str:
    """The annotation of a tensor."""
    return f"pl.Tensor[{list(shape)}, pl.{dtype}]"


def incore(parameters: dict[str, str], body: str, before: str = "") -> str:
    """The source of an entry `k` whose `body` is one `pl.at`; it returns its last parameter."""
    lines = textwrap.indent(textwrap.dedent(body).strip(), "        ")
    head = ", ".join(f"{name}: {type_}" for name, type_ in parameters.items())
    region = f"    with pl.at(level=pl.Level.CORE_GROUP):\n{lines}\n    return {list(parameters)[-1]}\n"
    return f"{before}\n\n@pl.jit\ndef k({head}):\n{region}"


TORCH = {
    "FP32": torch.float32, "BF16": torch.bfloat16, "FP16": torch.float16, "INT32": torch.int32, "INT16": torch.int16,
    "INT8": torch.int8, "UINT8": torch.uint8, "INT64": torch.int64,
}  # fmt: skip
FLOATS, INTEGERS = ("FP32", "BF16", "FP16"), ("INT32", "INT16", "INT8", "UINT8")


def taken(operation: str, among: tuple[str, ...] | list[str], number: bool = False, on: str = "a5") -> list[str]:
    """Which element types of `among` an operation takes on a chip; `number`: its second operand is one."""
    limit = limits(operation, number)
    return [t for t in among if limit is None or not element_types.refused(limit[1], t, on)]


# Every example writes, parses and compiles a kernel, so there are few, and the clock is not watched.
few = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)  # fmt: skip
seeds = st.integers(0, 2**31 - 1)
rows, columns = st.integers(1, 9), st.integers(1, 17)


def values(shape: tuple[int, ...], dtype: str, seed: int, low: float = -50, high: float = 50) -> torch.Tensor:
    """Random values of a dtype between `low` and `high` (cut to the dtype's range)."""
    g, t = torch.Generator().manual_seed(seed), TORCH[dtype]
    if t.is_floating_point:
        return (torch.rand(shape, generator=g) * (high - low) + low).to(t)
    info = torch.iinfo(t)
    return torch.randint(max(int(low), info.min), min(int(high), info.max) + 1, shape, generator=g).to(t)


def padded(n: int, *types: str) -> int:
    """The least number of elements, at least `n`, that fill lines of 32 bytes in each of these types: what a row of a
    tile (or a column [n, 1]) can have on chip."""
    unit = max(32 // TORCH[t].itemsize for t in types)
    return -(-n // unit) * unit


def wrapped(x: torch.Tensor, dtype: str) -> torch.Tensor:
    """INT64 values reduced to the width of an integer type, two's complement."""
    bits = torch.iinfo(TORCH[dtype]).bits
    x = x & ((1 << bits) - 1) if bits < 64 else x
    if dtype.startswith("I") and bits < 64:
        x = torch.where(x >= 1 << (bits - 1), x - (1 << bits), x)
    return x.to(TORCH[dtype])


def out(shape: tuple[int, ...] | list[int], dtype: str) -> str:
    """The annotation of an output tensor."""
    return f"pl.Out[{tensor(shape, dtype)}]"


def sevens(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """What outputs hold before a kernel runs."""
    return torch.full(shape, 7, dtype=TORCH[dtype])


def same(got: torch.Tensor, want: torch.Tensor) -> None:
    """Assert equal dtype, shape and values; NaN equals NaN."""
    torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
