"""Imports go one way, as ARCHITECTURE.md says: down, and never back to where they came from."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
ROOMS = ("helpers", "golden", "kernels", "bench")
DATA = "helpers/live/template"  # files of a stage that is yet to be made


def modules() -> dict[str, str]:
    """The text of every module by its name."""
    files = [f for room in ROOMS for f in sorted((ROOT / room).rglob("*.py")) if not f.is_relative_to(ROOT / DATA)]
    named = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}
    return {name: f.read_text(encoding="utf-8") for name, f in named.items()}


def imported(text: str) -> set[str]:
    """What a module imports wherever it does so, but for what only a type checker imports."""
    tree = ast.parse(text)
    typing = {
        id(n)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for s in guard.body
        for n in ast.walk(s)
    }
    out: set[str] = set()
    for n in ast.walk(tree):
        if id(n) in typing:
            continue
        if isinstance(n, ast.Import):
            out |= {a.name for a in n.names}
        elif isinstance(n, ast.ImportFrom):
            assert n.level == 0, "imports are absolute"
            out |= {f"{n.module}.{a.name}" for a in n.names}
    return out


def graph(texts: dict[str, str]) -> nx.DiGraph:
    """An edge from each module to those that it imports."""
    g = nx.DiGraph()
    g.add_nodes_from(texts)
    for name, text in texts.items():
        for found in imported(text):
            while found and found not in texts:
                found = found.rpartition(".")[0]
            if found and found != name:
                g.add_edge(name, found)
    return g


def circles(texts: dict[str, str]) -> list[list[str]]:
    g = graph(texts)
    return [[a for a, _ in nx.find_cycle(g.subgraph(c))] for c in nx.strongly_connected_components(g) if len(c) > 1]


def test_no_module_imports_itself_by_way_of_others():
    assert circles(modules()) == []


def test_a_circle_is_seen_wherever_it_is():
    """One import of it is in a function, one names a module in its package."""
    texts = {
        "helpers.a": "from helpers import b\n",
        "helpers.b": "def f():\n    from helpers.c import x\n",
        "helpers.c": "import helpers.a.inside\n",
        "helpers.d": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import helpers.e\n",
        "helpers.e": "import helpers.d\n",
    }
    (found,) = circles(texts)
    assert sorted(found) == ["helpers.a", "helpers.b", "helpers.c"]


def rooms() -> list[list[str]]:
    """The rows of ARCHITECTURE.md's table, from the bottom of the house to its top: patterns of modules' names."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("| room |") :].split("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table]


def floor(module: str, rows: list[list[str]]) -> int:
    """The row of the longest name in the table that is the module's, or that of a package around it."""
    found = {p.removesuffix(".*"): n for n, row in enumerate(rows) for p in row if not p.endswith(".*")}
    inside = {p.removesuffix(".*"): n for n, row in enumerate(rows) for p in row if p.endswith(".*")}
    name = module
    while name not in found:
        name = name.rpartition(".")[0]
        assert name, f"{module} is in no room of ARCHITECTURE.md"
        if name in inside and module != name:
            return inside[name]
    return found[name]


def test_imports_go_down():
    texts, rows = modules(), rooms()
    up = [f"{a} imports {b}" for a, b in graph(texts).edges if floor(a, rows) < floor(b, rows)]
    assert up == []


def test_every_room_has_somebody_in_it():
    names = set(modules())
    for pattern in (p for row in rooms() for p in row):
        assert pattern in names or any(n.startswith(pattern.removesuffix("*")) for n in names), pattern


def test_a_folder_has_at_most_fifteen_files():
    full = {}
    for folder in {f.parent for f in (ROOT / "helpers").rglob("*.py")}:
        full[str(folder.relative_to(ROOT))] = sum(f.suffix == ".py" for f in folder.iterdir())
    assert {f: n for f, n in full.items() if n > 15} == {}
