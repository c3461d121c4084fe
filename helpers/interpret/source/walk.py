"""All nodes of a tree, faster than `ast.walk`: most of the time that compiling a kernel takes goes into looking."""

from __future__ import annotations

import ast

NO_NODES = ("ctx", "op", "ops", "type_comment")  # contexts and operators are asked of the node that has them
FIELDS = {
    kind: tuple(f for f in kind._fields if f not in NO_NODES)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


def walk(node: ast.AST) -> list[ast.AST]:
    """A node and all below it, in the order of `ast.walk`; contexts and operators are left out."""
    out = [node]
    for n in out:  # which grows
        for f in FIELDS[type(n)]:
            below = getattr(n, f, None)
            if isinstance(below, ast.AST):
                out.append(below)
            elif isinstance(below, list):
                out += [b for b in below if isinstance(b, ast.AST)]
    return out
