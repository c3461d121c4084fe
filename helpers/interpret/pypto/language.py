"""A stand-in for `pypto.language`, served only where PyPTO itself is not installed.

Kernels begin with `import pypto.language as pl`. With PyPTO there (hw-native-sys/pypto), that is the real
package and nothing here is used. Without it, `install()` makes the import work: the module served has the
language's names - types, element types, enums, decorators, and a function for every operation - so that a
kernel file can be imported, read and interpreted. The operations are only names: a kernel is parsed, so
calling one outside a kernel is an error that says so.

The finder is the last on `sys.meta_path` and answers only when nobody else does. A package called `pypto`
that is another project (CANN's, on the package index) stays importable and untouched; only its missing
submodule `language` is supplied.
"""

from __future__ import annotations

import ast
import enum
import importlib
import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from helpers.errors import KernelError
from helpers.interpret.language import pl_names
from helpers.interpret.language.kernel import DataType, DynVar, JitFunction, Placement, annotation_type
from helpers.interpret.pypto import package, text
from helpers.interpret.pypto.callable import CallableKernel, CallableProgram

# What `@pl.jit` and its family take, `@pl.function` and `@pl.program`.
OPTIONS = {
    "entry": ("auto_scope",), "incore": ("level",), "inline": ("auto_scope",), "opaque": (), "host": ("auto_scope",),
    "function": ("level", "role", "attrs", "auto_scope", "strict_ssa", "external_source"), "program": ("strict_ssa",),
}  # fmt: skip


def _check_options(kind: str, name: str, options: dict[str, Any]) -> None:
    unknown = [n for n in options if n not in OPTIONS.get(kind, options)]
    if unknown:
        takes = ", ".join(OPTIONS[kind]) or "none"
        raise KernelError(f"{name} has no option {', '.join(map(repr, unknown))}; those that it has: {takes}")


def _decorator(kind: str, where: FrameType | None = None) -> Callable:
    def decorate(fn: Callable | None = None, **options: Any) -> Any:
        around = where or sys._getframe(1)
        _check_options(kind, "@pl.jit" if kind == "entry" else f"@pl.jit.{kind}", options)

        def made(f: Callable) -> CallableKernel:
            quoted = _quoted(f, around)
            return CallableKernel(f, kind, {**options, "quoted": quoted} if quoted else options)

        return made if fn is None else made(fn)

    decorate.__name__ = kind
    return decorate


def program(cls: type | None = None, **options: Any) -> Any:
    """`@pl.program`: the methods of a class become the functions of a program."""
    _check_options("program", "@pl.program", options)
    if cls is None:
        return lambda c: program(c, **options)
    return CallableProgram(cls.__name__, {n: f for n, f in vars(cls).items() if isinstance(f, JitFunction)})


# How the type of a `@pl.function` is treated; a function without one is Opaque.
FUNCTION_KINDS = {
    "Opaque": "entry", "Orchestration": "entry", "Inline": "inline",
    "InCore": "incore", "AIC": "incore", "AIV": "incore", "Group": "group",
}  # fmt: skip


def function(fn: Callable | None = None, *, type: Any = None, **options: Any) -> Any:
    """`@pl.function(type=...)`: one function of a program, or a standalone one."""
    around = sys._getframe(1)
    _check_options("function", "@pl.function", options)
    if fn is None:
        return lambda f: _function(f, type, options, around)
    return _function(fn, type, options, around)


def inline(fn: Callable) -> JitFunction:
    """`@pl.inline`: a function that the functions of a `@pl.program` call."""
    return CallableKernel(fn, "inline", {"function": "Inline", "around": _quoted(fn, sys._getframe(1))})


def _quoted(fn: Callable, frame: FrameType) -> dict[str, Any]:
    """The names of quoted annotations (`from __future__ import annotations`) that only the code around the function
    knows: a closure does not hold them."""
    names_ = {n.id for a in fn.__annotations__.values() if isinstance(a, str) for n in ast.walk(ast.parse(a))
              if isinstance(n, ast.Name)}  # fmt: skip
    if names_ and not frame.f_code.co_flags & inspect.CO_OPTIMIZED and frame.f_back is not None:  # the body of a class
        frame = frame.f_back
    return {n: frame.f_locals[n] for n in names_ if n in frame.f_locals}


def _function(fn: Callable, type: Any, options: dict[str, Any], around: FrameType) -> JitFunction:
    name = getattr(type, "name", "Opaque")
    if "external_source" in options or name not in FUNCTION_KINDS:
        raise KernelError(f"@pl.function '{fn.__name__}': interpret mode runs no {name} functions or C++ kernels")
    if (options.get("attrs") or {}).get("split_aiv"):
        raise KernelError(f"@pl.function '{fn.__name__}': split_aiv marks what the compiler has split; write split=")
    core = name if name in ("AIC", "AIV") else None
    return CallableKernel(
        fn, FUNCTION_KINDS[name], {**options, "function": name, "core": core, "around": _quoted(fn, around)}
    )


class _Jit:
    """`pl.jit` and its family."""

    incore = staticmethod(_decorator("incore"))
    inline = staticmethod(_decorator("inline"))
    opaque = staticmethod(_decorator("opaque"))
    host = staticmethod(_decorator("host"))
    extern = staticmethod(_decorator("extern"))

    def __call__(self, fn: Callable | None = None, **options: Any) -> Any:
        return _decorator("entry", sys._getframe(1))(fn, **options)


