"""docs/develop.md, followed to the letter in an empty folder: every block is run, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.course.followed_page import PAGE, Block, Step, blocks, follow

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.timeout(1800)
def test_the_walk_prints_what_the_page_says(tmp_path: Path):
    steps = follow(TEXT, tmp_path)
    assert [f"$ {s.commands}{s.printed}--- the page says\n{s.said.text}" for s in steps if not s.agrees()] == []
    assert sum(s.said is not None for s in steps) >= 6
    shown = re.findall(r"\]\(develop/([\w-]+\.png)\)", TEXT)
    assert {f.name for f in (tmp_path / "pictures").iterdir()} == set(shown)


def test_pictures_are_there_and_small():
    folder = PAGE.parent / "develop"
    shown = re.findall(r"!\[[^\]]+\]\(develop/([\w-]+\.png)\)", TEXT)
    assert {f.name for f in folder.iterdir()} == set(shown)
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in folder.iterdir())
    assert sum(f.stat().st_size for f in folder.iterdir()) < 300_000


def test_every_block_says_what_it_is():
    assert {b.kind for b in blocks(TEXT)} == {"bash", "text", "python"}
    assert len(blocks(TEXT)) == TEXT.count("```") // 2


def test_a_text_that_is_not_what_was_printed_is_seen():
    said = Block("text", "", "1 task, ... s\nPASS\n", (0, 0))
    assert Step("", said, "1 task, 0.25 s\nPASS\n").agrees()
    assert not Step("", said, "2 tasks, 0.25 s\nPASS\n").agrees()
    assert not Step("", said, "1 task, 0.25 s\nFAIL\n").agrees()
    assert not Step("", said, "1 task, 0.25 s\nPASS\nmore\n").agrees()


def test_what_a_page_writes_and_runs(tmp_path: Path):
    page = '```python a.py\nX = 1\nprint(X)\n```\n```python a.py above "print"\nX = 2\n```\n```bash\npython a.py\n```\n'
    (step,) = follow(page, tmp_path)
    assert step.printed == "2\n"
    for wrong in ("```python\nX\n```\n", '```python a.py above "nothing"\nX\n```\n', "```ruby\nputs 1\n```\n"):
        with pytest.raises(ValueError, match=r"a block of|has no line"):
            follow(wrong, tmp_path)
