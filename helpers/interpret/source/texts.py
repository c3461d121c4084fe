"""The text of kernels, bound when they are decorated: a file that is edited later changes no kernel that is there.

`bind` is called by the decorator. It keeps the whole file as it then is, and it finds the function in it by its code:
the text that is kept compiles to what Python has loaded. So a kernel that is decorated late, by a function of a file
that has been edited since, is found where it now stands, or refused. `of` gives what was bound. PyPTO's own decorator
binds nothing, so its kernels are bound when they are first used.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import importlib
import linecache
import os
import re
import sys
import sysconfig
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType, ModuleType
from typing import Any
from weakref import WeakValueDictionary

from helpers.errors import KernelError, shown
from helpers.interpret.source.walk import walk

_BOUND = "__kernel_text__"  # the attribute of a function that holds its Bound
_EXECUTED = "__executed_text__"  # the name in a namespace of the FileText that was executed in it
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Span:
    """A function in a file: its lines from 1, the first being that of its first decorator."""

    name: str
    first: int
    line: int
    column: int
    last: int
    plain: bool  # a `def`


class FileText:
    """A file, or the cell of a notebook, as it was at one moment. Equal texts of one file are one object."""

    def __init__(self, file: str, lines: tuple[str, ...], stamp: tuple | None):
        self.file, self.lines = file, lines
        self.path = os.path.abspath(file)  # the working directory may change
        self._stamp = stamp  # of the file when it was last seen to hold this text; None for what is no file

    def __reduce__(self) -> tuple:
        return _text, (self.file, self.lines, self._stamp)

    def line(self, number: int) -> str:
        """One line without its end, counted from 1; "" where there is none."""
        return self.lines[number - 1].rstrip("\n") if 0 < number <= len(self.lines) else ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256("".join(self.lines).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def gone(self) -> bool:
        """True when it was a file, and there is none now."""
        return self._stamp is not None and _stamp(self.path) is None

    def changed(self) -> bool:
        """True when the file has another text now, or is gone."""
        if self._stamp is None:
            return False
        now = _stamp(self.path)
        if now == self._stamp:
            return False
        if _lines(self.path) != self.lines:
            return True
        self._stamp = now
        return False

    @cached_property
    def _parsed(self) -> tuple[list[Span], list[tuple[str, int]], list[tuple[CodeType, CodeType | None]]]:
        """Its functions, the modules it imports (name, level), and its code objects, each with the one around it.

        Raises:
            SyntaxError: it is no Python.
        """
        tree = ast.parse("".join(self.lines), self.file)
        nodes = walk(tree)
        spans = [_span(n) for n in nodes if isinstance(n, _FUNCTIONS)]
        names = [found for n in nodes for found in _import(n)]
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # of notebooks
        codes: list[tuple[CodeType, CodeType | None]] = [
            (compile(tree, self.file, "exec", flags, dont_inherit=True), None)
        ]
        for code, _ in codes:
            codes += [(c, code) for c in code.co_consts if isinstance(c, CodeType)]
        return spans, names, codes

    @property
    def imports(self) -> list[tuple[str, int]]:
        """(module, level) of every import in it; [] if it is no Python."""
        try:
            return self._parsed[1]
        except (SyntaxError, ValueError):
            return []

    def find(self, code: CodeType, around: CodeType | None) -> Span | None:
        """The function in this text that compiles to `code`, in a function that compiles to `around`; None: none does,
        or several do and none of them at its line.

        Raises:
            SyntaxError: it is no Python.
        """
        spans, _, codes = self._parsed
        same = [c for c, parent in codes if _alike(c, code) and (around is None or (parent and _alike(parent, around)))]
        there = [c for c in same if c.co_firstlineno == code.co_firstlineno]
        moved = [c for c in same if c.co_qualname == code.co_qualname]
        chosen = there[:1] or (moved if len(moved) == 1 else [])
        return next((s for c in chosen for s in spans if (s.name, s.first) == (c.co_name, c.co_firstlineno)), None)


@dataclass(frozen=True, eq=False)
class Bound:
    """The text of one function, and what its names meant, when it was bound.

    Attributes:
        text: The file; None where there is no text, and `why` says why.
        span: Where in it the function stands.
        others: The files of the modules that it imports, and that these import.
        seen: The values that the names in it had, where its module can be loaded again.
    """

    function: Callable = field(repr=False)
    text: FileText | None = None
    span: Span | None = None
    why: str = ""
    others: tuple[FileText, ...] = ()
    seen: Mapping[str, Any] = field(default_factory=dict, repr=False)
    spec: Any = field(default=None, repr=False)

    @property
    def lines(self) -> tuple[str, ...]:
        """Its lines, decorators included, with their ends."""
        return self.text.lines[self.span.first - 1 : self.span.last]

    @property
    def reloaded(self) -> bool:
        """True when its module has been loaded again since, or this part of it: the names in it may mean something else
        now."""
        if self.spec is None:
            return False
        module = self.function.__globals__
        now = getattr(module.get(self.function.__name__), _BOUND, None)
        other = isinstance(now, Bound) and now.text is not None and now.text is not self.text
        return other or module.get("__spec__") is not self.spec

    def names(self) -> dict[str, Any]:
        """The names of its module and their values: now, or, once that is loaded again, as they were.

        Raises:
            KernelError: it is loaded again, and what one of the names was cannot be known.
        """
        fn = self.function
        if not self.reloaded:
            return dict(fn.__globals__)
        unknown = sorted(n for n in _read(fn.__code__) if n in fn.__globals__ and n not in self.seen)
        if unknown and self.text is not None and self.text.changed():
            raise KernelError(
                f"kernel '{fn.__name__}' is of {self.text.file} as it was before its module was loaded again, and what "
                f"{', '.join(unknown)} was then is not known. Take the kernel from the module again: "
                f"{fn.__module__}.{fn.__qualname__}"
            )
        return {**fn.__globals__, **self.seen}


def bind(fn: Callable) -> Bound:
    """Bind a function to its text as it is now; `of` gives this from then on. Raises nothing."""
    around = _around(fn.__code__)
    bound = _bind(fn, around)
    setattr(fn, _BOUND, bound)
    return bound


def of(fn: Callable) -> Bound:
    """What a function is bound to; one that is not is bound now.

    Raises:
        KernelError: there is no text, or none that is this function's.
    """
    bound = fn.__dict__.get(_BOUND) if isinstance(getattr(fn, "__dict__", None), dict) else None
    if not isinstance(bound, Bound) or bound.function is not fn:
        if not hasattr(fn, "__code__"):
            raise KernelError(f"{fn!r} is no Python function: a kernel is a `def` in a file or a notebook cell")
        bound = bind(fn)
    if bound.text is None:
        raise KernelError(bound.why)
    return bound


def _bind(fn: Callable, around: CodeType | None) -> Bound:
    name, file = fn.__name__, fn.__code__.co_filename
    executed = fn.__globals__.get(_EXECUTED)
    text = executed if executed is not None and executed.file == file else read(file, fn.__globals__)
    if text is None and isinstance(fn.__globals__.get("__file__"), str):  # a function that %autoreload puts in place
        text = read(fn.__globals__["__file__"])
    if text is None:
        why = (
            _unreadable(file) or f"({file}); a kernel is parsed from its source: define it in a file or a notebook cell"
        )
        return Bound(fn, why=f"the source of kernel '{name}' cannot be read {why}")
    try:
        span = text.find(fn.__code__, around)
    except (SyntaxError, ValueError) as e:
        return Bound(fn, why=f"the source of kernel '{name}' cannot be read: {file} has changed since it was loaded, "
                     f"and is no Python now ({e}). Repair it and load it again")  # fmt: skip
    if span is None:
        return Bound(fn, why=f"{file} has changed since kernel '{name}' was loaded from it, and has no such function "
                     "now: load it again (importlib.reload, or a new process). If it was loaded from a __pycache__ "
                     "that is older than an edit within the same second, save the file once more")  # fmt: skip
    spec = fn.__globals__.get("__spec__")
    words = set(re.findall(r"[^\W\d]\w*", "".join(text.lines[span.first - 1 : span.last]))) if spec else set()
    seen = {w: fn.__globals__[w] for w in words if w in fn.__globals__}
    return Bound(fn, text, span, "", tuple(_others(text, fn.__globals__)), seen, spec)


# ---- files


_KNOWN: WeakValueDictionary[tuple[str, tuple[str, ...]], FileText] = WeakValueDictionary()


def read(file: str, module: Mapping[str, Any] | None = None) -> FileText | None:
    """A file, or what `linecache` knows of a cell or of text that was executed, as it is now; None if there is none."""
    stamp = _stamp(file)
    lines = _lines(file) if stamp else tuple(linecache.getlines(file, dict(module or {})))
    return _text(file, lines, stamp) if lines else None


def execute(text: FileText, namespace: dict[str, Any], tree: ast.Module | None = None) -> None:
    """Execute a text; what it decorates is bound to this text, whatever its file holds.

    Args:
        tree: To execute in place of what the text parses to.

    Raises:
        SyntaxError: it is no Python.
    """
    namespace[_EXECUTED] = text
    exec(compile(tree or "".join(text.lines), text.file, "exec", dont_inherit=True), namespace)


def of_code(file: str, code: str) -> FileText:
    """The text of code that is to be executed under a file's name."""
    return _text(file, tuple(code.splitlines(keepends=True)), _stamp(file))


