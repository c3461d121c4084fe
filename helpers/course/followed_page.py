"""A page of docs/ that is followed to the letter: its files are written, its commands run, what they say compared.

    python -m helpers.course.followed_page [--write]

follows docs/develop.md in an empty folder. A fenced block says what it is behind its opening:

    bash                         commands, run by bash; those that follow in the same block share a shell
    text                         what the commands above it print; ... stands for anything
    python FILE                  a file's text
    python FILE above "TEXT"     goes into the file, above the line that begins so

With --write a text that does not agree, or is nothing but ..., is the one that was printed, and the pictures that the
page shows are copied to where it looks for them: docs/develop/NAME.png is NAME.png of the folder `pictures`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "develop.md"
_FENCE = re.compile(r"^```(\w*)[ ]?(.*)\n((?:.*\n)*?)```$", re.M)
_NOT_SAID = re.compile(r"Kernel is running over TCP")  # a warning of another package


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, what else its opening says, its text, and where the text is in the page."""

    kind: str
    about: str
    text: str
    span: tuple[int, int]


@dataclass
class Step:
    """Commands, what the page says of them, and what they printed."""

    commands: str
    said: Block | None
    printed: str

    def agrees(self) -> bool:
        """What was printed is what the page says."""
        if self.said is None:
            return True
        parts = [re.escape(part) for part in re.split(r"\.\.\.", self.said.text)]
        return re.fullmatch(".*?".join(parts), self.printed, re.S) is not None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page that say what they are."""
    return [Block(m[1], m[2], m[3], m.span(3)) for m in _FENCE.finditer(page) if m[1]]


def follow(page: str, folder: Path) -> list[Step]:
    """Do in a folder what a page says.

    Raises:
        ValueError: a block cannot be followed.
    """
    found, steps = blocks(page), []
    for i, block in enumerate(found):
        if block.kind == "bash":
            after = found[i + 1] if i + 1 < len(found) and found[i + 1].kind == "text" else None
            steps.append(Step(block.text, after, _run(block.text, folder)))
        elif block.kind == "python":
            name, _, above = block.about.partition(" above ")
            if not re.fullmatch(r"\w+\.py", name):
                raise ValueError(f"a block of Python without a file: {block.text[:60]!r}")
            _write(folder / name, block.text, above.strip('"'))
        elif block.kind != "text":
            raise ValueError(f"a block of {block.kind}")
    return steps


def _write(file: Path, text: str, above: str) -> None:
    if above:
        before = file.read_text(encoding="utf-8")
        at = re.search("^" + re.escape(above), before, re.M)
        if at is None:
            raise ValueError(f"{file.name} has no line that begins with {above!r}")
        text = f"{before[: at.start()]}{text}\n\n{before[at.start() :]}"
    file.write_text(text, encoding="utf-8")


def _run(commands: str, folder: Path) -> str:
    """What commands print; `workbook` and `python` are this environment's."""
    python = sys.executable
    words = f'workbook() {{ "{python}" -m helpers "$@"; }}\npython() {{ "{python}" "$@"; }}\n'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", words + commands], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=900,
    )  # fmt: skip
    lines = done.stdout.splitlines(keepends=True)
    return "".join(re.sub(r"[ \t]+\n", "\n", line) for line in lines if not _NOT_SAID.search(line))


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        steps = follow(page, folder)
        if "--write" in sys.argv:
            for step in reversed(steps):
                if step.said is not None and (not step.agrees() or step.said.text.strip() == "..."):
                    start, end = step.said.span
                    page = page[:start] + step.printed + page[end:]
            PAGE.write_text(page, encoding="utf-8")
            for name in re.findall(r"\]\(develop/([\w-]+\.png)\)", page):
                (PAGE.parent / "develop").mkdir(exist_ok=True)
                shutil.copy(folder / "pictures" / name, PAGE.parent / "develop" / name)
    for step in steps:
        if not step.agrees():
            print(f"$ {step.commands}{step.printed}--- the page says\n{step.said.text}")
    if not all(step.agrees() for step in steps):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
