"""Results that are not the golden's: wrong, or outside a tolerance by no more than rounding; each element by itself."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable

import pytest
import torch

from golden.compare import addressed_rows, close, exact, ratio_allclose
from golden.spec import TensorSpec
from helpers.interpret.trace.trace import Trace
from helpers.sanitize import Finding, check
from helpers.sanitize.rules import results as compared
from helpers.sanitize.rules.read_and_written import Memory
from helpers.sanitize.rules.rounding import apart, outside, spacing
from tests.kernelgen import kernel

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
TIGHT = close(1e-7, 0.0)


def values(n: int = 512, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def one_large(n: int = 512) -> torch.Tensor:
    return torch.where(torch.arange(n) == 0, 1e6, values(n))


@pytest.mark.parametrize(
    ("value", "dtype", "want"),
    [
        (1.0, FP32, 2.0**-23), (1.5, FP32, 2.0**-23), (2.0, FP32, 2.0**-22), (-0.999, FP32, 2.0**-24),
        (1.0, BF16, 2.0**-7), (300.0, BF16, 2.0), (1.0, FP16, 2.0**-10), (0.0, FP16, 2.0**-24),
        (1e-40, BF16, 2.0**-133), (math.inf, FP32, 0.0), (3.0, torch.int32, 0.0),
    ],
)  # fmt: skip
def test_the_spacing_of_a_type_is_that_at_the_value(value: float, dtype: torch.dtype, want: float):
    assert spacing(torch.tensor([value], dtype=torch.float64), dtype).item() == want


@pytest.mark.parametrize("dtype", [BF16, FP16, FP32])
@pytest.mark.parametrize("golden", [values(), one_large(), 1e-3 * values(), values() ** 3])
def test_rounding_of_every_element_is_explained(dtype: torch.dtype, golden: torch.Tensor):
    if dtype == FP16:
        golden = golden.clamp(-6e4, 6e4)
    golden = golden.double() * (1 + 2.0**-40)
    off = outside(golden.to(dtype), golden, TIGHT, 0.0, 0.0)
    assert off.count > 0 or dtype == FP32
    assert off.worst is None
    assert off.spacings <= 0.5


@pytest.mark.parametrize(
    "mistake",
    [
        lambda v: v.abs(),  # signs are lost
        lambda v: -v,
        lambda v: v.roll(1),
        lambda v: v * 1.5,
        lambda v: torch.where(torch.arange(len(v)) % 100 == 7, 0.0, v),  # a few are left out
        lambda v: v + 0.01,
        lambda v: v.trunc(),
        lambda v: torch.where(torch.arange(len(v)) == 99, math.nan, v),
        lambda v: torch.where(torch.arange(len(v)) == 99, math.inf, v),
        lambda v: v.clamp(max=0.5),
    ],
)
def test_a_large_element_excuses_nothing_in_the_others(mistake: Callable):
    golden = one_large()
    wrong = mistake(golden).clone()
    wrong[0] = golden[0]
    off = outside(wrong.bfloat16(), golden, close(1e-2, 1e-5), 0.0, 0.0)
    assert off.worst is not None
    assert off.worst != (0,)
    assert off.beyond.tolist() == [i for i in off.beyond.tolist() if i]


@pytest.mark.parametrize(
    ("rule", "actual", "golden"),
    [
        (exact(), [1.0], [1.0 + 2.0**-23]),  # bits were asked for
        (addressed_rows(lambda inputs, n: torch.tensor([0]), TIGHT), [1.0], [1.0 + 2.0**-23]),
        (ratio_allclose(valid_rows=1), [1.0], [1.0 + 2.0**-23]),
        (lambda a, e, **_run: (False, "not mine"), [1.0], [1.0]),
    ],
)
def test_what_looks_at_more_than_elements_explains_nothing(rule: Callable, actual: list, golden: list):
    assert outside(torch.tensor(actual), torch.tensor(golden), rule, 1e-9, 0.0) is None


def test_integers_do_not_round():
    off = outside(torch.tensor([1, 2, 4]), torch.tensor([1, 2, 3]), TIGHT, 0.0, 0.0)
    assert off.worst == (2,)


ROWS = """
    @pl.jit
    def k(x: pl.Tensor[[64, 64], pl.FP32], y: pl.Out[pl.Tensor[[64, 64], pl.{dtype}]]):
        for i in pl.spmd(4, name_hint="rows"):
            t = pl.slice(x, [16, 64], [i * 16, 0])
            y = pl.assemble(y, {value}, [i * 16, 0])
        return y
