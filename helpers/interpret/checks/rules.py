"""What Python a kernel may not contain, and what to write instead.

PyPTO parses a kernel with a small grammar and refuses the rest; each row here was tried on its compiler (see
docs/language.md, "What is refused"). The checks that need to know what a name is - an operation outside an
InCore region, a number on the left of a tensor - are made by `lower`.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator

from helpers.errors import KernelError
from helpers.interpret.facts import spelling
from helpers.interpret.facts.forms import MISSING
from helpers.interpret.facts.function import Subject
from helpers.interpret.ops import NO_CODE, exists
from helpers.interpret.source.source import Source, refuse
from helpers.interpret.source.walk import walk

STATEMENTS: dict[type, tuple[str, str]] = {
    ast.AugAssign: ("augmented assignment is not in the language", "write x = x + y"),
    ast.FunctionDef: (
        "a function defined inside a kernel",
        "define it at module level with @pl.jit.inline and call it",
    ),
    ast.AsyncFunctionDef: ("an async function in a kernel", "define a @pl.jit.inline function at module level"),
    ast.ClassDef: ("a class defined inside a kernel", "define it outside the kernel"),
    ast.Try: ("try/except is not in the language", "remove it: nothing raises on the device"),
    ast.Raise: ("raise is not in the language", "use pl.static_assert for what is known when the kernel is parsed"),
    ast.Assert: ("assert is not in the language", 'use pl.static_assert(condition, "message")'),
    ast.Delete: ("del is not in the language", "remove it: names end with their scope"),
    ast.Global: ("global is not in the language", "pass the value as a parameter"),
    ast.Nonlocal: ("nonlocal is not in the language", "pass the value as a parameter"),
    ast.Import: ("import inside a kernel", "import at the top of the file"),
    ast.ImportFrom: ("import inside a kernel", "import at the top of the file"),
    ast.AsyncFor: ("async for is not in the language", "use for i in pl.range(n)"),
    ast.AsyncWith: ("async with is not in the language", "use with pl.at(...)"),
}

EXPRESSIONS: dict[type, tuple[str, str]] = {
    ast.IfExp: ("a conditional expression is not in the language", "use if/else with pl.yield_, or pl.min / pl.max"),
    ast.ListComp: ("a comprehension is not in the language", "write the elements, or loop with pl.range"),
    ast.SetComp: ("a comprehension is not in the language", "loop with pl.range"),
    ast.DictComp: ("a comprehension is not in the language", "loop with pl.range"),
    ast.GeneratorExp: ("a generator expression is not in the language", "loop with pl.range"),
    ast.Lambda: ("lambda is not in the language", "define a @pl.jit.inline function at module level"),
    ast.NamedExpr: ("the walrus operator is not in the language", "assign on a line of its own"),
    ast.Await: ("await is not in the language", "remove it"),
    ast.Yield: ("yield is not in the language", "use pl.yield_(...)"),
    ast.YieldFrom: ("yield from is not in the language", "use pl.yield_(...)"),
    ast.Set: ("a set is not in the language", "use a list"),
}


def check(source: Source, program: bool = False) -> None:
    """Refuse what no kernel may contain, or what none but those of a `@pl.program` may.

    Raises:
        KernelError: at the first construct that the language does not have.
    """
    args = source.tree.args
    for a in args.posonlyargs:
        raise refuse(source.place(a), f"a positional-only parameter '{a.arg}'", "remove the / after it")
    for a in args.kwonlyargs:
        raise refuse(source.place(a), f"a keyword-only parameter '{a.arg}'", "remove the * before it")
    for name, extra in (("*", args.vararg), ("**", args.kwarg)):
        if extra is not None:
            raise refuse(source.place(extra), f"a {name}{extra.arg} parameter", "name every parameter")
    for statement in source.tree.body:
        lists = {id(n) for n in walk(statement) if isinstance(n, ast.keyword) and n.arg == "deps" for n in [n.value]}
        for node in walk(statement):
            if id(node) not in lists:  # deps=[tids[i] for i in range(n)] is the one comprehension there is
                _check_node(source, node)
            if isinstance(node, ast.While) and not program:
                raise _plain_while(source, node)
    _Scopes(source).block(source.tree.body, {a.arg for a in (*args.posonlyargs, *args.args)})


def check_names(subject: Subject) -> None:
    """Every name below `pl` is one of the language; an enum's members are looked at where they are used."""
    inner = {id(n.value) for n in walk(subject.tree) if isinstance(n, ast.Attribute)}
    for node in walk(subject.tree):
        if not isinstance(node, ast.Attribute) or id(node) in inner or not subject.pl_path(node):
            continue
        chain = [node]
        while isinstance(chain[-1].value, ast.Attribute):
            chain.append(chain[-1].value)
        for part in reversed(chain):
            owner = subject.outside(part.value)
            if not isinstance(owner, types.ModuleType):
                break
            if not hasattr(owner, part.attr):
                raise unknown(subject, part, subject.pl_path(part))


