"""What the notebooks claim of causes and of figures in their prose, and what each claim is checked by.

A claim is a sentence of a notebook with a function that says whether it holds, today. `python -m helpers.course.claims`
writes the list into docs/claims.md; a test holds the notebooks, the page and the model to it.
"""

from __future__ import annotations

from pathlib import Path

from helpers.course import claims_of_decode, claims_of_layers
from helpers.course.claim_kit import Claim, plain

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
CLAIMS: tuple[Claim, ...] = (*claims_of_decode.CLAIMS, *claims_of_layers.CLAIMS)
"""The claims, notebook by notebook."""


def page() -> str:
    """The claims as a page in Markdown."""
    out = [
        "# What the notebooks claim, and what checks it",
        "",
        "Written by `python -m helpers.course.claims` from [helpers/course](../helpers/course/claims.py).",
        "`tests/test_claims.py` looks for each sentence in its notebook, computes what it says, and looks for numbers",
        "and sentences about gains that no claim holds ([helpers/course/prose.py](../helpers/course/prose.py)).",
        "",
        "| notebook | claim | checked by |",
        "|---|---|---|",
    ]
    out += [f"| {c.notebook} | {plain(c.sentence).replace('|', '&#124;')} | {c.by} |" for c in CLAIMS]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