def _text(file: str, lines: tuple[str, ...], stamp: tuple | None) -> FileText:
    found = _KNOWN.get((file, lines))
    if found is None:
        found = _KNOWN[file, lines] = FileText(file, lines, stamp)
    return found


def _stamp(path: str) -> tuple | None:
    """What tells that a file was written or replaced; None if there is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if os.path.isfile(path) else None


def _lines(path: str) -> tuple[str, ...]:
    try:
        with tokenize.open(path) as f:
            return tuple(f.readlines())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ()


def _unreadable(path: str) -> str:
    """Why a file is no text; "" when it is, or when there is none."""
    try:
        with tokenize.open(path) as f:
            f.read()
    except (SyntaxError, UnicodeDecodeError) as e:
        return f"from {shown(path)}: {e}. Save it as UTF-8"
    except OSError:
        pass
    return ""


def _others(text: FileText, module: Mapping[str, Any]) -> list[FileText]:
    """The files of the modules that a text imports, and so on, as they are now."""
    found: dict[str, FileText] = {}
    todo = [(text, module.get("__package__") or "")]
    while todo:
        importing, package = todo.pop()
        for m in _modules(importing, package):
            file = getattr(m, "__file__", None)
            if not file or file in found or file == text.file or not is_source(m.__name__, file):
                continue
            other = read(file)
            if other is not None:
                found[file] = other
                todo.append((other, m.__package__ or ""))
    return list(found.values())


def loaded(module: ModuleType) -> list[FileText]:
    """The file of a module and those of the modules that it imports, and so on, as they are now."""
    own = read(module.__file__)
    return [own, *_others(own, vars(module))] if own is not None else []


def again(module: ModuleType) -> None:
    """Load a module again from its file, and before it those that it imports, the innermost first."""
    loaded = [m for m in list(sys.modules.values()) if isinstance(m, ModuleType) and getattr(m, "__file__", None)]
    by_file = {m.__file__: m for m in loaded}

    def inner(m: ModuleType) -> list[ModuleType]:
        text = read(m.__file__)
        return [by_file[t.file] for t in _others(text, vars(m)) if t.file in by_file] if text is not None else []

    for m in sorted(inner(module), key=lambda m: len(inner(m))):
        importlib.reload(m)
    importlib.reload(module)


def _modules(text: FileText, package: str) -> Iterator[ModuleType]:
    for name, level in text.imports:
        parts = package.split(".")
        base = ".".join([*parts[: len(parts) + 1 - level], name] if level else [name]).strip(".")
        found = sys.modules.get(base)
        if isinstance(found, ModuleType):
            yield found


_LIBRARIES = tuple(os.path.realpath(p) + os.sep for p in {*sysconfig.get_paths().values(), sys.prefix} if p)


def is_source(module: str, file: str) -> bool:
    """True for what a kernel may depend on: no library, not PyPTO, not this repository's tools or goldens."""
    if module.partition(".")[0] in ("pypto", "simpler", "simpler_setup", "helpers", "golden", "torch", "numpy"):
        return False
    return file.endswith(".py") and not os.path.realpath(file).startswith(_LIBRARIES)