class _Directive:
    """A scope or loop constructor: callable in the source of a kernel only."""

    def __init__(self, name: str):
        self.__name__ = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise pl_names.only_parsed(self.__name__)


def _module(name: str, doc: str, members: dict[str, Any], package: bool = False) -> ModuleType:
    m = ModuleType(name, doc)
    m.__dict__.update(members)
    if package:
        m.__path__ = []
    return m


class UnknownName(KernelError, AttributeError):
    """A name that `pypto.language` does not have."""


class _Namespace(ModuleType):
    """`pl`, or a namespace in it. Operations are made when they are first asked for: what is known of them needs torch,
    and the module of a kernel asks for none."""

    def __init__(self, name: str, doc: str, space: str, members: dict[str, Any]):
        super().__init__(name, doc)
        self.__dict__.update(members, __path__=[])
        self._space = space

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return sorted(n for n in dir(self) if not n.startswith("_"))
        if name.startswith("__"):
            raise AttributeError(name)
        from helpers.interpret.pypto import operations

        path = f"{self._space}.{name}".lstrip(".")
        made = operations.stand_in(path)
        if made is None:
            raise UnknownName(operations.unknown(path, [n for n in self.__dict__ if not n.startswith("_")]))
        self.__dict__[name] = made
        return made

    def __dir__(self) -> list[str]:
        from helpers.interpret.pypto import operations

        return sorted({*self.__dict__, *operations.names(self._space)})


def _members() -> dict[str, Any]:
    m: dict[str, Any] = {}
    for space in pl_names.NAMESPACES:
        own = {"MaskPattern": enum.Enum("MaskPattern", pl_names.MASK_PATTERNS)} if space == "tile" else {}
        m[space] = _Namespace(f"pypto.language.{space}", f"`pl.{space}` (stand-in)", space, own)
    m.update({n: _Directive(n) for n in pl_names.DIRECTIVES})
    m.update({n: DataType(n, bits) for n, bits in pl_names.DTYPES.items()})
    m.update({n: enum.Enum(n, list(values)) for n, values in pl_names.ENUMS.items()})
    m["Mem"] = m["MemorySpace"]
    for layout in ("ND", "DN", "NZ", "MX_A_ZZ", "MX_B_NN"):
        m[layout] = m["TensorLayout"][layout]
    for n in ("Tensor", "Tile", "Scalar", "Array", "Tuple", "Out", "InOut"):
        m[n] = annotation_type(n, f"Annotation `pl.{n}[...]`.")
    m.update({n: type(n, (Placement,), {}) for n in ("MemRef", "TileView", "TensorView")})
    m["TaskId"] = m["Scalar"][m["TASK_ID"]]
    m["DataType"], m["DynVar"], m["dynamic"], m["JITFunction"] = DataType, DynVar, DynVar, JitFunction
    m["jit"], m["inline"], m["function"], m["program"] = _Jit(), inline, function, program
    m["AUTO"] = pl_names.AUTO
    m["IntLike"] = int
    m.update({n: getattr(text, n) for n in ("parse", "loads", "parse_program", "loads_program")})
    m.update({n: annotation_type(n, f"`pl.{n}`: a handle of PyPTO's.") for n in pl_names.HANDLES})
    m["InlineFunction"], m["RUNTIME"] = JitFunction, pl_names.RUNTIME
    m["optimizations"] = _module("pypto.language.optimizations", "`pl.optimizations` (stand-in)", {
        n: m[n] for n in ("split", "cross_core_slot")
    })  # fmt: skip
    m["adir"] = _module("pypto.language.arg_direction", "`pl.adir` (stand-in)", {})
    m["parser"] = _module("pypto.language.parser", "`pl.parser` (stand-in)", {n: m[n] for n in ("parse", "loads")})
    return m


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves `pypto`, `pypto.language` and the few modules of `package` when no other finder has them."""

    served = frozenset({"pypto", "pypto.language", "pypto.language.distributed", *package.BUILDERS})

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.served:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin="pypto-workbook stand-in", is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        if spec.name == "pypto":
            of = {"DataType": DataType, "__getattr__": _part_of_pypto}
            return _module("pypto", "Stand-in for PyPTO: interpret mode only.", of, package=True)
        if spec.name == "pypto.language":
            return _Namespace("pypto.language", __doc__, "", _members())
        return _module(spec.name, "Stand-in for a part of PyPTO.", {}, package=True)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in package.BUILDERS:
            package.fill(module)
        elif module.__name__ == "pypto.language.distributed":
            module.__getattr__ = _distributed


def _part_of_pypto(name: str) -> ModuleType:
    """`pypto.ir` and its like are there after `import pypto`."""
    if f"pypto.{name}" not in StandInFinder.served:
        raise AttributeError(f"module 'pypto' has no attribute '{name}'", name=name, obj=sys.modules["pypto"])
    return importlib.import_module(f"pypto.{name}")


def _distributed(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return annotation_type(name, "Of `pypto.language.distributed`, which interpret mode refuses: it runs one chip.")


def install() -> None:
    """Make `import pypto.language` work where PyPTO is not installed; do nothing where it is."""
    if not any(isinstance(f, StandInFinder) for f in sys.meta_path):
        sys.meta_path.append(StandInFinder())


def is_stand_in() -> bool:
    """True when `pypto.language`, if imported now, is or would be this stand-in."""
    import importlib.util

    spec = importlib.util.find_spec("pypto.language")
    return spec is not None and isinstance(spec.loader, StandInFinder)
