"""What notebooks print: a kernel's source, tables of figures, the inputs of a stage; plain text, source as HTML too."""

from __future__ import annotations

import ast
import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pygments.style import Style
from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, String

from golden import ScalarSpec, TensorSpec
from helpers.errors import KernelError, shown
from helpers.interpret.language.decorated import environment, unwrap
from helpers.interpret.source.source import of
from helpers.interpret.trace.depend import declared, inferred
from helpers.interpret.trace.trace import Trace
from helpers.plots.error_figures import verdict
from helpers.plots.style import BLUE, GREEN, ORANGE, PURPLE, TEXT


class _Colors(Style):
    """The colours of the figures, which read on white and on black."""

    styles = {
        Comment: TEXT,
        Keyword: BLUE,
        Literal: ORANGE,
        Number: ORANGE,
        String: GREEN,
        String.Doc: GREEN,
        Name.Decorator: PURPLE,
        Name.Function: PURPLE,
        Operator.Word: BLUE,
    }


class Source:
    """Kernel functions as they stand in their files, with the numbers of their lines; shows itself in a notebook."""

    def __init__(self, parts: Sequence[tuple[str, list[int], str]]):
        self.parts = parts  # (file, number of each line or 0, text)

    def __repr__(self) -> str:
        return "\n\n".join(
            "\n".join([file, *(f"{n or '':>4} {line}".rstrip() for n, line in zip(numbers, text.splitlines()))])
            for file, numbers, text in self.parts
        )

    def _repr_html_(self) -> str:
        return "".join(self._html(*part) for part in self.parts)

    @staticmethod
    def _html(file: str, numbers: list[int], text: str) -> str:
        formatter = HtmlFormatter(style=_Colors, noclasses=True, nobackground=True, nowrap=True)
        lines = highlight(text, PythonLexer(stripnl=False), formatter).splitlines()
        number = f'<span style="color:{TEXT};user-select:none">{{}} </span>{{}}'
        body = "\n".join(number.format(f"{n or '':>4}", line) for n, line in zip(numbers, lines))
        head = f'<div style="color:{TEXT};font-size:small">{html.escape(file)}</div>'
        look = "font-family:monospace;font-size:90%;line-height:1.35;white-space:pre;overflow-x:auto"
        return f'{head}<pre style="{look}">{body}</pre>'


def source(kernel: Any, helpers: bool = False, signature: bool = True) -> Source:
    """The source of a kernel; with `helpers`, that of the functions it calls too, callees first.

    Args:
        kernel: A function decorated with @pl.jit or one of its family.
        signature: False leaves the parameters out, for one whose parameters have been seen.

    Raises:
        KernelError: it is no kernel, or its source cannot be read.
    """
    found = list(_with_callees(kernel, signature).values())
    return Source(found if helpers else found[-1:])


def _with_callees(kernel: Any, signature: bool) -> dict[Any, tuple[str, list[int], str]]:
    """The kernel's part and those of the kernels it calls, by function, callees first."""
    found = unwrap(kernel)
    if found is None:
        raise KernelError(f"{kernel!r} is not a kernel: decorate the function with @pl.jit")
    fn = found[0]
    source = of(fn)
    tree, bound = source.tree, source.bound
    outside = environment(fn, closure=True)
    called = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    out = {}
    for name in dict.fromkeys(called):
        if unwrap(outside.get(name)) is not None:
            out.update(_with_callees(outside[name], signature))
    first = bound.span.first
    lines = [(first + i, line.rstrip()) for i, line in enumerate(bound.lines)]
    if not signature:
        body = tree.body[0].lineno
        lines = [(n, line) for n, line in lines if n < tree.lineno or n >= body]
        lines.insert(tree.lineno - first, (0, f"def {tree.name}(...):"))
    file = shown(source.file) + (" (changed on disk since it was loaded)" if bound.text.changed() else "")
    out[fn] = (file, [n for n, _ in lines], "\n".join(line for _, line in lines))
    return out


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Text of a table: a line for each of `rows`, a column for each key in them; numbers to the right.

    A title that is wider than its column takes several lines: JupyterLab breaks lines of more than 110 characters.
    """
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    cells = [[name, *(_cell(row.get(key, "")) for key in columns)] for name, row in rows.items()]
    titles = [
        textwrap.wrap(title, max([15, *(len(line[i]) for line in cells)])) or [""]
        for i, title in enumerate(columns, start=1)
    ]
    high = max(map(len, titles), default=1)
    above = [[""] * (high - len(lines)) + lines for lines in titles]
    cells = [*(["", *(lines[n] for lines in above)] for n in range(high)), *cells]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns) + 1)]
    return "\n".join(
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.2g}"


def steps(traces: Mapping[str, Trace], errors: Mapping[str, Mapping[str, float]]) -> str:
    """Text of a table with a line for each version: tasks, bytes to and from global memory (the rings between
    cube and vector cores are part of them where they lie there), whether errors are allowed.

    Args:
        errors: By version, then by output: the largest error over what the tolerance allows.
    """
    moved = {v: {"tasks": t.tasks, "GM bytes": t.gm_read_bytes + t.gm_write_bytes} for v, t in traces.items()}
    return table({v: row | {f"error of {n}": verdict(e) for n, e in errors[v].items()} for v, row in moved.items()})


def parts(trace: Trace, names: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Tasks of a trace and bytes they move, rings included, over those of certain names: a row for each of `names`."""
    rows = {}
    for part, among in names.items():
        launches = [d for d in trace.dispatches if d.runs and d.name in among]
        works = [(p.chunk.work, len(p)) for d in launches for p in d.parts]
        rows[part] = {
            "tasks": sum(d.blocks for d in launches),
            "GM read": sum((work.gm_read_bytes + work.ring_bytes) * n for work, n in works),
            "GM written": sum((work.gm_write_bytes + work.ring_bytes) * n for work, n in works),
        }
    return rows


def waits(trace: Trace) -> str:
    """Which launches of a trace wait for which, by name, as the runtime infers it from tensors or is told by deps=."""
    by_name: dict[str, dict[str, None]] = {d.name: {} for d in trace.dispatches if d.runs}
    for edge in (*inferred(trace), *declared(trace)):
        earlier, later = trace.dispatches[edge.earlier], trace.dispatches[edge.later]
        if later.name in by_name and earlier.name != later.name:
            by_name[later.name][earlier.name] = None
    wide = max(map(len, by_name))
    return "\n".join(f"{name:{wide}}  waits for  {', '.join(on) or 'nothing'}" for name, on in by_name.items())


def inputs(specs: Iterable[TensorSpec | ScalarSpec], outputs: bool = False) -> dict[str, Any]:
    """The values that specs stand for, by name; those of outputs, which may be large, only on request."""
    return {
        s.name: s.to_python() if isinstance(s, ScalarSpec) else s.create_tensor()
        for s in specs
        if outputs or isinstance(s, ScalarSpec) or not s.is_output
    }
