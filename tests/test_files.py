"""helpers.files: a file is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import files
from helpers.files import whole


def test_a_file_is_there_whole(tmp_path: Path):
    path = tmp_path / "a.json"
    with whole(path) as file:
        file.write("ü")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == "ü".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_is_not_finished_leaves_the_old_one(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "a.json"
    path.write_text("old")

    def unfinished() -> None:
        with whole(path) as file:
            file.write("half")
            raise error

    with pytest.raises(error):
        unfinished()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_rename_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.html"
    path.write_text("old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), whole(path) as file:
        file.write("new")
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a.html", "old")]
