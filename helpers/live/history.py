"""What is kept of saves: a line of JSON each, and the text of every file that changed, so that it can be had again.

A history lives in a folder of its own below out/live of the working directory: `saves.jsonl`, and `text/` with each
file's text under its digest. It survives a restart. What does not read as a save is left out.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from helpers.errors import InputError
from helpers.files import whole
from helpers.live.judge import Judged

MOST = 1000  # saves that are kept; older ones are dropped when a session starts


@dataclass
class Save:
    """One save, and what came of it.

    Attributes:
        number: Counts the saves of a history, from 1.
        when: Seconds since the epoch.
        files: Digest of the text of each file the subject imports, by path.
        judged: What was run, by size.
        mistake: What keeps the source from being run, "" for nothing.
        place: File and line of the mistake.
        findings: What the sanitizers say, as data.
        divergence: Where it first writes something else than the latest save that passed; "" where nothing is known.
        figures: PNG files by name; not kept in the file.
        seconds: From the save to the verdict at each size, on this computer.
        done: Nothing more comes.
    """

    number: int
    when: float
    files: dict[str, str] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    mistake: str = ""
    place: tuple[str, int] | None = None
    findings: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, bytes] = field(default_factory=dict, repr=False)
    seconds: dict[str, float] = field(default_factory=dict)
    divergence: str = ""
    done: bool = False

    @property
    def last(self) -> Judged | None:
        """The run at the largest size there was."""
        return self.judged.get("full") or self.judged.get("small")

    @property
    def passed(self) -> bool:
        """It ran at the full shape and every output matched."""
        return not self.mistake and "full" in self.judged and self.judged["full"].passed

    @property
    def verdict(self) -> str:
        """ "PASS", "FAIL", "refused", or "" while nothing is known."""
        if self.mistake:
            return "refused"
        if any(not j.passed for j in self.judged.values()):
            return "FAIL"
        return "PASS" if "full" in self.judged else ""

    def as_json(self) -> str:
        """The save as a line of JSON, without its figures."""
        data = {k: v for k, v in asdict(self).items() if k not in ("figures", "done")}
        return json.dumps(data)


def digest(text: bytes) -> str:
    """The name of a file's text."""
    return hashlib.sha256(text).hexdigest()[:20]


def _judged(data: dict[str, Any]) -> Judged:
    return Judged(**{**data, "outputs": {name: tuple(of) for name, of in data["outputs"].items()}})


class History:
    """The saves of one subject, oldest first, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.saves: list[Save] = []
        (folder / "text").mkdir(parents=True, exist_ok=True)
        self._file = folder / "saves.jsonl"
        self._read()

    def _read(self) -> None:
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        for line in lines[-MOST:]:
            try:
                data = json.loads(line)
                data["judged"] = {size: _judged(j) for size, j in data["judged"].items()}
                data["place"] = data["place"] and tuple(data["place"])
                self.saves.append(Save(**data, done=True))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # written by another version, or cut off
        if len(lines) > MOST:
            self._rewrite()

    def _rewrite(self) -> None:
        with whole(self._file) as out:
            out.writelines(s.as_json() + "\n" for s in self.saves)

    def begin(self, files: list[str]) -> Save:
        """A new save of the files as they are; it is kept once `keep` is called."""
        number = self.saves[-1].number + 1 if self.saves else 1
        save = Save(number, time.time(), self.digests(files))
        self.saves.append(save)
        return save

    def digests(self, files: list[str]) -> dict[str, str]:
        """The digest of each file's text, which is stored under it; "" for a file that is not there."""
        out = {}
        for file in files:
            try:
                text = Path(file).read_bytes()
            except OSError:
                out[file] = ""
                continue
            out[file] = name = digest(text)
            stored = self.folder / "text" / name
            if not stored.exists():
                with whole(stored) as copy:
                    copy.write(text.decode("utf-8", "replace"))
        return out

    def keep(self, save: Save) -> None:
        """Write a save to the file; what it had of figures stays in memory for the latest saves only."""
        for old in self.saves[:-20]:
            old.figures = {}
        with open(self._file, "a", encoding="utf-8") as out:
            out.write(save.as_json() + "\n")

    def text(self, save: Save, file: str) -> str:
        """What a file said when it was saved.

        Raises:
            InputError: it was not part of that save.
        """
        name = save.files.get(file)
        if not name or not (self.folder / "text" / name).exists():
            raise InputError(f"save {save.number} has no text of {file}")
        return (self.folder / "text" / name).read_text(encoding="utf-8")

    def changed(self, before: Save | None, save: Save) -> list[str]:
        """The files whose text differs between two saves."""
        if before is None:
            return []
        both = save.files.keys() & before.files.keys()
        return sorted(f for f in both if save.files[f] != before.files[f])

    def diff(self, before: Save, save: Save) -> str:
        """What changed from one save to another, as a unified diff of all files that did."""
        import difflib

        out = []
        for file in self.changed(before, save):
            a, b = ((self.text(s, file) if s.files[file] else "").splitlines() for s in (before, save))
            name = Path(file).name
            out += difflib.unified_diff(
                a, b, f"{name} (save {before.number})", f"{name} (save {save.number})", lineterm=""
            )
        return "\n".join(out)

    def write_back(self, save: Save, files: list[str] | None = None) -> list[str]:
        """Write the files as they were in a save; returns those that changed."""
        wanted = files or [f for f, name in save.files.items() if name]
        written = []
        for file in wanted:
            text = self.text(save, file)
            if not Path(file).exists() or Path(file).read_text(encoding="utf-8") != text:
                with whole(Path(file)) as out:
                    out.write(text)
                written.append(file)
        return written

    def best(self) -> Save | None:
        """The save that passed at the full shape with the shortest predicted time; the latest of equals."""
        passed = [s for s in self.saves if s.passed and s.judged["full"].predicted_us is not None]
        return min(passed, key=lambda s: (s.judged["full"].predicted_us, -s.number), default=None)

    def last_passed(self, before: Save | None = None) -> Save | None:
        """The latest save that passed, before another one."""
        earlier = [s for s in self.saves if s.passed and (before is None or s.number < before.number)]
        return earlier[-1] if earlier else None
