"""Facts about the chips that are modelled, read from chips.toml, which has the source of each number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


@dataclass(frozen=True)
class Cube:
    """The cube of one core, in cycles: see chips.toml."""

    head: float
    passes_fp32: int
    l0a_bytes: float
    l0b_bytes: float
    drain_head: float
    drain_row: float
    drain_bytes: float


@dataclass(frozen=True)
class Vector:
    """One vector core, in cycles: an instruction takes `head` and one of the others for each 256 bytes."""

    head: float
    plain: float
    pair: float
    function: float
    fold: float


@dataclass(frozen=True)
class Scalar:
    """The scalar unit of a core, in cycles: to hand an instruction to its pipe, to read or write an element."""

    issue: float
    read: float


@dataclass(frozen=True)
class GlobalMemory:
    """Global memory: bytes of a line; GB/s of one core by way, and of all together; microseconds a transfer."""

    line: int
    to_l1: float
    to_ub: float
    from_ub: float
    from_l0c: float
    shared: float
    latency: float


@dataclass(frozen=True)
class Runtime:
    """What dispatching costs, in microseconds; `block`: what a further block of a launch costs, as a share."""

    submit: float
    fill: float  # GB/s
    threads: int
    dispatch: float
    complete: float
    block: float
    pickup: float
    doorbell: float
    barrier: float


@dataclass(frozen=True)
class Chip:
    """One chip: cores, the bytes of each on-chip buffer that a kernel may use, rates and costs.

    Cores are numbered from 0: first the cube cores, then the vector cores; cluster c is cube core c and vector cores
    2c and 2c + 1 of theirs. `ring`: where the tiles lie that these hand each other, "GM" or "chip".
    """

    name: str
    title: str
    cube_cores: int
    vector_cores: int
    clusters: int
    clock_ghz: float
    l2_mib: int
    ring: str
    buffers: dict[str, int]
    cube: Cube
    vector: Vector
    scalar: Scalar
    memory: GlobalMemory
    runtime: Runtime

    @property
    def cores(self) -> int:
        return self.cube_cores + self.vector_cores

    def core_name(self, core: int) -> str:
        """ "cube 3" or "vector 7"."""
        return f"cube {core}" if core < self.cube_cores else f"vector {core - self.cube_cores}"

    @property
    def cube_tflops(self) -> float:
        """Peak of all cubes together for 16-bit operands: 16 x 16 x 16 multiply-adds a cycle and core."""
        return self.cube_cores * 2 * 16**3 * self.clock_ghz / 1e3

    @property
    def vector_gflops(self) -> float:
        """Peak of all vector cores together for FP32, one operation an element: 256 bytes an instruction's cycle."""
        return self.vector_cores * 256 / 4 / self.vector.plain * self.clock_ghz


@cache
def chip(name: str) -> Chip:
    """The chip called `a2a3` or `a5`."""
    with open(Path(__file__).with_name("chips.toml"), "rb") as f:
        facts = dict(tomllib.load(f)[name])
    buffers = {k: v * 1024 for k, v in facts.pop("buffers").items()}
    parts = {"cube": Cube, "vector": Vector, "scalar": Scalar, "memory": GlobalMemory, "runtime": Runtime}
    return Chip(name=name, buffers=buffers, **{k: parts[k](**v) if k in parts else v for k, v in facts.items()})
