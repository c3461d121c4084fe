"""Whether a branch or a loop that a run did not go through would have read a tensor: then it is not there for nothing.

A run takes one way. The text has the others: what stands in the body of an `if`, a loop or a launch in which the trace
has no line was not gone through. A body with a line may have been left out in some turns: a tensor made in each turn of
a loop, and read in some, has its reader there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values.values import Buffer

VIEWS = {"slice": 0, "view": 0, "reshape": 0, "transpose": 0, "set_validshape": 0}  # number of what they are part of
TARGETS = {"assemble": 0, "write": 0, "scatter_update": 0, "store": 2}  # number of what they only write, and return
SUBMITS = ("submit", "spmd_submit")
BODIES = (ast.If, ast.For, ast.While, ast.With)


class Untaken:
    """The text of a kernel and the functions that it calls, beside the lines that one run went through."""

    def __init__(self, compiled: Compiled, trace: Trace):
        self.functions: dict[tuple[str, int], Compiled] = {}
        self._collect(compiled)
        self.lines: dict[str, set[int]] = {}
        for place in _places(trace):
            self.lines.setdefault(place.file, set()).add(place.line)

    def reads(self, b: Buffer, sometimes: bool = False) -> bool:
        """Whether a body that was not gone through uses what the kernel allocated as `b` other than to write it.

        Args:
            sometimes: Another tensor that the same line made is read: then `b` was made in a turn that left a body out.
        """
        for c in self.functions.values():
            tree = c.source.tree
            if b.place is not None and c.source.file == b.place.file and _spans(tree, b.place.line):
                return any(self._used(c, n, frozenset(), sometimes) for n in _names(tree, b.place.line))
        return False

    def _collect(self, c: Compiled) -> None:
        key = (c.source.file, c.source.tree.lineno)
        if key not in self.functions:
            self.functions[key] = c
            for callee in c.callees:
                self._collect(callee)

    def _used(self, c: Compiled, name: str, above: frozenset, sometimes: bool) -> bool:
        key = (c.source.file, c.source.tree.lineno, name)
        if key in above:
            return False
        names = _aliases(c.source.tree, name, {f.name for f in c.callees})
        for node, skipped in self._walk(c, c.source.tree.body, False, sometimes):
            called = {f.name: f for f in c.callees}.get(_called(node)) if isinstance(node, ast.Call) else None
            if called is not None:
                for parameter, argument in _bound(called, node):
                    if isinstance(argument, ast.Name) and argument.id in names:
                        if skipped or self._used(called, parameter, above | {key}, sometimes):
                            return True
            elif skipped and isinstance(node, ast.Name) and node.id in names:
                return True
        return False

    def _walk(
        self, c: Compiled, body: list[ast.stmt], skipped: bool, sometimes: bool
    ) -> Iterator[tuple[ast.AST, bool]]:
        """The expressions of a body that are calls, names or subscripts, and whether the run left each out, or, with
        `sometimes`, may have in some turns."""
        for s in body:
            if isinstance(s, BODIES):
                for e in ast.iter_child_nodes(s):
                    if isinstance(e, ast.expr | ast.withitem):
                        yield from ((n, skipped) for n in _uses(e))
                for part in (s.body, getattr(s, "orelse", [])):
                    if part:
                        lines = self.lines.get(c.source.file, set())
                        gone = not any(_within(part, line) for line in lines)
                        gone = gone or (sometimes and not isinstance(s, ast.With))
                        yield from self._walk(c, part, skipped or gone, sometimes)
            else:
                yield from ((n, skipped) for n in _uses(s))


def _places(trace: Trace) -> Iterator[Place]:
    yield from (a.place for a in trace.shapes)
    yield from (n.place for n in trace.notes.values())
    for d in trace.dispatches:
        if d.runs:
            yield d.place
    yield from (m.place for tiles in trace.memory.values() for m in tiles)


def _within(body: list[ast.stmt], line: int) -> bool:
    return body[0].lineno <= line <= (body[-1].end_lineno or body[-1].lineno)


def _spans(node: ast.AST, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _names(tree: ast.FunctionDef, line: int) -> list[str]:
    """The names that the statement of a line binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and _spans(node, line):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return []


def _aliases(tree: ast.FunctionDef, name: str, functions: set[str]) -> set[str]:
    """The names of a function for the same memory, or a part of it."""
    names = {name}
    assigns = [n for n in ast.walk(tree) if isinstance(n, ast.Assign)]
    more = True
    while more:
        more = False
        for s in assigns:
            source = s.value
            if isinstance(source, ast.Call):
                called = _called(source)
                at = {**VIEWS, **TARGETS}.get(called, -1)
                given = source.args if called in functions else source.args[at : at + 1] if at >= 0 else []
            else:
                given = [source.value] if isinstance(source, ast.Subscript) else [source]
            if any(isinstance(g, ast.Name) and g.id in names for g in given):
                found = {n.id for t in s.targets for n in ast.walk(t) if isinstance(n, ast.Name)} - names
                more = more or bool(found)
                names |= found
    return names


def _uses(node: ast.AST) -> Iterator[ast.AST]:
    """The calls, names and subscripts in a statement, an operation before what it is given."""
    written: set[int] = set()
    for n in ast.walk(node):
        if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store):
            written.add(id(n.value))
        elif isinstance(n, ast.Call):
            at = TARGETS.get(_called(n), len(n.args))
            written.update(id(a) for a in n.args[at : at + 1])
        if isinstance(n, ast.Call) or (
            isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and id(n) not in written
        ):
            yield n


def _called(node: ast.Call) -> str:
    """The name of the operation, or of the function, that is called or submitted."""
    names = [n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in (node.func, *node.args[:1])]
    return names[1] if names[0] in SUBMITS and len(names) > 1 else names[0]


def _bound(callee: Compiled, node: ast.Call) -> list[tuple[str, ast.expr]]:
    """(parameter, argument) of a call."""
    names = [p.name for p in callee.parameters]
    given = node.args[1:] if isinstance(node.func, ast.Attribute) and node.func.attr in SUBMITS else node.args
    return [*zip(names, given), *((k.arg, k.value) for k in node.keywords if k.arg)]
