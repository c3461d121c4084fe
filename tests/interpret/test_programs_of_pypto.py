"""Ways of writing a kernel that PyPTO takes, most of them in a `@pl.program`: each runs, and is right."""

from __future__ import annotations

import kernelgen
import pytest
import torch
from kernelgen import same

from golden import TensorSpec
from golden import run as golden_run
from helpers.chips import chip
from helpers.errors import FaultError, InputError, KernelError
from helpers.interpret.call import interpret
from helpers.interpret.trace.trace import Trace


def run(program: object, *args: object, on: str = "a2a3") -> Trace:
    return interpret(program, list(args), f"{on}interp", chip(on))


def program(kernel: str, main: str, before: str = "", gives: str = "") -> object:
    """A program of an InCore function and the orchestration that calls it; each text begins with its parameters."""

    def function(name: str, kind: str, text: str, gives: str = "") -> str:
        parameters, _, body = text.partition("\n")
        lines = "\n".join(f"        {line}" for line in body.splitlines())
        return f"    @pl.function(type=pl.FunctionType.{kind})\n    def {name}(self, {parameters}){gives}:\n{lines}\n"

    parts = function("kernel", "InCore", kernel, gives) + "\n" + function("main", "Orchestration", main)
    return kernelgen.module(f"{before}\n\n@pl.program\nclass P:\n{parts}").P


def rows(n: int = 64) -> torch.Tensor:
    return torch.randn(n, 64, generator=torch.Generator().manual_seed(0))


X, Y = "x: pl.Tensor[[64, 64], pl.FP32]", "y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]"
CALL = f"{X}, {Y}\ny = self.kernel(x, y)\nreturn y"


# ---- names first bound in a loop ---------------------------------------------------------------------------


def escaping(loop: str, store: str = "pl.store(pl.add(t, t), [i * 16, 0], y)", after: str = "done", more: str = ""):
    kernel = f"{X}, {Y}\n{more}\n{loop}\n    t = pl.load(x, [i * 16, 0], [16, 64])\n    done = {store}\nreturn {after}"
    return program(kernel, CALL)


@pytest.mark.parametrize("turns", [4, 2])
def test_a_store_in_a_loop_is_read_after_it(turns: int):
    x, y = rows(), torch.zeros(64, 64)
    run(escaping(f"for i in pl.range({turns}):"), x, y)
    same(y[: turns * 16], 2 * x[: turns * 16])
    assert not y[turns * 16 :].any()


def test_it_is_read_after_loops_in_loops():
    kernel = f"""{X}, {Y}
for i in pl.range(2):
    for j in pl.range(2):
        t = pl.load(x, [i * 32 + j * 16, 0], [16, 64])
        if j > 0:
            done = pl.store(pl.add(t, t), [i * 32 + j * 16, 0], y)
        else:
            done = pl.store(t, [i * 32 + j * 16, 0], y)
last = pl.store(pl.load(x, [0, 0], [16, 64]), [48, 0], done)
return last"""
    x, y = rows(), torch.zeros(64, 64)
    run(program(kernel, CALL), x, y)
    want = x.clone()
    want[16:32] *= 2
    want[48:] = x[:16]
    same(y, want)


def test_with_no_turn_it_is_what_would_have_been_stored_to():
    kernel = f"""{X}, n: pl.Scalar[pl.INDEX], {Y}
for i in pl.range(n):
    done = pl.store(pl.load(x, [i * 16, 0], [16, 64]), [i * 16, 0], y)
last = pl.store(pl.load(x, [0, 0], [16, 64]), [16, 0], done)
return last"""
    x, y = rows(), torch.full((64, 64), 7.0)
    k = program(kernel, f"{X}, n: pl.Scalar[pl.INDEX], {Y}\ny = self.kernel(x, n, y)\nreturn y")
    run(k, x, 0, y)
    assert (y[:16] == 7).all()
    assert (y[32:] == 7).all()
    same(y[16:32], x[:16])


@pytest.mark.parametrize(
    ("loop", "store"),
    [
        ("for i in pl.range(4):", "pl.add(t, t)"),  # a tile: PyPTO finds nothing to begin with
        ("for i in pl.range(4):", "i + 1"),
    ],
)
def test_anything_else_ends_with_the_loop(loop: str, store: str):
    y = torch.zeros(64, 64)
    with pytest.raises(KernelError, match="'done' is read outside the scope that binds it"):
        run(escaping(loop, store), rows(), y)
    assert not y.any()