def unknown(subject: Subject, node: ast.expr, path: str) -> KernelError:
    """The error for a name below `pl` that is not there."""
    if path in NO_CODE:
        return subject.refuse(node, f"pl.{path} is a name of pypto.language that PyPTO cannot compile", NO_CODE[path])
    if exists(path):
        return subject.refuse(node, f"pl.{path} is not supported by interpret mode yet")
    owner = subject.outside(node.value) if isinstance(node, ast.Attribute) else MISSING
    members = dir(owner) if owner is not MISSING else ()
    return subject.refuse(node, f"pl.{path} is not a name of pypto.language", spelling.of_language(path, members))


def _check_node(source: Source, node: ast.AST) -> None:
    found = STATEMENTS.get(type(node)) or EXPRESSIONS.get(type(node))
    if found:
        raise refuse(source.place(node), *found)
    if isinstance(node, ast.Slice) and node.step is not None:
        raise refuse(source.place(node.step), "a slice with a step", "slice contiguously; pl.gather picks lanes")
    if isinstance(node, ast.Constant) and node.value is Ellipsis:
        raise refuse(source.place(node), "`...` is not in the language", "write the slices out")
    if isinstance(node, ast.Constant) and isinstance(node.value, (bytes, complex)):
        raise refuse(source.place(node), f"{type(node.value).__name__} are not in the language", "write a number")
    if isinstance(node, ast.Compare) and len(node.ops) > 1:
        raise refuse(source.place(node), "a chained comparison", "write a < b and b < c")
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn, ast.Is, ast.IsNot)):
        raise refuse(source.place(node), "`in` and `is` are not in the language", "compare with == or <")
    if isinstance(node, (ast.For, ast.While)) and node.orelse:
        raise refuse(source.place(node.orelse[0]), "else after a loop", "put the statements after the loop")
    if isinstance(node, ast.Starred):
        raise refuse(source.place(node), "a starred expression", "write the elements out")


def _plain_while(source: Source, node: ast.While) -> KernelError:
    """PyPTO carries round a plain `while` what its body binds again (pass 04), but `@pl.jit`'s specializer, which gives
    names new ones, knows no such loop: it is refused in ConvertToSSA, or compiled into one that never moves on."""
    return refuse(
        source.place(node), "a plain `while`: the compiler loses what its body re-binds",
        "for (k,) in pl.while_(init_values=(0,)): pl.cond(k < n) ... (k,) = pl.yield_(k + 1)",
    )  # fmt: skip


PLACEMENTS = ("spmd", "split_aiv")


