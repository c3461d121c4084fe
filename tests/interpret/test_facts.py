"""What is certain of a kernel's names, and how its tree is looked at."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from helpers.interpret.facts.names import NOTHING, Names, Value
from helpers.interpret.source.walk import walk

ROOT = Path(__file__).parents[2]


def both(names: Names, first: dict[str, Value], second: dict[str, Value]) -> Names:
    """After an if whose arms bind these."""

    def arm(values: dict[str, Value]) -> None:
        for name, value in values.items():
            names.put(name, value)

    names.arms(lambda: arm(first), lambda: arm(second))
    return names


def test_after_an_if_holds_what_both_arms_say():
    tile = Value("tensor", level="tile", element="FP32", shape=(16, 64), origin="exp")
    names = both(Names(), {"t": tile}, {"t": Value("tensor", level="tile", element="BF16", shape=(16, 64))})
    assert names["t"] == Value("tensor", level="tile", shape=(16, 64), origin="exp")


def test_what_one_arm_binds_is_certain_after_neither():
    names = both(Names(), {"n": Value("scalar", scalar="INT32", constant=True, source=ast.Constant(1))}, {})
    assert names["n"] == Value("scalar")


def test_arms_that_bind_other_kinds_leave_any():
    assert both(Names(), {"a": Value("scalar")}, {"a": Value("tensor")})["a"].kind == "any"


def test_the_second_arm_does_not_see_what_the_first_binds():
    names, seen = Names(), []
    names.put("out", Value("tensor"))
    names.arms(lambda: names.note("out", passed_on="double"), lambda: seen.append(names["out"].passed_on))
    assert seen == [""]
    assert names["out"].passed_on == "double"


def test_a_loop_that_binds_a_name_again_keeps_its_type_of_number():
    names = Names()
    names.put("n", Value("scalar", scalar="INT32", run_time=True, origin="read", parts=NOTHING))
    names.forget({"n", "unknown"}, of_loop=True)
    assert names["n"] == Value("scalar", scalar="INT32", origin="read")
    names.forget({"n"})
    assert names["n"] == Value("scalar", origin="read")


@pytest.mark.parametrize("name", ["prefill", "decode_layer", "hello"])
def test_walk_gives_the_nodes_of_ast_walk_in_their_order(name: str):
    tree = ast.parse((ROOT / "kernels" / f"{name}.py").read_text(encoding="utf-8"))
    left_out = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
    assert walk(tree) == [n for n in ast.walk(tree) if not isinstance(n, left_out)]
