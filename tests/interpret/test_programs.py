"""Random legal programs give what plain torch gives; what is illegal is refused at a place, and nothing is touched."""

from __future__ import annotations

import random
import re
import warnings

import kernelgen
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernelgen import same, seeds
from programs import legal

from helpers.errors import FaultError, InputError, KernelError

many = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
PLACE = re.compile(r"^  at .+:\d+:\d+$", re.MULTILINE)

# One line of a legal program becomes illegal: what to look for, and what to write instead.
BREAKS = {
    "unknown operation": (r"pl\.(add|sub|mul|row_max|col_max|fillpad)\(", r"pl.\1_of("),
    "an operand missing": (r"pl\.(add|sub|maximum|minimum)\((\w+), \w+\)", r"pl.\1(\2)"),
    "an argument too many": (r"pl\.(add|sub|maximum|minimum)\((\w+), (\w+)\)", r"pl.\1(\2, \3, \3)"),
    "an operator": (r"= pl\.(add|mul|sub)\((t\w+), (\w+)\)", r"= \2 + \3"),
    "augmented": (r"^(\s*)(t\d+) = pl\.add\(t\d+, (\w+)\)", r"\1\2 += \3"),
    "Python's range": (r"in pl\.range\((\d+)\)", r"in range(\1)"),
    "a name of nowhere": (r"\((t\d+)\)", r"(\1_)"),
    "a number first": (r"pl\.(add|mul)\((t\d+), (-?\d[\d.]*)\)", r"pl.\1(\3, \2)"),
    "another type": (r"pl\.(add|sub|maximum)\((t\d+), (t\d+)\)", r"pl.\1(\2, pl.reinterpret_view(\3, dtype=pl.UINT8))"),
    "outside": (r"(x\w+)\[(g \* 32[^:]*) : (g \* 32[^:]*), ", r"\1[\2 + 4096 : \3 + 4096, "),
    "before the start": (r"(x\w+)\[(g \* 32[^:]*) : (g \* 32[^:]*), ", r"\1[\2 - 4096 : \3 - 4096, "),
    "no such columns": (r"(, )(\d+) : (\d+)\]", r"\1 \2 : \3 + 64]"),
    "a fold of what is no tile": (r"pl\.(row|col)_(max|sum)\((t\d+)\)", r"pl.\1_\2(g)"),
    "a number as condition": (r"if pl\.read\(idx, (\[\d\])\) > \d", r"if pl.read(idx, \1)"),
    "chained": (r"if n < (\d)", r"if 0 < n < \1"),
    "a stage too few": (r"stage=2", r"stage=0"),
    "an unknown keyword": (r"pad_value=", r"padding="),
    "the same type": (r"pl\.cast\((t\d+), pl\.\w+", r"pl.cast(pl.cast(\1, pl.FP16), pl.FP16"),
    "an integer as FP32": (r"pl\.mul\((t\d+), 0\.5\)", r"pl.mul(\1, pl.cast(g, pl.FP32))"),
    "a region in a region": (r"^(\s+)(t\d+ = pl\.\w+\(.*)$", r"\1with pl.at(level=pl.Level.CORE_GROUP):\n\1    \2"),
    "a step": (r"(\w+) : (\w+), :\]", r"\1 : \2 : 2, :]"),
}


def run(source: str, arguments: dict) -> Exception | None:
    """The error of a run, or None; an error leaves the arguments as they were."""
    before = {n: v.clone() for n, v in arguments.items() if isinstance(v, torch.Tensor)}
    try:
        kernelgen.run(kernelgen.module(source).k, on="a5", **arguments)
    except (KernelError, FaultError, InputError) as e:
        for n, v in before.items():
            same(arguments[n], v)
        return e
    return None


@many
@given(legal(), seeds)
def test_a_legal_program(program, seed: int):
    got, want = program.arguments(seed), program.arguments(seed)
    assert run(program.source(), got) is None
    program.run(want)
    for name, value in want.items():
        if isinstance(value, torch.Tensor):
            same(got[name], value)


def executed(program, seed: int) -> set[int]:
    """Numbers of the lines of the plain text that are executed with these arguments."""
    import sys

    lines: set[int] = set()

    def trace(frame, event, _):
        if frame.f_code.co_filename == "<string>":
            lines.add(frame.f_lineno)
            return trace
        return None

    sys.settrace(trace)
    try:
        program.run(program.arguments(seed))
    finally:
        sys.settrace(None)
    return lines


@many
@given(legal(), seeds, st.data())
def test_a_broken_program(program, seed: int, data):
    """One break in a line that is executed: refused, at a place of the kernel, and nothing is touched."""
    ran = {program.plain[n - 1].strip().split(" = ")[0] for n in executed(program, seed) if n <= len(program.plain)}
    lines = program.source().splitlines()
    found = [
        (name, n)
        for name, (pattern, _) in BREAKS.items()
        for n, line in enumerate(lines)
        if n > 1 and re.search(pattern, line) and line.strip().split(" = ")[0] in ran
    ]
    if not found:
        return
    name, n = data.draw(st.sampled_from(found))
    lines[n] = re.sub(*BREAKS[name], lines[n], count=1)
    e = run("\n".join(lines) + "\n", program.arguments(seed))
    assert e is not None, f"{name}: {lines[n]}"
    assert PLACE.search(str(e)), f"{name}: {e}"
    assert "interpret mode itself failed" not in str(e), f"{name}: {e}"


def scrambled(source: str, seed: int) -> str:
    """A program with a few of its words exchanged: names, numbers and operations anywhere in its body."""
    r = random.Random(seed)
    head, _, body = source.partition("):\n")
    words = list(re.finditer(r"\bpl(?:\.\w+)+|\b[a-z]\w*\b|\b\d+\b", body))
    words = [w for w in words if w[0] not in ("with", "for", "in", "if", "else", "and", "or")]
    for w in sorted(r.sample(words, min(len(words), r.randint(1, 3))), key=lambda w: -w.start()):
        other = r.choice(words)[0] if r.random() < 0.8 else r.choice(["0", "-1", "None", "g", "n", "idx", "1.5", "x"])
        body = body[: w.start()] + other + body[w.end() :]
    return f"{head}):\n{body}"


@settings(many, max_examples=30)
@given(legal(), seeds)
def test_nonsense(program, seed: int):
    """Whatever is written, interpret mode runs it or says what is wrong with it and where."""
    source = scrambled(program.source(), seed)
    try:
        with warnings.catch_warnings(action="error"):
            compile(source, "nonsense", "exec")
    except (SyntaxError, SyntaxWarning):  # Python itself has something to say
        return
    e = run(source, program.arguments(seed))
    if isinstance(e, (KernelError, FaultError)):
        assert PLACE.search(str(e)), str(e)
        assert "interpret mode itself failed" not in str(e), f"{e}\n{source}"
