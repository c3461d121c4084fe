"""What the text of a kernel, of a golden or of a script shows without running it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

from helpers.errors import InputError, KernelError
from helpers.interpret.source.source import Place, Source, of
from helpers.interpret.source.texts import read
from helpers.sanitize.rules.findings import HINT, WARNING, Finding

LOOPS = ("range", "parallel", "pipeline", "unroll", "spmd")
LOADS = ("slice", "load")
DUMPS = ("dump_passes", "dump_ptoas_passes", "enable_dump_args")

# Operations that are written for what they do, not for what they return.
EFFECTS = ("assemble", "store", "write", "scatter", "read", "submit", "spmd_submit", "prefetch", "cacheinvalid")


def kernel(source: Source) -> list[Finding]:
    """Findings in the parsed source of a kernel or of a function it calls."""
    return [*_loop_variables(source), *_unused_values(source), *_peeled(source)]


def golden(fn: Callable) -> list[Finding]:
    """Parameters of a golden that it does not use."""
    try:
        source = of(fn)
    except KernelError:
        return []
    return _unused_parameters(source.tree, source.place)


def script(file: Path) -> list[Finding]:
    """Debugging options that a script leaves on, and parameters that its functions do not use."""
    out = []
    tree, place = _script(file)
    for node in ast.walk(tree):
        for name, value in _options(node):
            if name in DUMPS and isinstance(value, ast.Constant) and value.value is True:
                out.append(
                    Finding(
                        "debug-option", WARNING, f"{name} is on: every pass of the compiler writes its state out",
                        place(value),
                        fix=f"leave {name} off by default, and let a command-line option turn it on",
                    )
                )  # fmt: skip
        if isinstance(node, ast.FunctionDef) and "golden" in node.name:
            out += (f for f in _unused_parameters(node, place) if f not in out)
    return out


def tolerance(file: Path) -> Place | None:
    """Where a script gives rtol= or atol= to a run."""
    tree, place = _script(file)
    spots = [k for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords if k.arg in ("rtol", "atol")]
    return place(spots[0].value) if spots else None


def _script(file: Path) -> tuple[ast.Module, Callable[[ast.AST], Place]]:
    """A script as a tree, and what tells the place of a node in it.

    Raises:
        InputError: it is no Python.
    """
    text = read(str(file))
    try:
        tree = ast.parse("".join(text.lines) if text else "", str(file))
    except (SyntaxError, ValueError) as e:
        raise InputError(f"{file} is no Python: {e}") from None
    return tree, lambda node: Place(str(file), node.lineno, node.col_offset + 1, text)


def _options(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Call):
        yield from ((k.arg, k.value) for k in node.keywords if k.arg)
    elif isinstance(node, ast.Dict):
        yield from ((k.value, v) for k, v in zip(node.keys, node.values) if isinstance(k, ast.Constant))
    elif isinstance(node, ast.FunctionDef):
        given = node.args.args[len(node.args.args) - len(node.args.defaults) :]
        yield from ((a.arg, d) for a, d in zip(given, node.args.defaults))
        yield from ((a.arg, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults) if d is not None)


def _unused_parameters(tree: ast.FunctionDef, place: Callable[[ast.AST], Place]) -> list[Finding]:
    """Of a function and of those inside it, but not of one that is handed on: its caller decides what it takes."""
    nested = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n is not tree]
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    handed_on = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}
    return [
        Finding(
            "unused-name", HINT, f"'{f.name}' takes '{a.arg}' and does not use it",
            place(a),
            fix="use it, or take it away: a caller who changes it believes that something changes",
        )
        for f in (tree, *(f for f in nested if f.name not in handed_on))
        for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)
        if a.arg not in _loaded(f.body) and not a.arg.startswith("_") and a.arg not in ("self", "cls")
    ]  # fmt: skip


def _loaded(body: list[ast.stmt]) -> set[str]:
    return {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _loop_variables(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.For) and _called(node.iter) in LOOPS and isinstance(node.target, ast.Name)):
            continue
        name = node.target.id
        if not name.startswith("_") and name not in _loaded(node.body):
            yield Finding(
                "unused-name", HINT, f"nothing in the loop uses '{name}': every turn does the same",
                source.place(node.target),
                fix="use it, call it _, or drop the loop",
            )  # fmt: skip


def _unused_values(source: Source) -> Iterator[Finding]:
    used = _loaded(source.tree.body)
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            continue
        name = node.targets[0].id
        op = _called(node.value)
        if op and op not in EFFECTS and name not in used and not name.startswith("_") and _is_pl(node.value):
            yield Finding(
                "unread-result", WARNING, f"'{name}' is computed (pl.{op}) and nothing reads it",
                source.place(node), fix="remove it, or use it",
            )  # fmt: skip


def rebound(source: Source, output: str) -> Place | None:
    """The last place where a kernel that stores nothing to an output binds its name to something else."""
    found = None
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [output]:
            found = found if _may_store(node.value, output) else source.place(node)
    return found


def _may_store(value: ast.expr, output: str) -> bool:
    """True for a store to `output`, and for a call of a function of one's own, which may be given it."""
    if not isinstance(value, ast.Call) or not _is_pl(value):
        return isinstance(value, ast.Call)
    op = _called(value)
    return op in EFFECTS and (op != "assemble" or not value.args or ast.unparse(value.args[0]) == output)


def _peeled(source: Source) -> Iterator[Finding]:
    for block in _blocks(source.tree):
        for i, node in enumerate(block):
            if not (isinstance(node, ast.For) and _called(node.iter) == "pipeline" and len(node.iter.args) > 1):
                continue
            start = node.iter.args[0]
            if not (isinstance(start, ast.Constant) and start.value == 1):
                continue
            inside = _loads(node.body)
            before = {name: n for s in block[:i] for name, n in _loads([s]).items()}
            both = [before[name] for name in before if name in inside]
            if both:
                yield Finding(
                    "peeled-pipeline", HINT,
                    "this load belongs to turn 0 of the pl.pipeline below: written before it, it overlaps with nothing",
                    source.place(both[0]),
                    source.place(node), "the pipeline",
                    fix="begin the loop at 0, with `if k == 0:` around what differs",
                )  # fmt: skip


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for attr in ("body", "orelse"):
            found = getattr(node, attr, None)
            if isinstance(found, list):
                yield found


def _loads(body: list[ast.stmt]) -> dict[str, ast.AST]:
    """Tensors that are sliced or loaded, by name, with the call."""
    out: dict[str, ast.AST] = {}
    for s in body:
        for n in ast.walk(s):
            if isinstance(n, ast.Call) and _called(n) in LOADS and n.args and isinstance(n.args[0], ast.Name):
                out.setdefault(n.args[0].id, n)
            elif isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Load) and isinstance(n.value, ast.Name):
                if isinstance(n.slice, ast.Tuple) and any(isinstance(e, ast.Slice) for e in n.slice.elts):
                    out.setdefault(n.value.id, n)
    return out


def _called(node: ast.AST) -> str:
    """`range` for pl.range(...); "" for anything but a call of an attribute."""
    return node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""


def _is_pl(node: ast.AST) -> bool:
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id == "pl"
