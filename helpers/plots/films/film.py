"""A film: pictures in order, each with a line that says what happens in it, and one picture that stands for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from helpers.plots.style import Figure


@dataclass(frozen=True, eq=False)
class Film:
    """Pictures that are drawn when they are looked at.

    Attributes:
        title: What it shows; a stable fact, for it is the film's text.
        said: A line for each picture.
        draw: The picture of a number.
        stills: The numbers of the pictures that stand for it where nothing moves: the one in the middle is shown.
    """

    title: str
    said: tuple[str, ...]
    draw: Callable[[int], Figure]
    stills: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.said)

    @property
    def still(self) -> int:
        """The number of the picture that stands for the film."""
        return self.stills[len(self.stills) // 2] if self.stills else len(self) // 2

    def __repr__(self) -> str:
        return f"[film] {self.title}: {len(self)} pictures"
