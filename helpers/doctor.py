"""What `workbook doctor` shows: versions, which PyPTO is there, and what each platform lacks."""

from __future__ import annotations

import importlib.metadata
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from helpers import platforms

_SHOWN = ("torch", "jupyterlab")


def show(console: Console) -> None:
    """Print the report. Changes nothing and imports neither torch nor PyPTO."""
    facts = Table.grid(padding=(0, 3))
    facts.add_row("Python", sys.version.split()[0])
    for name in _SHOWN:
        facts.add_row(name, version(name))
    facts.add_row("PyPTO", Text(str(platforms.installed_pypto())))
    facts.add_row("", Text(f"how to install it: {platforms.INSTALL_GUIDE}", overflow="fold"))
    console.print(facts)
    console.print()

    default = platforms.resolve("default")
    table = Table("platform", "works here", "what is missing", box=None, padding=(0, 3, 0, 0))
    for name in platforms.PLATFORMS:
        lacks = platforms.missing(name)
        works = "no" if lacks else "yes, the default" if name == default else "yes"
        table.add_row(name, works, Text(lacks.replace("; ", "\n") if lacks else ""))
    console.print(table)


def version(distribution: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
