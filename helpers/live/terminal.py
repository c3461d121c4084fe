"""`workbook watch`: a session in the terminal: one screen that follows the saves, or lines without a terminal."""

from __future__ import annotations

import threading
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from helpers.live.history import History, Save
from helpers.live.save_table import best_text, rows, sparkline
from helpers.live.session import Session
from helpers.live.subject import Subject
from helpers.plots.style import time_text

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "refused": "bold red", "": "dim"}


def watch_terminal(subject: Subject, console: Console | None = None, saves: int | None = None) -> int:
    """Follow a subject until Ctrl-C, or until so many saves are done; returns 0 when the last one passed, else 1."""
    console = console or Console(highlight=False)
    wake = threading.Event()
    session = Session(subject, lambda _: wake.set())
    before = len(session.history.saves)
    told: set[tuple[int, str]] = set()
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    try:
        session.start()
        if live:
            live.start()
        while True:
            wake.wait(0.2)
            wake.clear()
            save = session.history.saves[-1]
            if live:
                live.update(view(session.history, save, subject), refresh=True)
            else:
                _tell(console, save, subject, told)
            if save.done and saves is not None and len(session.history.saves) - before >= saves:
                break
    except KeyboardInterrupt:
        pass
    finally:
        if live:
            live.stop()
        session.stop()
    last = session.history.saves[-1]
    if live:
        console.print(view(session.history, last, subject))
    return 0 if last.passed else 1


def _tell(console: Console, save: Save, subject: Subject, told: set[tuple[int, str]]) -> None:
    """A line for each thing that became known of a save, once."""
    for size, judged in save.judged.items():
        if (save.number, size) not in told:
            told.add((save.number, size))
            head = f"save {save.number}, {size} shape: {'PASS' if judged.passed else 'FAIL'}; tasks {judged.tasks:,}"
            ratio = "" if judged.ratio is None else f", error / tolerance {judged.ratio:.2g}"
            console.print(f"{head}{ratio}; {save.seconds[size]:.2f} s after the save, on {judged.platform}")
            if judged.error:
                console.print(judged.error)
    if "predicted" in save.seconds and (save.number, "predicted") not in told:
        told.add((save.number, "predicted"))
        console.print(f"save {save.number}: predicted time {time_text(save.last.predicted_us)} on {subject.chip}")
    if save.mistake and (save.number, "mistake") not in told:
        told.add((save.number, "mistake"))
        console.print(f"save {save.number} cannot be run: {save.mistake}")
    if save.divergence and (save.number, "divergence") not in told:
        told.add((save.number, "divergence"))
        console.print(save.divergence)
    if save.done and (save.number, "findings") not in told:
        told.add((save.number, "findings"))
        for line in findings_text(save):
            console.print(line)


def findings_text(save: Save) -> list[str]:
    """The findings of a save, a line each."""
    out = []
    for f in save.findings:
        place = f["place"]
        where = f"{place['file']}:{place['line']}: " if place else ""
        out.append(f"{where}{f['severity']}: {f['what']} [{f['kind']}]")
    return out


def view(history: History, save: Save, subject: Subject) -> RenderableType:
    """The screen for a save: verdict, numbers beside the previous save and the best, what is wrong, the strip."""
    head = Text.assemble(
        (f"{subject.text}  ", "bold"), f"{subject.chip}interp  save {save.number}  ",
        time.strftime("%H:%M:%S  ", time.localtime(save.when)), (save.verdict or "running ...", _STYLES[save.verdict]),
    )  # fmt: skip
    parts: list[Any] = [head]
    if save.mistake:
        parts.append(Text(save.mistake, style="red"))
    last = save.last
    shown, grey = save, False
    if last is None:
        shown, grey = history.last_passed(save) or save, True
    if shown.last is not None:
        table = Table(box=None, padding=(0, 3, 0, 0), style="dim" if grey else "none")
        headings = ["", f"save {shown.number}", "save before", best_text(history)]
        for i, heading in enumerate(headings):
            table.add_column(heading, justify="left" if i == 0 else "right")
        for row in rows(history, shown):
            table.add_row(*row)
        parts.append(table)
        if shown.last.error and not grey:
            parts.append(Text("\n".join(shown.last.error.splitlines()[:6]), style="red"))
    if save.divergence:
        parts.append(Text(save.divergence, style="red"))
    for line in findings_text(save)[:8]:
        parts.append(Text(line, style="yellow"))
    changed = history.changed(history.saves[-2] if len(history.saves) > 1 else None, save)
    if changed:
        parts.append(Text("\n".join(history.diff(history.saves[-2], save).splitlines()[:12]), style="dim"))
    parts.append(Text(sparkline(history)))
    return Group(*parts)
