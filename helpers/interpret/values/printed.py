"""What `pl.static_print` says, as PyPTO's parser does: the type of a tensor or tile, of a number its name or value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from helpers.errors import shown
from helpers.interpret.source.source import Place
from helpers.interpret.values.values import Tensor, Tile


class Printer:
    """One `pl.static_print`. A text is printed once, however often the line runs: PyPTO prints while it parses."""

    def __init__(self, place: Place):
        self.place = place
        self._said: set[str] = set()

    def __call__(self, parts: Sequence[Sequence[str | tuple[str, Any]]]) -> None:
        """`parts`: what each argument is made of: text, and names with what they hold."""
        text = " ".join("".join(p if isinstance(p, str) else _typed(*p) for p in part) for part in parts)
        if text not in self._said:
            self._said.add(text)
            print(f"static_print [{shown(self.place.file)}:{self.place.line}]: {text}")


def _typed(name: str, value: Any) -> str:
    if not isinstance(value, (Tensor, Tile)):
        return name
    kind = "Tile" if isinstance(value, Tile) else "Tensor"
    return f"{name}: pl.{kind}[[{', '.join(map(str, value.shape))}], pl.{value.dtype}]"
