"""Facts about the chips that are modelled, read from chips.toml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


@dataclass(frozen=True)
class Chip:
    """One chip: cores, the bytes of each on-chip buffer that a kernel may use, rates and costs.

    Cores are numbered from 0: first the cube cores, then the vector cores; cluster c is cube core c and vector cores
    2c and 2c + 1 of theirs.
    """

    name: str
    title: str
    cube_cores: int
    vector_cores: int
    clusters: int
    buffers: dict[str, int]
    clock_ghz: float
    cube_tflops: dict[str, float]  # of the whole chip, by operand type
    vector_bytes_per_cycle: int  # of one vector core
    core_gbps: float  # global memory, one core alone
    shared_gbps: float  # global memory, all cores together
    row_bytes: float  # what the start of each contiguous row costs, in bytes of transfer
    latency_us: float  # from asking for a transfer to its first byte
    op_us: float  # start of one instruction
    dispatch_us: float  # from a free core and a ready task to its first instruction
    submit_us: float  # orchestration, one launch

    @property
    def cores(self) -> int:
        return self.cube_cores + self.vector_cores

    def core_name(self, core: int) -> str:
        """ "cube 3" or "vector 7"."""
        return f"cube {core}" if core < self.cube_cores else f"vector {core - self.cube_cores}"


@cache
def chip(name: str) -> Chip:
    """The chip called `a2a3` or `a5`."""
    with open(Path(__file__).with_name("chips.toml"), "rb") as f:
        facts = dict(tomllib.load(f)[name])
    buffers = {k: v * 1024 for k, v in facts.pop("buffers").items()}
    return Chip(name=name, buffers=buffers, **facts)