def test_what_a_region_promotes_ends_with_it():
    source = f"""
@pl.jit
def k({X}, {Y}):
    with pl.at(level=pl.Level.CORE_GROUP):
        for i in pl.range(4):
            done = pl.store(pl.load(x, [i * 16, 0], [16, 64]), [i * 16, 0], y)
    return done
"""
    with pytest.raises(KernelError, match="'done' is read outside"):
        kernelgen.run(source, rows(), torch.zeros(64, 64))


# ---- a plain while -----------------------------------------------------------------------------------------


def test_a_plain_while_carries_what_it_binds_again():
    kernel = f"""{X}, {Y}
i: pl.Scalar[pl.INDEX] = 0
s = pl.load(x, [0, 0], [16, 64])
while i < 3:
    t = pl.load(x, [i * 16, 0], [16, 64])
    s = pl.add(s, t)
    done = pl.store(s, [i * 16, 0], y)
    i = i + 1
done = pl.store(pl.load(x, [i * 16, 0], [16, 64]), [48, 0], done)
return done"""
    x, y = rows(), torch.zeros(64, 64)
    run(program(kernel, CALL), x, y)
    total = x[:16].clone()
    for i in range(3):
        total = total + x[i * 16 : i * 16 + 16]
        same(y[i * 16 : i * 16 + 16], total)
    same(y[48:], x[48:])


def test_a_plain_while_is_refused_in_a_jit_kernel():
    source = f"""
@pl.jit
def k({X}, {Y}):
    with pl.at(level=pl.Level.CORE_GROUP):
        i = 0
        while i < 4:
            y[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)
            i = i + 1
    return y
"""
    with pytest.raises(KernelError, match="a plain `while`"):
        kernelgen.run(source, rows(), torch.zeros(64, 64))


def test_the_condition_of_a_while_is_a_comparison():
    kernel = (
        f"{X}, {Y}\ni = 4\nwhile i:\n    i = i - 1\ny = pl.store(pl.load(x, [0, 0], [64, 64]), [0, 0], y)\nreturn y"
    )
    with pytest.raises(KernelError, match="`i` as a condition is not a comparison"):
        run(program(kernel, CALL), rows(), torch.zeros(64, 64))


# ---- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize("test", ["flag", "not flag"])
@pytest.mark.parametrize("named", [True, False], ids=["by name", "in place"])
def test_a_bool_is_a_condition(flag: int, test: str, named: bool):
    kernel = f"""{X}, flag: pl.Scalar[pl.BOOL], {Y}
t = pl.load(x, [0, 0], [64, 64])
if {test}:
    y = pl.store(pl.add(t, t), [0, 0], y)
else:
    y = pl.store(t, [0, 0], y)
return y"""
    given = "first = k == 1\ny = self.kernel(x, first, y)" if named else "y = self.kernel(x, k == 1, y)"
    main = f"{X}, k: pl.Scalar[pl.INT64], {Y}\n{given}\nreturn y"
    x, y = rows(), torch.zeros(64, 64)
    run(program(kernel, main), x, flag, y)
    same(y, 2 * x if bool(flag) == (test == "flag") else x)


@pytest.mark.parametrize("index", ["2", "k", "k + 1"])
def test_one_index_is_a_list_of_one(index: str):
    kernel = f"""{X}, at: pl.Tensor[[4], pl.INT32], k: pl.Scalar[pl.INDEX], {Y}
row = pl.read(at, {index})
y = pl.store(pl.load(x, [row * 16, 0], [16, 64]), [0, 0], y)
return y"""
    main = (
        f"{X}, at: pl.Tensor[[4], pl.INT32], {Y}\nk = 1 + pl.tensor.read(at, 0)\ny = self.kernel(x, at, k, y)\nreturn y"
    )
    x, y = rows(), torch.zeros(64, 64)
    run(program(kernel, main), x, torch.tensor([0, 2, 3, 1], dtype=torch.int32), y)
    start = {"2": 3, "k": 2, "k + 1": 3}[index] * 16
    same(y[:16], x[start : start + 16])


