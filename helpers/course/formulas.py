"""Formulas in pages that need no network: each `$...$` of a markdown cell as a picture, drawn by matplotlib."""

from __future__ import annotations

import base64
import html
import re

from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.textpath import TextPath

_FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<line>[^$\n]+?)\$(?![\w$])", re.DOTALL)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_SIZE = 12.0  # points of a formula; text around it is about as large
_GREY = "#7a7a7a"  # reads on white and on black, as in the figures


def pictured(markdown: str) -> str:
    """The text with pictures in place of its formulas; what stands in code is left alone."""
    out, at = [], 0
    for code in _CODE.finditer(markdown):
        out += [_replaced(markdown[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*out, _replaced(markdown[at:])])


def _replaced(text: str) -> str:
    return _FORMULA.sub(lambda m: picture(m["block"] or m["line"], bool(m["block"])), text)


def picture(formula: str, block: bool = False) -> str:
    """A formula as an HTML image, on a line of its own with `block`; its text is the image's.

    Raises:
        ValueError: matplotlib's mathtext does not know something in it.
    """
    text = f"${' '.join(formula.split())}$"
    font = FontProperties(size=_SIZE, math_fontfamily="cm")
    width, height, depth, _, _ = MathTextParser("path").parse(text, 72, font)
    path = TextPath((0, 0), text, prop=font)
    drawn = " ".join(_command(code, points, height - depth) for points, code in path.iter_segments(curves=True))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.1f}pt" height="{height:.1f}pt" '
        f'viewBox="0 -1 {width:.1f} {height + 2:.1f}"><path fill="{_GREY}" d="{drawn}"/></svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    place = "display:block;margin:10px auto" if block else f"display:inline;margin:0;vertical-align:-{depth:.1f}pt"
    image = f'<img alt="{html.escape(formula.strip())}" src="data:image/svg+xml;base64,{data}" style="{place}">'
    return f"\n\n{image}\n\n" if block else image


def _command(code: int, points: object, base: float) -> str:
    """A step of a path in SVG's words; y goes down there."""
    xy = [f"{float(v if i % 2 == 0 else base - v):.2f}" for i, v in enumerate(points)]
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    return "Z" if code == 79 else f"{letters[int(code)]}{' '.join(xy)}"
