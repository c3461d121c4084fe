"""Where a kernel returns. PyPTO takes a `return` for the list of its results, not for a jump.

One before the end is taken and does nothing: what follows runs (tried on PyPTO, whose generated orchestration goes
on after it). And where a function has none, PyPTO's outliner takes the names of its last region for results, which
fails in what is no straight line of vector work ("ForStmt iter_args at index 0 is not an IterArg", "cannot
materialize symbol", "return type 0 should be TensorType").
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from helpers.interpret.facts.function import Subject
from helpers.interpret.facts.infer import Facts
from helpers.interpret.ops import CUBE
from helpers.interpret.source.walk import walk

Path = Callable[[ast.expr], str | None]

# Operations that a region without a return after it cannot have: the outliner hands on what they make.
HANDED_ON = CUBE | {"load", "store", "create_tile"}


def check(subject: Subject) -> None:
    """A return stands at the end: once in an inline function, which is put in the caller's place.

    Raises:
        KernelError: there is one elsewhere, or none where the compiler needs one.
    """
    tree, refuse = subject.tree, subject.refuse
    for n in jumps(tree):
        raise refuse(
            n, "a return before the end: PyPTO takes it for no jump, and what follows would run",
            "return once, at the end, in line with the first statement" if ends(tree, n) else "return once, at the end",
        )  # fmt: skip
    for n in walk(tree) if subject.kind == "inline" else ():
        if isinstance(n, ast.Return) and n is not tree.body[-1]:
            raise refuse(n, "a return in an arm of an inline function", "return once, at its end")
    outputs = [p.name for p in subject.parameters if p.type.direction != "In"]
    if subject.kind == "incore" and subject.program is None and outputs and not has_return(tree):
        raise refuse(tree, f"'{tree.name}' returns nothing", f"return {outputs[0]} at its end")
    numbers = {p.name for p in subject.parameters if p.type.kind == "scalar"}
    stuck = unfinished(tree, subject.pl_path, numbers) if subject.entry else None
    if stuck is not None:
        wanted = outputs[0] if outputs else "a tensor"
        raise refuse(
            stuck, f"'{tree.name}' ends without a return: PyPTO takes the names of its last region for results, and"
            " then compiles no loop, if, load, store or product in it", f"return {wanted} at the end",
        )  # fmt: skip


def jumps(tree: ast.FunctionDef) -> Iterator[ast.Return]:
    """The returns that are not at the function's end."""
    last = set(map(id, _last(tree.body, arms=True)))
    for n in walk(tree):
        if isinstance(n, ast.Return) and id(n) not in last:
            yield n


def ends(tree: ast.FunctionDef, node: ast.Return) -> bool:
    """True for a return that no statement comes after in the text: it is in a loop or an if by its indent."""
    return node.end_lineno == tree.body[-1].end_lineno


def _last(body: list[ast.stmt], arms: bool) -> Iterator[ast.stmt]:
    """What ends this: of a `with` its last statement; of an if, outside regions, that of each arm."""
    s = body[-1] if body else None
    if isinstance(s, ast.With):
        yield from _last(s.body, arms=False)
    elif isinstance(s, ast.If) and arms:
        yield from _last(s.body, arms)
        yield from _last(s.orelse, arms)
    elif s is not None:
        yield s


def has_return(tree: ast.FunctionDef) -> bool:
    """True for a function with a return anywhere."""
    return any(isinstance(n, ast.Return) for n in walk(tree))


def gives(tree: ast.FunctionDef) -> bool:
    """True for a function that returns a value."""
    return any(isinstance(n, ast.Return) and n.value is not None for n in walk(tree))


def check_result(facts: Facts, s: ast.Return) -> None:
    """A tile that an InCore function of a program returns is stored to a tensor, which its `->` names.

    Source: TransformIncoreFunction in src/ir/transforms/convert_tensor_to_tile_ops_pass.cpp, which takes the type from
    there; a `@pl.jit.incore` function has one in any case.

    Raises:
        KernelError: it names a tile there, or nothing.
    """
    subject = facts.subject
    tree, values = subject.tree, s.value.elts if isinstance(s.value, ast.Tuple) else [s.value]
    if subject.function != "InCore":
        return
    for value, wanted in zip(values, _declared(tree.returns, len(values), subject.pl_path)):
        if value is not None and wanted in ("", "Tile") and facts.level(value) == "tile":
            raise subject.refuse(
                value, f"'{tree.name}' returns the tile `{ast.unparse(value)}`, and its `->` names"
                f" {'a tile' if wanted else 'nothing'}: a tile ends with its task",
                "-> pl.Tensor[[64, 64], pl.FP32], then it is stored to a new tensor; or pl.store it to a pl.Out",
            )  # fmt: skip


