"""What the compiler said of kernels, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from helpers import chips
from helpers.errors import shown
from helpers.toolchain.near import Compilation, Refusal, where
from helpers.toolchain.side_by_side import Comparison


def verdicts(rows: Iterable[tuple[str, Compilation | Refusal]]) -> Table:
    """One row a compilation: its title, the verdict, KiB used of each on-chip buffer, counts of hints and files."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("kernel", "platform", "verdict"):
        table.add_column(heading)
    for heading in (*chips.chip("a5").buffers, "hints", "files", "seconds"):
        table.add_column(heading, justify="right")
    for title, one in rows:
        if isinstance(one, Refusal):
            table.add_row(title, one.platform, "REFUSED")
            continue
        peaks = one.peaks()
        table.add_row(
            title, one.platform, "assembled" if one.assembled else "compiled",
            *(_share(peaks[b], limit) for b, limit in one.limits.items()),
            str(sum(h.count for h in one.hints)), str(len(one.files)), "kept" if one.cached else f"{one.seconds:.1f}",
        )  # fmt: skip
    return table


def details(title: str, one: Compilation, console: Console) -> None:
    """Where one compilation's buffers are fullest, what the compiler hints at, and what it generated."""
    console.print(Text(f"\n{title} on {one.platform}", style="bold"))
    table = Table("buffer", "bytes", "of", "in", "up to", "at line", box=None, padding=(0, 2, 0, 2))
    for buffer, limit in one.limits.items():
        found = one.fullest(buffer)
        if found:
            unit, tile = found
            table.add_row(buffer, f"{tile.end:,}", f"{limit:,}", unit.name, tile.what, where(tile.place))
    if table.row_count:
        console.print(table)
    for hint in one.hints:
        times = f" ({hint.count} times)" if hint.count > 1 else ""
        console.print(Text(f"  hint {hint.code} at {where(hint.place)}{times}: {hint.text}"))
    console.print(Text(f"  generated in {shown(str(one.folder))}:"))
    for file in one.files:
        console.print(Text(f"    {file}"))


def comparison(found: Comparison) -> Table:
    """One comparison, a column a platform: what each says, and the differences with their reasons below."""
    table = Table(title=f"{found.stage} {found.version}", title_justify="left", box=None, padding=(0, 3, 0, 0))
    table.add_column("")
    for side in found.sides:
        table.add_column(side.platform)
    table.add_row("how", *(s.how for s in found.sides))
    verdicts = {True: "PASS", False: "FAIL", None: "-"}
    table.add_row("golden", *(verdicts[s.passed] for s in found.sides))
    table.add_row("tasks", *(_number(s.tasks and sum(s.tasks.values())) for s in found.sides))
    table.add_row("names of tasks", *(_number(s.tasks and len(s.tasks)) for s in found.sides))
    for why in ("declared", "inferred"):
        counts = (None if s.edges is None else sum(n for k, n in s.edges.items() if k[2] == why) for s in found.sides)
        table.add_row(f"{why} dependencies", *map(_number, counts))
    for buffer in chips.chip("a5").buffers:
        table.add_row(f"peak of {buffer}, bytes", *(_number(s.peaks and s.peaks[buffer]) for s in found.sides))
    return table


def differences(found: Comparison) -> Table | Text:
    """What differs from the first platform, and why."""
    if not found.differences:
        return Text("no difference")
    table = Table(box=None, padding=(0, 3, 0, 2))
    for heading in ("differs", found.sides[0].platform, "platform", "", "why"):
        table.add_column(heading)
    for platform, d in found.differences:
        table.add_row(d.what, d.first, platform, d.second, d.why or "NOT EXPLAINED")
    return table


def _number(n: int | None) -> str:
    return "-" if n is None else f"{n:,}"


def _share(used: int, limit: int) -> str:
    return f"{used / 1024:.1f}/{limit // 1024}" if used else "-"


def kernel_title(file: Path, name: str) -> str:
    """How a kernel of a file is called in a table."""
    return f"{file.name} {name}"
