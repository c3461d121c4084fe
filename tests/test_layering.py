"""Imports go one way: no module imports, at its top or in a function, one that comes back to it."""

from __future__ import annotations

import ast
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