def _declared(node: ast.expr | None, n: int, path: Path) -> list[str | None]:
    """Of `n` results what the `->` calls each: "Tile", "Tensor"; "" where there is none, None where it is not known."""
    if node is None:
        return [""] * n
    inner = node.slice if isinstance(node, ast.Subscript) else node
    several = n > 1 and isinstance(inner, ast.Tuple) and len(inner.elts) == n
    parts = inner.elts if several else [node] if n == 1 else []
    heads = [path(e.value if isinstance(e, ast.Subscript) else e) for e in parts]
    return heads or [None] * n


def returned_parameters(tree: ast.FunctionDef, names: list[str]) -> list[int | None]:
    """For each value that a kernel returns, the number of the parameter that it is written to; None for another.

    Where a launch is skipped these are its results: the tensors passed, as they were.
    """
    made: dict[str, str] = {}  # name -> the name of the tensor that it is another state of
    for s in walk(tree):
        target = s.targets[0] if isinstance(s, ast.Assign) else s.target if isinstance(s, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id not in names and _written(s.value) is not None:
            made[target.id] = _written(s.value)
    last = next((s.value for s in reversed(tree.body) if isinstance(s, ast.Return)), None)
    values = last.elts if isinstance(last, ast.Tuple) else [] if last is None else [last]
    return [_origin(name, made, names) if (name := _written(v)) is not None else None for v in values]


def _written(value: ast.expr | None) -> str | None:
    """The tensor of which a value is another state: `out` for `out` itself and for what is stored to it."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        place = {"store": 2, "assemble": 0}.get(value.func.attr, len(value.args))
        given = value.args[place : place + 1] + [k.value for k in value.keywords if k.arg == "output_tensor"]
        value = given[0] if given else None
    return value.id if isinstance(value, ast.Name) else None


def _origin(name: str, made: dict[str, str], names: list[str]) -> int | None:
    seen = set()
    while name not in names and name in made and name not in seen:
        seen.add(name)
        name = made[name]
    return names.index(name) if name in names else None


def unfinished(tree: ast.FunctionDef, path: Path, numbers: set[str]) -> ast.stmt | None:
    """The statement that is in the way of an entry that returns no tensor (`numbers` are its scalar parameters): of the
    region that it ends with."""
    returned = [n.value for n in walk(tree) if isinstance(n, ast.Return) and n.value is not None]
    if any(not (isinstance(value, ast.Name) and value.id in numbers) for value in returned):
        return None
    body = [s for s in tree.body if not isinstance(s, ast.Return) and not _is_number(s)]
    return _of_last_region(body, path)


def _is_number(s: ast.stmt) -> bool:
    return isinstance(s, ast.Assign) and not any(isinstance(n, ast.Call) for n in walk(s.value))


def _of_last_region(body: list[ast.stmt], path: Path) -> ast.stmt | None:
    s = body[-1] if body else None
    if isinstance(s, ast.If):
        return _of_last_region(s.body, path) or _of_last_region(s.orelse, path)
    if not isinstance(s, ast.With) or not isinstance(s.items[0].context_expr, ast.Call):
        return None
    return _not_straight(s.body, path) if path(s.items[0].context_expr.func) == "at" else None


def _not_straight(body: list[ast.stmt], path: Path) -> ast.stmt | None:
    for s in body:
        unrolled = isinstance(s, ast.For) and isinstance(s.iter, ast.Call) and path(s.iter.func) == "unroll"
        inner = _not_straight(s.body, path) if unrolled else None
        if inner is not None:
            return inner
        if isinstance(s, (ast.For, ast.If)) and not unrolled:
            return s
        calls = [(path(n.func) or "").rpartition(".")[-1] for n in walk(s) if isinstance(n, ast.Call)]
        if HANDED_ON & set(calls) or any(map(_is_row, walk(s))):
            return s
    return None


def _is_row(node: ast.AST) -> bool:
    """`x[3, :]`: a window of one axis."""
    at = node.slice.elts if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) else []
    return len({isinstance(i, ast.Slice) for i in at}) == 2