# ---- what has changed since


def files(bounds: Iterable[Bound]) -> dict[str, FileText]:
    """The files that kernels depend on, by path, each as it was bound."""
    bounds = list(bounds)
    out = {t.path: t for b in bounds for t in b.others}
    return {**out, **{b.text.path: b.text for b in bounds if b.text is not None}}


def changes(bounds: Iterable[Bound]) -> list[str]:
    """What to say of the files that have another text now than these kernels, a line each."""
    bounds = list(bounds)
    own: dict[str, list[str]] = {}
    for b in bounds:
        if b.text is not None:
            own.setdefault(b.text.path, []).append(b.function.__name__)
    out = []
    for path, text in files(bounds).items():
        if not text.changed():
            continue
        how = "is gone" if text.gone else "has changed on disk"
        names = ", ".join(f"'{n}'" for n in dict.fromkeys(own.get(path, ())))
        what = f"{names} as it was then" if names else "the values that it had then"
        out.append(
            f"{shown(text.file)} {how} since it was loaded: this is {what}. To go by the file as it is, load it again "
            "(importlib.reload) and take the kernel from its module"
        )
    return out


_TOLD: set[str] = set()


def tell(bounds: Iterable[Bound]) -> tuple[str, ...]:
    """`changes`, each of which is also written to standard error, once."""
    bounds = list(bounds)
    found = changes(bounds)
    if found:
        key = " ".join(sorted(t.digest for t in files(bounds).values()))
        for line in found:
            if key + line not in _TOLD:
                _TOLD.add(key + line)
                print(f"note: {line}", file=sys.stderr)
    return tuple(found)


