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
    """One chip: cores, and the bytes of each on-chip buffer that a kernel may use."""

    name: str
    title: str
    cube_cores: int
    vector_cores: int
    clusters: int
    buffers: dict[str, int]


@cache
def chip(name: str) -> Chip:
    """The chip called `a2a3` or `a5`."""
    with open(Path(__file__).with_name("chips.toml"), "rb") as f:
        facts = dict(tomllib.load(f)[name])
    buffers = {k: v * 1024 for k, v in facts.pop("buffers").items()}
    return Chip(name=name, buffers=buffers, **facts)
