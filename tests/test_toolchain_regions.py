"""The region that a refusal is about: of a message that names it, and of one that does not."""

from __future__ import annotations

from types import SimpleNamespace

from helpers.toolchain.regions import blamed, first_line, region

FUNCTIONS = [SimpleNamespace(name=name) for name in ("norm", "attend", "project")]
OVERFLOW = ValueError("the buffer has 262144 bytes and 196608 are there\n\nraised in allocate.cpp:12")


def of(*names: str):
    """A pass that refuses these functions, each with words of its own about where."""

    def alone(f: SimpleNamespace) -> None:
        if f.name in names:
            raise ValueError(f"{first_line(OVERFLOW)}\n\nraised for {f.name}")
        if f.name == "norm":
            raise ValueError("norm calls a function that is not here")

    return alone


def test_the_function_that_raises_the_same_alone():
    assert blamed(OVERFLOW, FUNCTIONS, of("attend")).name == "attend"
    assert blamed(OVERFLOW, FUNCTIONS, of("project")).name == "project"


def test_the_first_where_several_do():
    assert blamed(OVERFLOW, FUNCTIONS, of("project", "attend")).name == "attend"


def test_no_function_where_none_does():
    assert blamed(OVERFLOW, FUNCTIONS, of()) is None


def test_the_function_that_the_message_names():
    error = ValueError("Function 'project': the buffer has 262144 bytes")
    assert blamed(error, FUNCTIONS, of("attend")).name == "project"
    assert blamed(ValueError("function 'gone' is not valid"), FUNCTIONS, of()) is None


def test_what_has_a_line_needs_no_region():
    def again():
        raise AssertionError("compiled once more")

    assert region(ValueError("no such operation at /a/k.py:12:9"), again) is None
    error = ValueError("no such operation")
    error.span = {"filename": "k.py"}
    assert region(error, again) is None
