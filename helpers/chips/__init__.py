"""Facts about the chips that are modelled, read from chips.toml, which has the source of each number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

SPREAD = Path(__file__).with_name("spread.toml")  # written by bench.published


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
    """One vector core, in cycles: an instruction takes `head`, and one of the others for each 256 bytes: `plain` of one
    operand, `pair` of two, `divide`, `sort`. Others take their time by the row: `spread` copies one, `gather` picks it
    (`scatter`: by the element), reductions along rows (`row`) and columns (`col`) have more to do for each further 256
    bytes of it."""

    head: float
    plain: float
    pair: float
    divide: float
    sort: float
    spread: float
    gather: float
    scatter: float
    row_head: float
    row: float
    row_more: float
    col: float
    col_more: float


@dataclass(frozen=True)
class Scalar:
    """The scalar unit of a core, in cycles: to hand an instruction to its pipe, to read or write an element."""

    issue: float
    read: float


@dataclass(frozen=True)
class GlobalMemory:
    """Global memory: bytes of a line; GB/s of one core by way, of one core for what the L2 cache has not (`missed`),
    and of all cores together (`shared`); nanoseconds that a row takes at least (`burst_`); microseconds that a transfer
    costs its pipe (`issue`), and until its data can be used (`latency`, of vector cores `latency_ub`)."""

    line: int
    to_l1: float
    to_ub: float
    from_ub: float
    from_l0c: float
    missed: float
    shared: float
    burst_l1: float
    burst_ub: float
    issue: float
    latency: float
    latency_ub: float


@dataclass(frozen=True)
class Runtime:
    """What dispatching costs, in microseconds; `block`: what a further block of a launch costs, as a share; `task`:
    what a core needs to enter and leave a task, whatever it does."""

    task: float
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

    `rules`: of which chip the rules of PyPTO and its assembler hold for it: its own name, or another's that it is like.
    `assumed`: which of its numbers are the other chip's or a guess, none being public. `spread`: how far off predicted
    times of this chip are, as a share: the median over measurements that nothing was fitted on; None: there is none.
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
    rules: str
    assumed: tuple[str, ...] = ()
    spread: float | None = None

    @property
    def within(self) -> str:
        """How far a predicted time may be off, to put behind "predicted"."""
        return ", never measured" if self.spread is None else f" ±{100 * self.spread:.0f} %"

    @property
    def model(self) -> str:
        """The cost model, for signatures: its error, and what of it is assumed."""
        own = f"the cost model of {self.name}{self.within}"
        return f"{own}; assumed: {', '.join(self.assumed)}" if self.assumed else own

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
def _tables() -> dict[str, dict]:
    with open(Path(__file__).with_name("chips.toml"), "rb") as f:
        return tomllib.load(f)


NAMES = tuple(_tables())
"""The chips, in the order of chips.toml."""

OF_PYPTO = tuple(name for name, facts in _tables().items() if facts.get("rules", name) == name)
"""Those that PyPTO itself knows."""


@cache
def chip(name: str) -> Chip:
    """The chip of a table of chips.toml."""
    facts = {"rules": name, **_tables()[name]}
    buffers = {k: v * 1024 for k, v in facts.pop("buffers").items()}
    facts["assumed"] = tuple(facts.get("assumed", ()))
    parts = {"cube": Cube, "vector": Vector, "scalar": Scalar, "memory": GlobalMemory, "runtime": Runtime}
    with open(SPREAD, "rb") as f:
        spread = tomllib.load(f).get(name, {}).get("median")
    made = {k: parts[k](**v) if k in parts else v for k, v in facts.items()}
    return Chip(name=name, buffers=buffers, spread=spread, **made)
