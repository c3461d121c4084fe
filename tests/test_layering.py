"""Imports go one way, as ARCHITECTURE.md says: down, and never back to where they came from."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import networkx as nx
import pytest

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


OWNERS = ("helpers/interpret/facts", "helpers/interpret/checks", "helpers/interpret/lowering")
MACHINE = ("helpers/interpret/machine",)
OF_MACHINE = ("helpers/interpret/machine", "helpers/interpret/ops", "helpers/interpret/values")


def classes(folders: tuple[str, ...]) -> dict[str, ast.ClassDef]:
    """The classes of the folders whose objects own their state."""
    files = [f for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))]
    trees = [ast.parse(f.read_text(encoding="utf-8")) for f in files]
    return {n.name: n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}


def bases(c: ast.ClassDef, known: dict[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """The classes of ours that a class is made of, itself first."""
    named = [name for name in c.bases if ast.unparse(name) in known]
    return [c] + [b for name in named for b in bases(known[ast.unparse(name)], known)]


def owned(c: ast.ClassDef) -> set[str]:
    """The attributes that a class has: what it defines, and what it assigns to itself."""
    fields = {s.target.id for s in c.body if isinstance(s, ast.AnnAssign)}
    defined = {s.name for s in c.body if isinstance(s, ast.FunctionDef)}
    return fields | defined | {n.attr for n in ast.walk(c) if of_self(n) and isinstance(n.ctx, ast.Store)}


def of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def leanings(known: dict[str, ast.ClassDef]) -> list[str]:
    """What classes read of themselves and do not have, as the parts of a mixin do."""
    found = []
    for c in known.values():
        if any(ast.unparse(b) not in known for b in c.bases):
            continue  # a class of the standard library is below it
        have = {a for b in bases(c, known) for a in owned(b)} | {"__class__"}
        found += [f"{c.name}.{n.attr}" for n in ast.walk(c) if of_self(n) and n.attr not in have]
    return found


def foreign(tree: ast.AST) -> list[str]:
    """Assignments to attributes of something else than `self` and nodes of an AST."""
    out = []
    for f in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        typed = [a for a in ast.walk(f.args) if isinstance(a, ast.arg) and a.annotation is not None]
        nodes = {a.arg for a in typed if ast.unparse(a.annotation).startswith("ast.")}
        nodes |= {
            ast.unparse(s.targets[0])
            for s in ast.walk(f)
            if isinstance(s, ast.Assign) and ast.unparse(s.value).startswith(("ast.", "self.visit("))
        }
        for n in ast.walk(f):
            if isinstance(n, ast.Attribute) and isinstance(n.ctx, (ast.Store, ast.Del)):
                root = ast.unparse(n.value)
                if root not in ("self", "cls") and root.split(".")[0] not in nodes:
                    out.append(f"{f.name}: {ast.unparse(n)}")
    return out


@pytest.mark.parametrize("folders", [OWNERS, MACHINE])
def test_a_class_is_made_of_at_most_one_other(folders: tuple[str, ...]):
    known = classes(folders)
    many = {c.name: [ast.unparse(b) for b in c.bases] for c in known.values() if len(c.bases) > 1}
    assert many == {}


@pytest.mark.parametrize("folders", [OWNERS, MACHINE])
def test_a_class_reads_of_itself_what_it_has(folders: tuple[str, ...]):
    assert leanings(classes(folders)) == []


def test_no_class_assigns_the_attributes_of_another():
    files = [f for folder in OWNERS for f in sorted((ROOT / folder).rglob("*.py"))]
    found = {f.name: foreign(ast.parse(f.read_text(encoding="utf-8"))) for f in files}
    assert {name: what for name, what in found.items() if what} == {}


def through_the_machine(tree: ast.AST) -> list[str]:
    """Assignments to what a machine or a part of it has, but for the record of the task that runs."""
    stores = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, (ast.Store, ast.Del))]
    reached = re.compile(r"(self\.)?(m|machine|now)(\.(?!task$)\w+)*")
    return [ast.unparse(n) for n in stores if reached.fullmatch(ast.unparse(n.value))]


def test_a_part_of_the_machine_owns_what_it_assigns():
    files = [f for folder in OF_MACHINE for f in sorted((ROOT / folder).rglob("*.py"))]
    found = {f.name: through_the_machine(ast.parse(f.read_text(encoding="utf-8"))) for f in files}
    assert {name: what for name, what in found.items() if what} == {}


def test_an_assignment_to_a_part_is_seen():
    text = "m.now.dry = True\nself.now.task.total += 1\nself.m.onchip.clock += 1\nself.now.block = 0\nmemory.m = 1\n"
    assert through_the_machine(ast.parse(text)) == ["m.now.dry", "self.m.onchip.clock", "self.now.block"]


def test_mixins_and_foreign_assignments_are_seen():
    text = """