@pytest.mark.parametrize("use", ["r = pl.read(x, 2)", "pl.write(y, 2, 1.0)"])
def test_one_index_is_no_list_of_two(use: str):
    source = f"""
@pl.jit
def k({X}, {Y}):
    with pl.at(level=pl.Level.CORE_GROUP):
        {use}
        y = pl.store(pl.load(x, [0, 0], [64, 64]), [0, 0], y)
    return y
"""
    with pytest.raises(KernelError, match=r"of one index `2`, and `[xy]` has 2 axes"):
        kernelgen.run(source, rows(), torch.zeros(64, 64))
    kernel = f"{X}, {Y}\n{use}\nreturn y"
    with pytest.raises(FaultError, match=r"(of|into) Tensor [xy]\[64, 64\] FP32 with one index"):
        run(program(kernel, CALL), rows(), torch.zeros(64, 64))


@pytest.mark.parametrize("target", ["(yo,)", "[yo]", "yo"])
def test_a_yield_of_one_value_to_one_name(target: str):
    kernel = f"""{X}, {Y}
for i, (yi,) in pl.range(4, init_values=(y,)):
    t = pl.load(x, [i * 16, 0], [16, 64])
    {target} = pl.yield_(pl.store(pl.add(t, t), [i * 16, 0], yi))
return yo"""
    x, y = rows(), torch.zeros(64, 64)
    run(program(kernel, CALL), x, y)
    same(y, 2 * x)


# ---- where names come from ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decorator", ["function", "inline"])
@pytest.mark.parametrize("shape", ["[ROWS, COLS]", "SHAPE"])
def test_a_function_that_a_function_makes(decorator: str, shape: str):
    """`@pl.function` and `@pl.inline` see the names of the function around them, before those of the module. A list is
    one that PyPTO takes (python/pypto/language/parser/expr_evaluator.py, python_value_to_ir)."""
    kind = "@pl.function(type=pl.FunctionType.InCore)" if decorator == "function" else "@pl.inline"
    inside = "y = times2(x, y)" if decorator == "function" else "y = self.kernel(x, y)"
    kernel = f"{X}, {Y}\ny = times2(x, y)\nreturn y" if decorator == "inline" else f"{X}, {Y}\nreturn y"
    before = f"""
ROWS, COLS = 1, 1

def make(ROWS, COLS):
    SHAPE = [ROWS, COLS]

    {kind}
    def times2(x: pl.Tensor[[ROWS, COLS], pl.FP32], y: pl.Out[pl.Tensor[[ROWS, COLS], pl.FP32]]):
        t = pl.load(x, [0, 0], {shape})
        y = pl.store(pl.add(t, t), [0, 0], y)
        return y

    return times2


times2 = make(64, 64)
"""
    x, y = rows(), torch.zeros(64, 64)
    run(program(kernel, f"{X}, {Y}\n{inside}\nreturn y", before), x, y)
    same(y, 2 * x)


QUOTED = """
from __future__ import annotations
{module}

def make(rows, cols):
    @pl.program
    class P:
        @pl.function(type=pl.FunctionType.Opaque)
        def main(self, x: pl.Tensor[[rows, cols], pl.FP32], y: pl.Out[pl.Tensor[[rows, cols], pl.FP32]]):
            with pl.at(level=pl.Level.CORE_GROUP):
                y = pl.assemble(y, pl.add(x, x), [0, 0])
            return y

    return P


P = make(64, 64)
"""


@pytest.mark.parametrize("module", ["", "rows = 3"])
def test_quoted_annotations_know_the_function_around(module: str):
    x, y = rows(), torch.zeros(64, 64)
    run(kernelgen.module(QUOTED.format(module=module).lstrip("\n")).P, x, y)
    same(y, 2 * x)


def test_annotations_know_the_function_around_before_the_module():
    source = QUOTED.replace("from __future__ import annotations\n", "").format(module="rows = 3")
    x, y = rows(), torch.zeros(64, 64)
    run(kernelgen.module(source).P, x, y)
    same(y, 2 * x)


def test_a_name_of_nowhere_in_a_quoted_annotation_is_said():
    source = QUOTED.format(module="").replace("y: pl.Out[pl.Tensor[[rows,", "y: pl.Out[pl.Tensor[[lines,").lstrip("\n")
    with pytest.raises(KernelError, match=r"(?s)'lines' is not defined.*def main"):
        run(kernelgen.module(source).P, rows(), torch.zeros(64, 64))


