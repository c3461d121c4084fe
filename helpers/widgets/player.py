"""`play`: a film with its buttons: play, pause, a step back or on; without a front end its still picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from helpers.plots.films import Film
from helpers.widgets.front_end import front_end

_HERE = Path(__file__).parent / "browser"
_kept: dict[str, int] = {}  # the picture that is shown, by film


class Player(anywidget.AnyWidget):
    """The film in a page: `at` is the number of the picture, `png` the picture, which follows."""

    _esm = _HERE / "player.js"
    _css = _HERE / "widgets.css"
    count = traitlets.Int().tag(sync=True)
    at = traitlets.Int().tag(sync=True)
    png = traitlets.Bytes().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    milliseconds = traitlets.Int(350).tag(sync=True)  # that a picture stays

    def __init__(self, film: Film, **options: Any):
        super().__init__(count=len(film), **options)
        self._film = film
        self.at = min(_kept.get(repr(film), 0), len(film) - 1)
        self._draw()
        self.observe(self._draw, "at")

    def _draw(self, _: Any = None) -> None:
        at = min(max(0, self.at), len(self._film) - 1)
        _kept[repr(self._film)] = at
        figure = self._film.draw(at)
        with self.hold_sync():  # the picture last: the page draws when it has come
            self.said = self._film.said[at]
            self.width = round(figure.get_size_inches()[0] * 96)
            self.png = figure.png()


class Played:
    """What `play` returns: the film with its buttons where there is a front end, else its still picture."""

    def __init__(self, film: Film, live: bool):
        self.film, self.live = film, live

    def __repr__(self) -> str:
        return repr(self.film)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return Player(self.film)._repr_mimebundle_()
        bundle, metadata = self.film.draw(self.film.still)._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata


def play(film: Film, live: bool | None = None) -> Played:
    """A film to play.

    Args:
        live: True for the widget, False for the still picture; None: the widget where a front end shows the cell.
    """
    return Played(film, front_end() if live is None else live)
