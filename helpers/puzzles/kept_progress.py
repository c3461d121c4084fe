"""What is kept of a reader's work: answers, how far each puzzle is, copies of the notebooks. All in one folder.

The folder is out/answers of the workbook, which git does not see and `make clean` leaves alone; WORKBOOK_ANSWERS names
another one.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from helpers.errors import InputError
from helpers.files import whole

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"


@dataclass(frozen=True)
class State:
    """How far a puzzle is.

    Attributes:
        tries: Answers that were checked.
        hints: Hints that were asked for.
        looked: The solution was asked for before it was solved.
        solved: An answer has passed; it stays so.
        last: The kind of the last verdict.
        figures: Of the last answer that passed: tasks, bytes, microseconds predicted.
    """

    tries: int = 0
    hints: int = 0
    looked: bool = False
    solved: bool = False
    last: str = ""
    figures: dict[str, float] | None = None


def folder() -> Path:
    """Where answers are kept; made where it is not there yet."""
    named = os.environ.get("WORKBOOK_ANSWERS")
    made = Path(named) if named else ROOT / "out" / "answers"
    made.mkdir(parents=True, exist_ok=True)
    return made


def answer(name: str) -> Path:
    """The file of a puzzle's answer, which may not be there yet."""
    return folder() / f"{name}.py"


def load() -> dict[str, State]:
    """How far each puzzle is that has been begun.

    Raises:
        InputError: the file cannot be read; says what to do.
    """
    file = folder() / "progress.json"
    if not file.is_file():
        return {}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {name: State(**{k: v for k, v in state.items() if k in _FIELDS}) for name, state in kept.items()}
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{file} is not what was written there; remove it to begin anew, answers are kept") from None


_FIELDS = set(State.__dataclass_fields__)


def note(name: str, **changes: Any) -> State:
    """Change what is kept of a puzzle, and give it back."""
    all_of_them = load()
    state = replace(all_of_them.get(name, State()), **changes)
    all_of_them[name] = state
    with whole(folder() / "progress.json") as file:
        json.dump({n: asdict(s) for n, s in all_of_them.items()}, file, indent=1)
    return state


LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")


def copies() -> list[Path]:
    """Copies of the puzzles' notebooks in `folder`, for the reader to edit; one that is there stays as it is."""
    out = []
    for original in sorted(NOTEBOOKS.glob("puzzles_*.ipynb")):
        copy = folder() / original.name
        if not copy.exists():
            kept = json.loads(original.read_text(encoding="utf-8"))
            for cell in kept["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = LINK.sub(lambda m: m[1] + _from_copy(m[2]), "".join(cell["source"]))
            with whole(copy) as file:
                json.dump(kept, file, indent=1)
        out.append(copy)
    return out


def _from_copy(target: str) -> str:
    """A link of a notebook, as its copy has to have it; notebooks that are copied stay side by side."""
    if re.match(r"puzzles_\w+\.ipynb$", target):
        return target
    return Path(os.path.relpath(NOTEBOOKS / target, folder())).as_posix()