class _Scopes:
    """Names and where they may be read. A name first bound in a loop, or in one arm of an if, ends with it
    (PyPTO refuses it after SSA conversion: "used outside its defining scope"), but for those that it promotes. The
    scopes of a with do not count."""

    def __init__(self, source: Source):
        self.source = source
        self.ever: set[str] = {
            n.id for n in walk(source.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }

    def block(self, body: list[ast.stmt], known: set[str]) -> set[str]:
        for s in body[:-1]:
            if _yield_of(s) is not None:
                raise refuse(
                    self.source.place(s),
                    "statements after a pl.yield_: it is the last of its block",
                    "put it at the end",
                )
        for s in body:
            known = self.statement(s, known)
        return known

    def read(self, node: ast.AST | None, known: set[str]) -> None:
        for n in walk(node) if node is not None else ():
            if isinstance(n, ast.comprehension):
                known = known | names_in(n.target)
        for n in walk(node) if node is not None else ():
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id in self.ever and n.id not in known:
                raise refuse(
                    self.source.place(n), f"'{n.id}' is read outside the scope that binds it, or before",
                    f"bind '{n.id}' before the loop or if, or in both arms of the if",
                )  # fmt: skip

    def statement(self, s: ast.stmt, known: set[str]) -> set[str]:
        if isinstance(s, ast.If):
            self.read(s.test, known)
            arms = [self.block(s.body, set(known)), self.block(s.orelse, set(known))]
            handed = self._handed_on(s, known)
            return known | (arms[0] & arms[1] if handed is None else handed)
        if isinstance(s, ast.For):
            self.read(s.iter, known)
            inner = self.block(s.body, known | names_in(s.target))
            if _is_placement(s.iter):
                return known | (inner - names_in(s.target))
            s.promoted = promoted(s.body, known)
            return known | self._carried_on(s, known) | set(s.promoted)
        if isinstance(s, ast.While):
            self.read(s.test, known)
            self.block(s.body, set(known))
            s.promoted = promoted(s.body, known)
            return known | set(s.promoted)
        if isinstance(s, ast.With):
            for item in s.items:
                self.read(item.context_expr, known)
                known = known | names_in(item.optional_vars)
            inside = self.block(s.body, set(known))  # what a loop in it promotes ends with it
            return inside - (set().union(*(n.promoted for n in walk(s) if hasattr(n, "promoted"))) - known)
        if isinstance(s, (ast.Assign, ast.AnnAssign)):
            self.read(s.value, known)
            for t in s.targets if isinstance(s, ast.Assign) else [s.target]:
                if isinstance(t, ast.Subscript):
                    self.read(t, known)
                known = known | names_in(t)
            return known
        self.read(s, known)
        return known

    def _handed_on(self, s: ast.If, known: set[str]) -> set[str] | None:
        """The names that the arms of an if hand on with pl.yield_, and nothing else is known after it; None: none does.

        PyPTO gives such an if these results and no more: each arm has them, and binds nothing again that is bound
        before (src/ir/transforms/convert_to_ssa_pass.cpp and the verifiers of its form).
        """
        ends = [_end(arm) for arm in (s.body, s.orelse)]
        named = [end for end in ends if isinstance(end, (ast.Assign, ast.AnnAssign))]
        if not named:
            return None
        handed, text = names_bound(named[0]), _targets(named[0])
        for end, arm in zip(ends, (s.body, s.orelse)):
            if end is None:
                raise refuse(
                    self.source.place(named[0]), "an if of which one arm hands values on with pl.yield_",
                    f"end the other one likewise: {text} = pl.yield_(...)",
                )  # fmt: skip
            again = next(((n, x) for x in _bindings(arm) for n in _bound(x) & known - handed), None)
            if again is not None:
                raise refuse(
                    self.source.place(again[1]),
                    f"'{again[0]}' is bound again in an if that hands values on with pl.yield_",
                    f"hand it on as well, from both arms: {text}, {again[0]} = pl.yield_(..., {again[0]})",
                )  # fmt: skip
        counts = [len(_yield_of(end).args) for end in ends]
        if counts[0] != counts[1]:
            raise refuse(
                self.source.place(ends[1]), f"pl.yield_ of {counts[1]} values, in the other arm of {counts[0]}",
                "hand on as many in both",
            )  # fmt: skip
        if len(named) == 1 or _targets(named[1]) != text:  # PyPTO goes by their order, whatever they are called
            raise refuse(
                self.source.place(ends[1]), "the arms of an if hand values on with pl.yield_ to other names",
                f"{text} = pl.yield_(...) in both",
            )  # fmt: skip
        return handed

    def _carried_on(self, s: ast.For, known: set[str]) -> set[str]:
        """The names that a loop hands on: those of one with init_values."""
        end = _end(s.body)
        if end is None:
            return set()
        called = s.iter if isinstance(s.iter, ast.Call) else None
        if called is None or any(k.arg == "init_values" for k in called.keywords):
            return names_bound(end)
        unrolled = isinstance(called.func, ast.Attribute) and called.func.attr == "unroll"
        again = sorted(set().union(*(_bound(x) for x in _bindings(s.body))) & known)
        if again and not unrolled:
            raise refuse(
                self.source.place(end), "pl.yield_ in a loop without init_values, which carries other names",
                f"for i, ({again[0]}_,) in pl.range(n, init_values=({again[0]},)), or leave it out",
            )  # fmt: skip
        return set()


def _yield_of(s: ast.stmt | None) -> ast.Call | None:
    """The pl.yield_(...) that is all of a statement, or is bound by it."""
    call = s.value if isinstance(s, (ast.Assign, ast.AnnAssign, ast.Expr)) else None
    found = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "yield_"
    return call if found else None


def _targets(s: ast.Assign | ast.AnnAssign) -> str:
    """What a pl.yield_ is bound to, as it is written; `(x,)` is `x`."""
    target = s.targets[0] if isinstance(s, ast.Assign) else s.target
    return ", ".join(map(ast.unparse, target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]))