JIT = """
from __future__ import annotations
{module}

def make(rows, cols):
    @pl.jit.inline
    def twice(t: pl.Tensor[[rows, cols], pl.FP32]):
        z = pl.add(t, t)
        return z

    {decorator}
    def k(x: pl.Tensor[[rows, cols], pl.FP32], y: pl.Out[pl.Tensor[[rows, cols], pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP):
            t = x[:, :]
            z = twice(t)
            y[:, :] = z
        return y

    return k


tall, wide = make(64, 16), make(16, 64)
"""


@pytest.mark.parametrize("module", ["", "rows = 3"])
@pytest.mark.parametrize("decorator", ["@pl.jit", "@pl.jit(auto_scope=True)"])
def test_quoted_annotations_of_a_jit_kernel_know_the_function_around(decorator: str, module: str):
    """PyPTO takes the extents of a `@pl.jit` from its arguments (python/pypto/jit/specializer.py, _build_params)."""
    made = kernelgen.module(JIT.format(module=module, decorator=decorator).lstrip("\n"))
    for kernel, shape in ((made.tall, (64, 16)), (made.wide, (16, 64))):
        x, y = torch.randn(shape), torch.zeros(shape)
        kernelgen.run(kernel, x, y)
        same(y, 2 * x)
    with pytest.raises(InputError, match="does not fit"):
        kernelgen.run(made.tall, torch.zeros(16, 64), torch.zeros(16, 64))


# ---- extents -----------------------------------------------------------------------------------------------

DYNAMIC = 'N, M = pl.dynamic("N"), pl.dynamic("M")'


@pytest.mark.parametrize("extent", ["N * 2", "2 * N", "N + M", "(N + 1) * 2 - 2", "4 * N // 2", "N + N"])
@pytest.mark.parametrize("wrong", [False, True])
def test_a_composite_extent(extent: str, wrong: bool):
    source = f"""
{DYNAMIC}

@pl.jit
def k(x: pl.Tensor[[N, 64], pl.FP32], z: pl.Tensor[[M], pl.FP32], y: pl.Out[pl.Tensor[[{extent}, 64], pl.FP32]]):
    n = pl.tensor.dim(x, 0)
    for i in pl.spmd(n // 16):
        y[n + i * 16 : n + i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)
    return y
"""
    x, y = rows(32), torch.zeros(65 if wrong else 64, 64)
    if wrong:
        with pytest.raises(InputError, match=r"argument 'y': axis 0 is 65, and .* is 64"):
            kernelgen.run(source, x, torch.zeros(32), y)
        assert not y.any()
    else:
        kernelgen.run(source, x, torch.zeros(32), y)
        same(y[32:], 2 * x)


def test_an_extent_that_only_composites_name_is_no_number():
    source = f"""
{DYNAMIC}

@pl.jit
def k(x: pl.Tensor[[N * 2, 64], pl.FP32], y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    for i in pl.spmd(N):
        y[i * 2 : i * 2 + 2, :] = pl.mul(x[i * 2 : i * 2 + 2, :], 2.0)
    return y
"""
    with pytest.raises(KernelError, match="no argument has an axis whose extent is N alone"):
        kernelgen.run(source, rows(), torch.zeros(64, 64))


FLAT = """x: pl.Tensor[[N], pl.FP32], y: pl.Out[pl.Tensor[[N, M], pl.FP32]]
x2 = pl.reshape(x, [64, 64])
y = self.kernel(x2, {n}y)
return y"""


def flat(n: str, parameter: str) -> object:
    kernel = f"""x: pl.Tensor[[N, M], pl.FP32], {parameter}y: pl.Out[pl.Tensor[[N, M], pl.FP32]]
y = pl.store(pl.load(x, [0, 0], [64, 64]), [0, 0], y)
return y"""
    return program(kernel, FLAT.format(n=n), DYNAMIC)


def test_one_dimension_of_two_extents_in_a_program():
    """PyPTO compares no extents of a program's parameters with each other: the name is only a name for it."""
    x, y = rows(), torch.zeros(64, 64)
    run(flat("", ""), x.flatten(), y)
    same(y, x)


def test_one_dimension_of_two_extents_is_no_number():
    with pytest.raises(InputError, match="argument 'y': axis 0 is 64, but 'x' has N = 4096"):
        run(flat("N, ", "n: pl.Scalar[pl.INDEX], "), rows().flatten(), torch.zeros(64, 64))


