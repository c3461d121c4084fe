"""`python -m helpers.puzzles.pages`: writes the puzzles' notebooks anew from their records, without outputs.

`python -m helpers.course.refresh puzzles_1_tiles ...` then stores the outputs. A test holds the notebooks to
the records.
"""

from __future__ import annotations

import nbformat
from nbformat import v4

from golden.puzzles.record import FIGURES
from helpers.course.refresh import plain
from helpers.puzzles import glossary, stub_text
from helpers.puzzles.found import PARTS, Entry, about, notebook_of, puzzles
from helpers.puzzles.kept_progress import NOTEBOOKS

START = """\
You write kernels here. Change the stub in a cell `%%puzzle NAME` and run the cell. The check answers at once: your
kernel runs at several sizes and is held against a golden, sanitizers look at it, and it must be legal on both chips,
A2/A3 and A5. What is **asked** must be no more than par, which is what the solution takes. A wrong result is drawn.
Buttons below the verdict give two hints and the solution.

Your answers and your progress are kept in `out/answers`; a restart loses nothing. `make lab` puts copies of these
notebooks there, so that your edits stay out of git. In a terminal, `workbook puzzles` shows how far you are, and
`workbook puzzles NAME` checks `out/answers/NAME.py`."""
SETUP = """\
%load_ext helpers
from helpers.widgets.puzzle_view import puzzle, puzzle_progress

puzzle_progress()"""


def cells(part: str) -> list[nbformat.NotebookNode]:
    """The cells of a part's notebook."""
    mine = [e for e in puzzles().values() if e.part == part]
    number = PARTS.index(part) + 1
    title, _, rest = about(part).partition(": ")
    intro = (
        f"# Puzzles {number} · {title}\n\n{rest[0].upper()}{rest[1:]} Puzzles {mine[0].number} to {mine[-1].number}."
    )
    first = START if number == 1 else "How this works is told in [part 1](puzzles_1_tiles.ipynb)."
    out = [v4.new_markdown_cell(f"{intro}\n\n{first}"), v4.new_code_cell(SETUP)]
    for entry in mine:
        out += [
            v4.new_markdown_cell(statement(entry)),
            v4.new_code_cell(f'puzzle("{entry.name}")'),
            v4.new_code_cell(f"%%puzzle {entry.name}\n{stub_text.stub(entry).rstrip()}"),
        ]
    after = PARTS[number : number + 1]
    last = f"Next: [part {number + 1}]({notebook_of(after[0])}.ipynb)." if after else (
        "Next: the stages of the decoder, [01_rope_kv_cache](01_rope_kv_cache.ipynb) first. There these ideas meet."
    )  # fmt: skip
    return [*out, v4.new_markdown_cell(last)]


def statement(entry: Entry) -> str:
    """A puzzle's statement as Markdown: math, text, new names, what is asked."""
    of = entry.record
    math = "\n".join(of.math)
    parts = [f"## {entry.number} · {of.title}", f"```text\n{math}\n```", of.text]
    fresh = glossary.new(entry)
    if fresh:
        parts.append("New here:\n\n" + "\n".join(glossary.line(name) for name in fresh))
    if of.asked:
        parts.append(f"Asked, no more than par: {asked(entry)}.")
    return "\n\n".join(parts)


def asked(entry: Entry) -> str:
    """What must not be more than par, in words."""
    said = [
        FIGURES[n] + (f" (plus {factor - 1:.0%})" if factor > 1 else "") for n, factor in entry.record.asked.items()
    ]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def write(part: str) -> bool:
    """Write a part's notebook where its cells have changed, and say whether they had; outputs are lost then."""
    path = NOTEBOOKS / f"{notebook_of(part)}.ipynb"
    made = v4.new_notebook(cells=cells(part))
    plain(made)
    if path.is_file():
        stored = nbformat.read(path, as_version=4)
        if [(c.cell_type, c.source) for c in stored.cells] == [(c.cell_type, c.source) for c in made.cells]:
            return False
    path.write_text(nbformat.writes(made) + "\n", encoding="utf-8")
    return True


if __name__ == "__main__":
    for part in PARTS:
        print(f"{notebook_of(part)}: {'written' if write(part) else 'as it was'}")