def _end(body: list[ast.stmt]) -> ast.stmt | None:
    """The pl.yield_ that a block ends with, in a region at its end too."""
    last = body[-1] if body else None
    if isinstance(last, ast.With):
        return _end(last.body)
    return last if _yield_of(last) is not None else None


def handed_on(body: list[ast.stmt]) -> list[ast.expr]:
    """What a block hands on at its end with a pl.yield_ that binds names."""
    end = _end(body)
    return [] if end is None or isinstance(end, ast.Expr) else _yield_of(end).args


def _bindings(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The assignments in a block, at any depth."""
    return (n for s in body for n in walk(s) if isinstance(n, (ast.Assign, ast.AnnAssign)))


def _bound(s: ast.Assign | ast.AnnAssign) -> set[str]:
    """The names that an assignment binds, that of a tensor whose window it writes among them."""
    out = set()
    for t in s.targets if isinstance(s, ast.Assign) else [s.target]:
        for n in walk(t):
            root = n
            while isinstance(root, ast.Subscript) and isinstance(root.ctx, ast.Store):
                root = root.value
            if isinstance(root, ast.Name) and (root is not n or isinstance(root.ctx, ast.Store)):
                out.add(root.id)
    return out


STORES = ("store", "mscatter")


def promoted(body: list[ast.stmt], known: set[str]) -> dict[str, str]:
    """Names first bound in a loop, that may be read after it: with no turn they are the tensors that they map to.

    PyPTO carries such a name round the loop where it finds something of its type to begin with, and a store has the
    very type of the tensor that it goes into (docs/en/dev/passes/04-convert_to_ssa.md, "Loop-Escaping Variable";
    FindInitValue in src/ir/transforms/convert_to_ssa_pass.cpp). Of anything else it finds nothing, and refuses it.
    """
    bound: dict[str, list[str | None]] = {}
    for s in (n for b in body for n in _statements(b)):
        for t in s.targets if isinstance(s, ast.Assign) else [s.target] if isinstance(s, ast.AnnAssign) else []:
            for name in names_in(t) - known:
                bound.setdefault(name, []).append(_stored_to(s.value) if isinstance(t, ast.Name) else None)
    inside = {n for b in body for w in walk(b) if isinstance(w, ast.With) for c in w.body for n in names_bound(c)}
    found = {n: set(targets) for n, targets in bound.items() if n not in inside}
    return {n: next(iter(targets)) for n, targets in found.items() if len(targets) == 1 and targets <= known}


def names_bound(s: ast.stmt) -> set[str]:
    """Names that anything in a statement binds."""
    return {n.id for n in walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _statements(s: ast.stmt) -> Iterator[ast.stmt]:
    return (n for n in walk(s) if isinstance(n, ast.stmt))


def _stored_to(value: ast.expr | None) -> str | None:
    """`out` for `pl.store(tile, [...], out)`."""
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute) or value.func.attr not in STORES:
        return None
    named = {k.arg: k.value for k in value.keywords}
    target = value.args[2] if len(value.args) > 2 else named.get("output_tensor")
    return target.id if isinstance(target, ast.Name) else None


def names_in(target: ast.AST | None) -> set[str]:
    """Names that a target binds."""
    return {n.id for n in walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} if target else set()


def _is_placement(node: ast.expr) -> bool:
    """True for the loops that only place their body: pl.spmd and pl.split_aiv."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PLACEMENTS


def yields(body: list[ast.stmt]) -> bool:
    """True when a block hands values on with pl.yield_."""
    calls = [s.value for s in body if isinstance(s, (ast.Assign, ast.AnnAssign, ast.Expr))]
    return any(isinstance(c, ast.Call) and isinstance(c.func, ast.Attribute) and c.func.attr == "yield_" for c in calls)