def test_extents_of_run_time_in_a_program():
    """In an annotation, and of a tensor that is an argument: the specializer of `@pl.jit` would have to name them."""
    kernel = f"{X}, {Y}\ny = pl.store(pl.load(x, [0, 0], [64, 64]), [0, 0], y)\nreturn y"
    main = f"""{X}, {Y}
n = pl.tensor.dim(x, 0)
half = n // 2
z: pl.Tensor[[half * 2, n], pl.FP32] = pl.create_tensor([half * 2, n], dtype=pl.FP32)
z = self.kernel(x, z)
y = self.kernel(z, y)
return y"""
    x, y = rows(), torch.zeros(64, 64)
    run(program(kernel, main), x, y)
    same(y, x)


def test_another_extent_than_the_annotation_says():
    main = f"{X}, {Y}\nz: pl.Tensor[[32, 64], pl.FP32] = pl.create_tensor([64, 64], dtype=pl.FP32)\n"
    main += "z = self.kernel(x, z)\ny = self.kernel(z, y)\nreturn y"
    kernel = f"{X}, {Y}\ny = pl.store(pl.load(x, [0, 0], [64, 64]), [0, 0], y)\nreturn y"
    with pytest.raises(FaultError, match=r"annotated pl.Tensor\[\[32, 64\], FP32\]"):
        run(program(kernel, main), rows(), torch.zeros(64, 64))


# ---- a tensor of which a part is valid ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "write", "where"),
    [
        ([64, 32], "y = pl.assemble(y, part, [8, 0])", (8, 0)),
        ([64, 32], "y[8:24, 8:12] = part", (8, 8)),
        ([16, 4], "y = pl.assemble(y, part, [0, 0])", (0, 0)),  # no larger than what is valid
        ([16, 4], "y[:, :] = part", (0, 0)),
    ],
)
def test_a_narrowed_tensor_is_written_as_far_as_it_is_valid(shape: list[int], write: str, where: tuple[int, int]):
    source = f"""
@pl.program
class P:
    @pl.function(type=pl.FunctionType.Opaque)
    def main(self, x: pl.Tensor[[16, 8], pl.FP32], y: pl.InOut[pl.Tensor[{shape}, pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP):
            part = pl.set_validshape(x, 16, 4)
            {write}
        return y
"""
    x, y = torch.randn(16, 8), torch.full(tuple(shape), 7.0)
    want, (i, j) = y.clone(), where
    want[i : i + 16, j : j + 4] = x[:, :4]
    run(kernelgen.module(source).P, x, y)
    same(y, want)


def test_a_tensor_as_it_is_is_still_not_copied():
    source = f"""
@pl.jit
def k({X}, {Y}):
    with pl.at(level=pl.Level.CORE_GROUP):
        y[:, :] = x
    return y
"""
    with pytest.raises(FaultError, match="copied without an operation"):
        kernelgen.run(source, rows(), torch.zeros(64, 64))


def test_a_row_of_which_no_row_is_valid():
    source = f"""
@pl.jit
def k({X}, {Y}):
    with pl.at(level=pl.Level.CORE_GROUP):
        t = pl.set_validshape(pl.load(x, [0, 0], [1, 64]), 0, 64)
        y = pl.store(pl.fillpad(t, pad_value=pl.PadValue.max), [0, 0], y)
    return y
"""
    y = torch.zeros(64, 64)
    kernelgen.run(source, rows(), y)
    assert torch.isinf(y[0]).all()


# ---- errors, and the golden's comparison -------------------------------------------------------------------


def test_an_error_inside_loops_of_orchestration_is_that_error():
    kernel = f"{X}, at: pl.Scalar[pl.INDEX], {Y}\nif at:\n    y = pl.store(pl.load(x, [0, 0], [16, 64]), [0, 0], y)\n"
    main = f"{X}, {Y}\nfor a in pl.range(2):\n    for b in pl.range(2):\n        for c in pl.range(1):\n"
    main += "            y = self.kernel(x, a + b + c, y)\nreturn y"
    with pytest.raises(KernelError, match="`at` as a condition is not a comparison"):
        run(program(kernel + "return y", main), rows(), torch.zeros(64, 64))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("off", [0.0, 1.0])
