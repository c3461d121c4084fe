"""What a user reads of the errors of PyPTO itself (hw-native-sys/pypto, needed here): region, line, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import kernelgen
import pytest

from helpers.errors import KernelError
from helpers.toolchain import near, process

pytestmark = pytest.mark.pypto

X, AB = "x: pl.Tensor[[256, 512], pl.FP32]", "a: pl.Tensor[[64, 64], pl.BF16]"
SMALL = '    with pl.at(level=pl.Level.CORE_GROUP, name_hint="small"):\n        out[0:8, :] = pl.exp(x[0:8, :])\n'
SPLIT = "optimizations=[pl.split(pl.SplitMode.UP_DOWN)]"


def out(shape: str) -> str:
    return f"out: pl.Out[pl.Tensor[{shape}, pl.FP32]]"


OVERFLOW = f"""
@pl.jit
def k({X}, {out("[256, 512]")}):
{SMALL}    with pl.at(level=pl.Level.CORE_GROUP, name_hint="large"):
        out[:, :] = pl.mul(pl.exp(x), 2.0)
    return out
"""
REDUCED = f"""
@pl.jit
def k({AB}, {out("[1, 64]")}):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="halves", {SPLIT}):
        c = pl.matmul(a, a, out_dtype=pl.FP32)
        out[:, :] = pl.col_sum(c)
    return out
"""
NAMED = f"""
@pl.jit
def k({X}, {out("[256, 512]")}):
{SMALL.replace('"small"', '"union"')}    return out
"""
INCORE = f"""
@pl.jit.incore
def h({X}, {out("[256, 512]")}):
    out[0:8, :] = pl.exp(x[0:8, :])


@pl.jit
def k({X}, {out("[256, 512]")}):
    out = h(x, out)
    return out
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that an earlier run has compiled counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
    process.stop()


@pytest.mark.parametrize("platform", ["a2a3sim", "a5sim"])
@pytest.mark.parametrize(
    ("source", "says", "line"),
    [
        (OVERFLOW, "in 'large': ValueError: Vec buffer usage", 'name_hint="large"'),
        (REDUCED, "in 'halves': ValueError: SplitVectorKernel", 'name_hint="halves"'),
        (NAMED, "the task 'union' has the name of a keyword of C++", 'name_hint="union"'),
        (INCORE, "'h' ends without a return", "def h("),
    ],
    ids=["too much UB", "a split", "a keyword of C++", "no return"],
)  # fmt: skip
def test_a_refusal_names_its_region(platform: str, source: str, says: str, line: str):
    file = Path(kernelgen.module(source).__file__)
    (refused,) = [one for one in near.compile_file(file, platform) if one.kernel == "k"]
    assert isinstance(refused, near.Refusal)
    assert isinstance(refused.error, KernelError)
    assert says in str(refused.error)
    assert line in str(refused.error)
    assert "C++ Traceback" not in str(refused.error)