class Part:
    def __init__(self):
        self.own = 1

class Mixin:
    def reads(self):
        return self.elsewhere

class Whole(Part):
    def writes(self, other: Part, node: ast.For):
        self.own = other.own
        node.body = []
        other.own = 2
        self.part.own += 1
"""
    known = {n.name: n for n in ast.parse(text).body}
    assert leanings(known) == ["Mixin.elsewhere", "Whole.part"]
    assert foreign(ast.parse(text)) == ["writes: other.own", "writes: self.part.own"]


def long_files(texts: dict[str, str]) -> dict[str, int]:
    """Modules of more than 500 lines, with how many they have."""
    return {name: text.count("\n") for name, text in texts.items() if text.count("\n") > 500}


def test_a_file_has_at_most_five_hundred_lines():
    """But for `flash_attention`, a ladder that is read from step to step."""
    assert set(long_files(modules())) <= {"kernels.flash_attention"}


def test_a_long_file_is_seen():
    assert long_files({"a": "x\n" * 501, "b": "x\n" * 500}) == {"a": 501}


def same_names(files: list[Path]) -> dict[str, list[str]]:
    """Files of one name in several folders; kernels and golden of a stage, or of a puzzle, share its name."""
    named: dict[str, list[str]] = {}
    for f in files:
        if f.name != "__init__.py":
            named.setdefault(f.name, []).append(str(f.parent))
    return {name: at for name, at in named.items() if len(at) > 1 and not twins(sorted(at))}


def twins(folders: list[str]) -> bool:
    """golden and kernels, or the same folder of both."""
    golden, *kernels = folders
    return golden.startswith("golden") and kernels == [golden.replace("golden", "kernels", 1)]


def test_a_files_name_says_what_is_in_it():
    """So that no two files of different subjects are called the same."""
    files = [ROOT / name.replace(".", "/") for name in modules()]
    found = [f.relative_to(ROOT).with_suffix(".py") for f in files if not f.is_dir()]
    yet = "live numbers task_ids"  # to be renamed
    assert same_names(found).keys() <= {f"{name}.py" for name in yet.split()}


def test_one_name_in_two_folders_is_seen():
    assert same_names([Path("helpers/plots/memory.py"), Path("helpers/memory.py"), Path("golden/memory.py")])
    assert same_names([Path("golden/puzzles/chip/memory.py"), Path("kernels/puzzles/tiles/memory.py")])
    assert not same_names([Path("kernels/mlp.py"), Path("golden/mlp.py"), Path("a/__init__.py"), Path("b/__init__.py")])
    assert not same_names([Path("kernels/puzzles/chip/ring.py"), Path("golden/puzzles/chip/ring.py")])


def carried(texts: dict[str, str]) -> list[str]:
    """Modules whose functions are told things by their surroundings: ContextVars, and globals that functions set."""
    found = []
    for name, text in texts.items():
        tree = ast.parse(text)
        uses = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("ContextVar")]
        found += [f"{name}: ContextVar"] * bool(uses)
        found += [f"{name}: global {', '.join(n.names)}" for n in ast.walk(tree) if isinstance(n, ast.Global)]
    return found


def test_options_are_arguments():
    """No ContextVar, and no global that a function sets, but for torch's own threads while torch is held to one."""
    assert carried(modules()) == ["helpers.interpret.values.products: global _threads"]


def test_an_option_that_is_carried_in_passing_is_seen():
    text = "import contextvars\n_V = contextvars.ContextVar('v')\ndef f():\n    global _threads\n    _threads = 1\n"
    assert carried({"a": text}) == ["a: ContextVar", "a: global _threads"]