# ---- code


def _around(code: CodeType) -> CodeType | None:
    """The code of the function or class that is defining this one now; None for a module, and where nobody is."""
    frame = sys._getframe(1)
    while frame is not None:
        if any(c is code for c in frame.f_code.co_consts):
            found = frame.f_code
            return None if found.co_qualname == "<module>" or _rewritten(found) else found
        frame = frame.f_back
    return None


def _rewritten(code: CodeType) -> bool:
    """True for a function in which pytest has rewritten an assert: it is not what its text compiles to."""
    return any(n.startswith("@py") for n in (*code.co_names, *code.co_varnames))


def _alike(a: CodeType, b: CodeType) -> bool:
    """True for code that does the same, wherever it stands."""
    if a is b:
        return True
    if _rewritten(a) != _rewritten(b):
        return (a.co_qualname, a.co_firstlineno) == (b.co_qualname, b.co_firstlineno)
    if any(getattr(a, n) != getattr(b, n) for n in _OF_CODE) or not _equal(a.co_consts, b.co_consts):
        return False
    return a.co_code == b.co_code or _steps(a) == _steps(b)


_OF_CODE = ("co_name", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_names", "co_varnames",
            "co_freevars", "co_cellvars")  # fmt: skip


def _steps(code: CodeType) -> list[tuple]:
    """What code does, instruction by instruction.

    A call of `pl.mul` is compiled in two ways: as one of a method, where `import ... as pl` is not in the text that is
    compiled with it, as of a notebook's cell, of which each statement is compiled alone.
    """
    found = [i for i in dis.get_instructions(code) if i.opname not in ("PUSH_NULL", "PRECALL", "EXTENDED_ARG", "NOP")]
    number = {i.offset: n for n, i in enumerate(found)}
    jumps = {*dis.hasjabs, *dis.hasjrel}
    return [
        ("LOAD_ATTR" if i.opname == "LOAD_METHOD" else i.opname,
         number.get(i.argval) if i.opcode in jumps else None if isinstance(i.argval, CodeType) else repr(i.argval))
        for i in found
    ]  # fmt: skip


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, CodeType) and isinstance(b, CodeType):
        return _alike(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return type(a) is type(b) and (a == b if not isinstance(a, (float, complex)) else repr(a) == repr(b))


def _read(code: CodeType) -> set[str]:
    """The names of its module that code reads."""
    own = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return own.union(*(_read(c) for c in code.co_consts if isinstance(c, CodeType)))


def _span(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Span:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)])
    name = getattr(node, "name", "<lambda>")
    return Span(name, first, node.lineno, node.col_offset, node.end_lineno, isinstance(node, ast.FunctionDef))


def _import(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, 0) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        yield base, node.level
        yield from ((f"{base}.{alias.name}".strip("."), node.level) for alias in node.names)
