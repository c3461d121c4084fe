"""What `pl.static_print` says, as PyPTO's parser does: the type of a tensor or tile, of a number its name or value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from helpers.errors import shown
from helpers.interpret.source.source import Place
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.values import Tensor, Tile

NUMBER = "number"  # the level of what PyPTO knows the value of while it compiles


class Printer:
    """One `pl.static_print`. A text is printed once, however often the line runs: PyPTO prints while it parses."""

    def __init__(self, place: Place):
        self.place = place
        self._said: set[str] = set()

    def __call__(self, parts: Sequence[Sequence[str | tuple[str, str | None, Any]]]) -> None:
        """`parts`: what each argument is made of: text, and (name, "tensor" or "tile", what it holds); of NUMBER the
        type is in place of the name."""
        text = " ".join("".join(p if isinstance(p, str) else _typed(*p) for p in part) for part in parts)
        if text not in self._said:
            self._said.add(text)
            print(f"static_print [{shown(self.place.file)}:{self.place.line}]: {text}")


SPACES = {"UB": "Vec", "L1": "Mat", "L0A": "Left", "L0B": "Right", "L0C": "Acc"}  # as `pl.Mem` calls them


def _typed(name: str, level: str | None, value: Any) -> str:
    if not isinstance(value, (Tensor, Tile)):
        return f"{value}: {name}" if level == NUMBER else name
    tile = level == "tile" or (level is None and isinstance(value, Tile))
    parts = [f"[{', '.join(map(str, value.shape))}]", f"pl.{value.dtype}"]
    if tile and isinstance(value, Tile):
        parts.append(f"pl.Mem.{SPACES.get(value.memory.space, 'Vec')}")
    if value.valid is not None:
        valid = f"valid_shape=[{', '.join(map(_extent, value.valid))}]"
        parts.append(
            f"pl.TileView({valid})" if tile else f"pl.TensorView({valid}, stride=[], layout=pl.TensorLayout.ND)"
        )
    return f"{name}: pl.{'Tile' if tile else 'Tensor'}[{', '.join(parts)}]"


def _extent(n: Any) -> str:
    return "?" if type(n) is Lanes else str(n)