def test_outputs_of_one_byte_floats_are_compared(dtype: torch.dtype, off: float):
    name = {torch.float8_e4m3fn: "FP8E4M3FN", torch.float8_e5m2: "FP8E5M2"}[dtype]
    source = f"""
@pl.jit
def k(x: pl.Tensor[[16, 64], pl.FP32], y: pl.Out[pl.Tensor[[16, 64], pl.{name}]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        y = pl.assemble(y, pl.cast(x, pl.{name}), [0, 0])
    return y
"""
    specs = [
        TensorSpec("x", [16, 64], torch.float32, init_value=torch.randn),
        TensorSpec("y", [16, 64], dtype, is_output=True),
    ]

    def golden(t: dict[str, torch.Tensor]) -> None:
        t["y"].copy_(t["x"].to(dtype))
        t["y"][3, 5] = t["x"][3, 5].to(dtype).float() + 8 * off

    result = golden_run(kernelgen.kernel(source), specs, golden, runtime_cfg={"platform": "a5interp"})
    assert result.passed == (off == 0), result
    assert off == 0 or "(3, 5)" in str(result.error)


# ---- what annotations place, and launches that are skipped -------------------------------------------------


@pytest.mark.parametrize("memref", ["pl.MemRef(slots=2)", 'pl.MemRef("two", slots=2)'])
@pytest.mark.parametrize("slot", ["i % 2", "1"])
def test_a_named_allocation_of_slots(memref: str, slot: str):
    kernel = f"""{X}, {Y}
for i in pl.range(4):
    t: pl.Tile[[16, 64], pl.FP32, TWO[{slot}], pl.Mem.Vec] = pl.load(x, [i * 16, 0], [16, 64])
    y = pl.store(pl.add(t, t), [i * 16, 0], y)
return y"""
    x, y = rows(), torch.zeros(64, 64)
    trace = run(program(kernel, CALL, f"TWO = {memref}"), x, y)
    same(y, 2 * x)
    assert trace.dispatches[0].parts[0].chunk.peaks["UB"] == 3 * 16 * 64 * 4  # the slots, and the sum


def test_a_slot_that_a_named_allocation_has_not():
    kernel = f"{X}, {Y}\nt: pl.Tile[[64, 64], pl.FP32, TWO[2], pl.Mem.Vec] = pl.load(x, [0, 0], [64, 64])\n"
    with pytest.raises(KernelError, match="slot 2 of 'TWO', which has 2"):
        run(program(kernel + "y = pl.store(t, [0, 0], y)\nreturn y", CALL, "TWO = pl.MemRef(slots=2)"), rows(), rows())


def test_a_view_in_the_type_of_a_parameter():
    view = "pl.TensorView(valid_shape=[64, M], layout=pl.TensorLayout.ND)"
    kernel = f"""x: pl.Tensor[[64, 64], pl.FP32, {view}], {Y}
y = pl.store(pl.fillpad(pl.load(x, [0, 0], [64, 64])), [0, 0], y)
return y"""
    main = f"{X}, {Y}\npart = pl.slice(x, [64, 64], [0, 0], valid_shape=[64, 24])\ny = self.kernel(part, y)\nreturn y"
    x, y = rows(), torch.full((64, 64), 7.0)
    run(program(kernel, main, DYNAMIC), x, y)
    same(y[:, :24], x[:, :24])
    assert not y[:, 24:].any()


@pytest.mark.parametrize("gate", [0, 1])
@pytest.mark.parametrize(
    "end", ["return pl.store(t, [0, 0], y)", "z: pl.Tensor[[64, 64], pl.FP32] = pl.store(t, [0, 0], y)\nreturn z"]
)
def test_a_skipped_launch_gives_what_it_would_have_stored_to(gate: int, end: str):
    kernel = f"{X}, {Y}\nt = pl.add(pl.load(x, [0, 0], [64, 64]), 1.0)\n{end}"
    main = f"""{X}, gate: pl.Tensor[[16, 16], pl.INT32], {Y}
with pl.manual_scope():
    y, first = pl.spmd_submit(self.kernel, x, y, core_num=1)
    y, second = pl.spmd_submit(self.kernel, y, y, core_num=1, deps=[first], predicate=(gate[0, 0] > 0))
    y, third = pl.spmd_submit(self.kernel, y, y, core_num=1, deps=[second])
return y"""
    x, y = rows(), torch.zeros(64, 64)
    made = program(kernel, main, gives=" -> pl.Tensor[[64, 64], pl.FP32]")
    run(made, x, torch.full((16, 16), gate, dtype=torch.int32), y)
    same(y, x + 1.0 + 1.0 + 1.0 if gate else x + 1.0 + 1.0)