"""
CAST = 'pl.cast({}, target_type=pl.BF16, mode="rint")'


def results(
    value: str, golden: Callable, dtype: str = "BF16", x: torch.Tensor | None = None, **how: float
) -> list[Finding]:
    """Findings of y = value, of x [64, 64] with one large element."""
    specs = [
        TensorSpec("x", [64, 64], FP32, init_value=one_large(4096).view(64, 64) if x is None else x),
        TensorSpec("y", [64, 64], {"BF16": BF16, "FP32": FP32}[dtype], is_output=True),
    ]

    def reference(v: dict) -> None:
        v["y"].copy_(golden(v["x"]))

    return check(kernel(ROWS.format(dtype=dtype, value=value)), specs, reference, **how)


@pytest.mark.parametrize(
    ("value", "golden"),
    [
        (CAST.format("pl.maximum(t, pl.neg(t))"), lambda x: x),  # the sign is lost
        (CAST.format("pl.maximum(t, 0.0)"), lambda x: x),
        (CAST.format("pl.mul(t, 1.5)"), lambda x: x),
        (CAST.format("pl.add(t, 0.1)"), lambda x: x),
        (CAST.format("pl.exp(pl.minimum(t, 1.0))"), lambda x: x.clamp(max=1.0).exp() - 1),
        (CAST.format("pl.row_expand_mul(t, pl.row_max(t))"), lambda x: x * x.amax(-1, keepdim=True) * 1.1),
        (CAST.format("pl.cast(pl.cast(t, pl.INT32), pl.FP32)"), lambda x: x),
    ],
)
def test_a_wrong_result_beside_a_large_element_is_an_error(value: str, golden: Callable):
    found = results(value, golden)
    assert [(f.kind, f.severity) for f in found] == [("wrong-result", "error")]
    assert "y[" in found[0].region
    assert "golden" in found[0].region


@pytest.mark.parametrize(
    ("value", "dtype", "golden"),
    [
        ("pl.mul(pl.mul(t, 0.1), 0.3)", "FP32", lambda x: (x.double() * 0.03).float()),
        ("pl.mul(pl.div(t, 3.0), 3.0)", "FP32", lambda x: x),
        ("pl.sub(pl.mul(t, 3.0), pl.mul(t, 2.0))", "FP32", lambda x: x),
        (CAST.format(f"pl.mul(pl.cast({CAST.format('t')}, pl.FP32), 1.1)"), "BF16", lambda x: 1.1 * x),
        (CAST.format(f"pl.exp(pl.cast({CAST.format('pl.minimum(t, 1.0)')}, pl.FP32))"), "BF16",
         lambda x: x.clamp(max=1).exp()),
    ],
)  # fmt: skip
def test_a_tolerance_that_rounding_alone_exceeds_is_a_warning(value: str, dtype: str, golden: Callable):
    (f,) = results(value, golden, dtype, rtol=1e-9, atol=0.0)
    assert (f.kind, f.severity) == ("tolerance", "warning")
    assert f"spacings of {'bfloat16' if dtype == 'BF16' else 'float32'} at its own value" in f.what


def test_the_worst_element_is_not_the_largest_error():
    """The large element is off by a rounding of 4096; the small one by its sign."""
    x = torch.full((64, 64), 0.5)
    x[0] = 1e6 + 1
    x[40, 3] = -0.25
    (f,) = results(CAST.format("pl.maximum(t, pl.neg(t))"), lambda x: x, x=x, rtol=1e-9, atol=0.0)
    assert f.region == "y[40, 3]: 0.25, golden -0.25"
    assert "block 2 of task 'rows'" in f.what


def test_an_output_of_another_shape_than_its_golden_is_wrong():
    seen = compared.Seen(Trace("a2a3interp"), Memory([], {}, {}, {}, {}))
    (f,) = compared.against_golden(seen, {"y": torch.zeros(2)}, {"y": torch.zeros(3)}, {}, 0.0, 0.0, {})
    assert f.kind == "wrong-result"
    assert "shape [2], the golden has [3]" in f.what


GROUPS = """
    @pl.jit
    def k(x: pl.Tensor[[64, 64], pl.FP32], y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
        t = pl.create_tensor([64, 64], dtype=pl.FP32)
        for i in pl.spmd(4, name_hint="times2"):
            a = pl.slice(x, [16, 64], [{load}, 0])
            t = pl.assemble(t, pl.mul(a, 2.0), [i * 16, 0])
        for i in pl.spmd(4, name_hint="add"):
            b = pl.slice(t, [16, 64], [{again}, 0])
            y = pl.assemble(y, pl.add(b, 1.0), [i * 16, 0])
        return y
"""


@pytest.mark.parametrize(
    ("load", "again", "line", "left"),
    [
        ("i * 8", "i * 16", "pl.slice(x", "nothing reads x[40:64, 0:64]"),
        ("i * 15", "i * 16", "pl.slice(x", "nothing reads x[61:64, 0:64]"),
        ("i * 16", "i * 8", "pl.slice(t", "nothing reads line 5[40:64, 0:64]"),
        ("i * 16", "0", "pl.slice(t", "nothing reads line 5[16:64, 0:64]"),
        ("i * 16", "i // 2 * 16", "pl.slice(t", "nothing reads line 5[32:64, 0:64]"),
        ("i * 16", "(3 - i) * 16", "y = pl.assemble(y", ""),  # every row is read: the trace cannot tell
    ],
)
def test_a_wrong_result_is_said_at_the_slice_that_is_shifted(load: str, again: str, line: str, left: str):
    specs = [
        TensorSpec("x", [64, 64], FP32, init_value=torch.rand(64, 64)),
        TensorSpec("y", [64, 64], FP32, is_output=True),
    ]

    def reference(v: dict) -> None:
        v["y"].copy_(2 * v["x"] + 1)

    (f,) = [
        f for f in check(kernel(GROUPS.format(load=load, again=again)), specs, reference) if f.kind == "wrong-result"
    ]
    assert line in open(f.place.file).read().splitlines()[f.line - 1]
    assert left.lower() in f.what.lower()


@pytest.mark.parametrize(
    ("a", "b", "texts"),
    [
        (444.256, math.nan, ("444", "nan")),
        (0.1234567, 0.1234561, ("0.123457", "0.123456")),
        (math.nan, math.nan, ("nan", "nan")),
        (123_456, 123_457, ("123456", "123457")),
    ],
)
def test_values_are_said_in_no_more_digits_than_tell_them_apart(a: float, b: float, texts: tuple[str, str]):
    """The last digits of a value are this machine's, and text is compared."""
    assert apart(a, b) == texts


TURNS = """
    @pl.jit
    def k(x: pl.Tensor[[64, 64], pl.FP32], y: pl.{way}[pl.Tensor[[64, 64], pl.FP32]]):
{body}
        return y
"""
BODIES = {
    "blocks": """
        for i in pl.spmd(3):
            y = pl.assemble(y, pl.mul(pl.slice(x, [16, 64], [i * 16, 0]), 2.0), [i * 16, 0])
    """,
    "with blocks": """
        with pl.spmd(3) as _tid:
            i = pl.get_block_idx()
            y = pl.assemble(y, pl.mul(pl.slice(x, [16, 64], [i * 16, 0]), 2.0), [i * 16, 0])
    """,
    "tasks": """
        for i in pl.parallel(3):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
                y = pl.assemble(y, pl.mul(pl.slice(x, [16, 64], [i * 16, 0]), 2.0), [i * 16, 0])
    """,
    "turns": """
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="all"):
            for i in pl.range(3):
                y = pl.assemble(y, pl.mul(pl.slice(x, [16, 64], [i * 16, 0]), 2.0), [i * 16, 0])
    """,
    "late": """
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="all"):
            for i in pl.range(1, 4):
                y = pl.assemble(y, pl.mul(pl.slice(x, [16, 64], [i * 16, 0]), 2.0), [i * 16, 0])
    """,
    "columns": """
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="all"):
            for i in pl.range(3):
                y = pl.assemble(y, pl.mul(pl.slice(x, [64, 16], [0, i * 16]), 2.0), [0, i * 16])
    """,
}


def unwritten(body: str, way: str = "Out") -> Finding:
    code = kernel(TURNS.format(way=way, body=textwrap.indent(textwrap.dedent(body).strip(), "        ")))
    specs = [
        TensorSpec("x", [64, 64], FP32, init_value=torch.rand(64, 64)),
        TensorSpec("y", [64, 64], FP32, is_output=True),
    ]
    (f,) = [f for f in check(code, specs) if f.kind == "unwritten-output"]
    return f


def line_of(f: Finding) -> str:
    return open(f.place.file).read().splitlines()[f.line - 1].strip()


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_not_written_is_said_at_the_loop_that_is_short(body: str):
    f = unwritten(body)
    assert line_of(f) in body
    assert line_of(f).startswith(("for i in", "with pl.spmd"))
    assert "1 turn more of this loop would" in f.what
    assert f.role == "written here"


def test_columns_of_an_updated_parameter_are_said_at_their_loop():
    assert line_of(unwritten(BODIES["columns"], "InOut")) == "for i in pl.range(3):"


@pytest.mark.parametrize(
    "body",
    [
        BODIES["blocks"].replace("[i * 16, 0])\n    ", "[i * 8, 0])\n    "),  # they overlap: the shift is wrong
        BODIES["turns"].replace("16, 64", "8, 64"),  # each writes half of its rows
        BODIES["blocks"].replace("pl.spmd(3)", "pl.spmd(1)"),  # one turn has no step
    ],
)
def test_what_no_turn_more_would_write_is_said_at_the_store(body: str):
    assert "pl.assemble(y" in line_of(unwritten(body))
