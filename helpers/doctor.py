"""What `workbook doctor` shows: versions, which PyPTO and which of its tools are there, what each platform lacks."""

from __future__ import annotations

import importlib.metadata
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from helpers import platforms
from helpers.toolchain.cache import cache_folder

_SHOWN = ("torch", "jupyterlab")


def show(console: Console) -> None:
    """Print the report. Changes nothing and imports neither torch nor PyPTO."""
    facts = Table.grid(padding=(0, 3))
    facts.add_row("Python", sys.version.split()[0])
    for name in _SHOWN:
        facts.add_row(name, version(name))
    facts.add_row("PyPTO", Text(str(platforms.installed_pypto())))
    facts.add_row("", Text(f"how to install it: {platforms.INSTALL_GUIDE}", overflow="fold"))
    for part, found in platforms.parts().items():
        facts.add_row(part, Text(found or "none"))
    facts.add_row("compiled kernels", Text(f"kept in {cache_folder()}", overflow="fold"))
    console.print(facts)
    console.print()

    default = platforms.resolve("default")
    table = Table("platform", "works here", "compiles", "what is missing", box=None, padding=(0, 3, 0, 0))
    compiles = "no" if platforms.missing_compiler() else "yes"
    for name in platforms.PLATFORMS:
        lacks = platforms.missing(name)
        works = "no" if lacks else "yes, the default" if name == default else "yes"
        interpreted = name.endswith("interp")
        table.add_row(name, works, "-" if interpreted else compiles, Text(lacks.replace("; ", "\n") if lacks else ""))
    console.print(table)


def version(distribution: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