# ---- windows past the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
def test_a_window_of_orchestration_may_end_past_its_tensor(n: int):
    """What is read of it decides: PyPTO hands on the window as it is asked for."""
    kernel = f"""{X}, at: pl.Tensor[[4], pl.INT32], n: pl.Scalar[pl.INDEX], {Y}
for i in pl.range(n):
    row = pl.read(at, i)
    y = pl.store(pl.load(x, [row * 16, 0], [16, 64]), [i * 16, 0], y)
return y"""
    main = f"""{X}, at: pl.Tensor[[4], pl.INT32], n: pl.Scalar[pl.INDEX], {Y}
part = pl.slice(at, [4], [2])
y = self.kernel(x, part, n, y)
return y"""
    x, y = rows(), torch.zeros(64, 64)
    arguments = x, torch.tensor([9, 9, 3, 1], dtype=torch.int32), n, y
    if n == 3:
        with pytest.raises(FaultError, match="read outside 'at': axis 0 from 2 to 3 of extent 2"):
            run(program(kernel, main), *arguments)
    else:
        run(program(kernel, main), *arguments)
        same(y[:32], torch.cat([x[48:], x[16:32]]))


@pytest.mark.parametrize("use", ["t = pl.load(x, [0, 0], [64, 64])", "t = pl.add(x, 1.0)", "t = x[0:64, :]"])
def test_what_is_past_the_end_cannot_be_read(use: str):
    source = f"""
@pl.jit
def k({X}, {Y}):
    part = pl.slice(x, [64, 64], [32, 0])
    with pl.at(level=pl.Level.CORE_GROUP):
        {use.replace("x", "part", 1) if "x[" in use else use.replace("(x", "(part")}
        y[:, :] = pl.mul(t, 2.0)
    return y
""".replace("y[:, :] = pl.mul(t, 2.0)", "y = pl.store(t, [0, 0], y)" if "load" in use else "y[:, :] = pl.mul(t, 2.0)")
    with pytest.raises(FaultError, match="outside 'x': axis 0 from 0 to 64 of extent 32"):
        kernelgen.run(source, rows(), torch.zeros(64, 64))


# ---- extents that are no INDEX -----------------------------------------------------------------------------


def sized(after: str) -> object:
    """A program that makes a tensor of extents read from memory; its function doubles what it is given."""
    kernel = f"{X}, {Y}\nt = pl.load(x, [0, 0], [64, 64])\ny = pl.store(pl.add(t, t), [0, 0], y)\nreturn y"
    return program(kernel, f"""{X}, n: pl.Tensor[[2], pl.INT64], {Y}
rows = pl.tensor.read(n, [0])
columns = pl.tensor.read(n, [1])
t = pl.create_tensor([rows, columns], dtype=pl.FP32)
{after}
return y""")  # fmt: skip


def test_a_function_with_types_of_its_own_takes_a_tensor_with_extents_of_any_type():
    x, y = rows(), torch.zeros(64, 64)
    run(sized("t = self.kernel(x, t)\ny = self.kernel(t, y)"), x, torch.tensor([64, 64]), y)
    same(y, 4 * x)


REGION = "with pl.at(level=pl.Level.CORE_GROUP):\n    y = pl.assemble(y, pl.mul({}, 2.0), [0, 0])"


@pytest.mark.parametrize(
    "before",
    ["u = t", "u = pl.slice(t, [64, 64], [0, 0])", "u = t[0:64, :]", ""],
)
def test_a_region_does_not(before: str):
    body = before + "\n" + REGION.format("u[:, :]" if before else "t[:, :]")
    with pytest.raises(KernelError, match="an extent of INT64: PyPTO's assembler wants INDEX there"):
        run(sized(body), rows(), torch.tensor([64, 64]), torch.zeros(64, 64))


def test_a_region_takes_what_such_a_function_returns():
    x, y = rows(), torch.zeros(64, 64)
    run(sized("t = self.kernel(x, t)\n" + REGION.format("t[:, :]")), x, torch.tensor([64, 64]), y)
    same(y, 4 * x)
