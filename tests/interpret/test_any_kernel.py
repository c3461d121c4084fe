"""Whatever is written in a kernel, it runs or is refused in the language's words: kernels with accidental mistakes."""

from __future__ import annotations

import ast
import copy
import random
import warnings
from collections.abc import Callable
from dataclasses import fields

import kernelgen
import pytest
import torch
from language_cases import ACCEPTED, Arguments, Case

from helpers.errors import WorkbookError
from helpers.interpret.language.decorated import unwrap

ROWS = [c for c in ACCEPTED if "while" not in c.source()]  # a mistake in a loop of that kind may well be endless
EACH = 300

CONSTANTS = (0, 1, -1, 2, 16, 33, 64, 1 << 40, 1.5, float("nan"), None, True, "a", "FP32", (1, 2), ...)
ATTRIBUTES = """
    add sub mul matmul matmul_acc exp load store slice assemble reshape row_max row_sum cast full create_tensor read
    write transpose row_expand_mul col_expand_mul set_validshape fillpad gather min max range spmd parallel pipeline
    yield_ at tensor tile system FP32 INT32 shape dtype nonsense
""".split()
KEYWORDS = ("deps", "predicate", "dtype", "valid_shape", "init_values", "stage", "b_trans", "name_hint", "nonsense")
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Div, ast.Pow, ast.LShift, ast.BitAnd, ast.MatMult)
STATEMENTS = [
    ast.parse(text).body[0]
    for text in (
        "pass", "print(x)", "breakpoint()", "import os", "y = [1 for i in range(3)]", "lambda: 1", "del x", "x.y = 1",
        "assert x", "raise ValueError", "try:\n  pass\nfinally:\n  pass", "a = b = x", "a, *b = x", "f'{x}'",
        "x[0] += 1", "global x", "y = x if x else out", "(w := x)", "y = {1: x}", "with open('a') as f: pass",
        "y = not x", "y = -x", "y = x @ x", "y = x < x < x", "y = x is None", "y = x[::2]", "y = x[..., 0]",
        "y: int = 3", "y = 'a' + 'b'", "def g(): pass", "class C: pass",
    )
]  # fmt: skip
LAST = [ast.Break(), ast.Continue(), ast.Return(ast.Name("x", ast.Load())), ast.Return(None)]


def _name(n: ast.Name, names: list[str], draw: random.Random) -> None:
    n.id = draw.choice([*names, "pl", "len", "undefined"])


def _call(n: ast.Call, names: list[str], draw: random.Random) -> None:
    change = draw.randrange(6)
    if change == 0 and n.args:
        n.args.pop(draw.randrange(len(n.args)))
    elif change == 1:
        n.args.append(ast.Name(draw.choice(names), ast.Load()))
    elif change == 2:
        draw.shuffle(n.args)
    elif change == 3 and n.keywords:
        n.keywords.pop()
    elif change == 4 and n.args:
        n.args[0] = ast.Starred(n.args[0], ast.Load())
    else:
        n.keywords.append(ast.keyword(draw.choice(KEYWORDS), ast.Constant(draw.choice(CONSTANTS))))


def _block(n: ast.For | ast.With | ast.If | ast.FunctionDef, names: list[str], draw: random.Random) -> None:
    change = draw.randrange(4)
    if change == 0 and len(n.body) > 1:
        n.body.pop(draw.randrange(len(n.body)))
    elif change == 1:
        n.body.insert(draw.randrange(len(n.body) + 1), copy.deepcopy(draw.choice(STATEMENTS)))
    elif change == 2:
        n.body.append(copy.deepcopy(draw.choice([*n.body, *LAST])))
    else:
        draw.shuffle(n.body)


def _list(n: ast.List | ast.Tuple, names: list[str], draw: random.Random) -> None:
    if draw.random() < 0.5 and n.elts:
        n.elts.pop()
    else:
        n.elts.append(copy.deepcopy(draw.choice(n.elts)) if n.elts else ast.Constant(1))


def _put(field: str, values: Callable[[random.Random, list[str]], object]) -> Callable:
    def change(n: ast.AST, names: list[str], draw: random.Random) -> None:
        setattr(n, field, values(draw, names))

    return change


CHANGES: dict[type, Callable] = {
    ast.Name: _name, ast.Call: _call, ast.List: _list, ast.Tuple: _list,
    **dict.fromkeys((ast.For, ast.With, ast.If, ast.FunctionDef), _block),
    ast.Constant: _put("value", lambda draw, _: draw.choice(CONSTANTS)),
    ast.Attribute: _put("attr", lambda draw, _: draw.choice(ATTRIBUTES)),
    ast.BinOp: _put("op", lambda draw, _: draw.choice(OPERATORS)()),
    ast.Compare: _put("ops", lambda draw, _: [draw.choice((ast.Lt, ast.Eq, ast.Is, ast.In))()]),
    ast.Assign: _put("targets", lambda draw, names: [ast.Name(draw.choice(names), ast.Store())]),
    ast.Slice: _put("step", lambda *_: ast.Constant(2)),
}  # fmt: skip


def mistaken(case: Case, draw: random.Random) -> str | None:
    """The row's kernel with one to three changes in its body; None where that is no Python."""
    tree = ast.parse(case.source())
    kernel = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "k"), None)
    nodes = [n for s in kernel.body for n in ast.walk(s)] if kernel else []
    names = [n.id for n in nodes if isinstance(n, ast.Name)] or ["x"]
    for n in draw.choices([n for n in nodes if type(n) in CHANGES] or [ast.Pass()], k=draw.choice((1, 1, 2, 3))):
        if type(n) in CHANGES and not isinstance(getattr(n, "ctx", None), (ast.Store, ast.Del)):
            CHANGES[type(n)](n, names, draw)
    try:
        text = ast.unparse(ast.fix_missing_locations(tree))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            compile(text, "a kernel", "exec")
    except (SyntaxError, ValueError, AttributeError, TypeError):
        return None
    return text


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("seed", range(6))
def test_it_runs_or_is_refused_in_words(seed: int, capfd: pytest.CaptureFixture):
    draw = random.Random(seed)
    refused = ran = 0
    for _ in range(EACH):
        text = mistaken(draw.choice(ROWS), draw)
        if text is None:
            continue
        a, before = Arguments.new(), Arguments.new()
        given = {f.name: getattr(a, f.name) for f in fields(a)}
        try:
            k = kernelgen.kernel(text)
            kernelgen.run(k, **{n: given[n] for n in unwrap(k)[0].__annotations__ if n in given})
            ran += 1
        except WorkbookError as e:
            message = str(e)
            assert "itself failed" not in message, f"{message}\n{text}"
            assert message.count("\n") <= 8, message
            for f in fields(a):
                value = getattr(a, f.name)
                if isinstance(value, torch.Tensor):
                    assert torch.equal(value, getattr(before, f.name)), f"{f.name} changed\n{text}"
            refused += 1
    assert refused > EACH / 4
    assert ran > EACH / 8
