"""What is passed to a kernel is checked before anything runs: InputError, and every tensor as it was."""

from __future__ import annotations

import pytest
import torch
from kernelgen import kernel, run

from helpers.errors import InputError, KernelError
from helpers.interpret.call import arrange, check
from helpers.interpret.lowering.lower import compile_kernel

K = kernel("""
ROWS = pl.dynamic("ROWS")
COLS = pl.dynamic("COLS")


@pl.jit
def k(
    x: pl.Tensor[[ROWS, 8], pl.FP32],
    y: pl.Tensor[[ROWS, COLS], pl.BF16],
    i: pl.Tensor[[4], pl.INT32],
    s: pl.InOut[pl.Tensor[[2, 8], pl.FP32]],
    o: pl.Out[pl.Tensor[[2, 8], pl.FP32]],
    n: pl.Scalar[pl.INT32],
    f: pl.Scalar[pl.FP32],
    u: pl.Scalar[pl.UINT8] = 7,
):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.add(pl.mul(x[0:2, :], f), u)
        s[:, :] = pl.add(s[:, :], n)
    return o
""")


def arguments() -> dict:
    g = torch.Generator().manual_seed(0)
    return {
        "x": torch.randn(6, 8, generator=g),
        "y": torch.randn(6, 3, generator=g).bfloat16(),
        "i": torch.arange(4, dtype=torch.int32),
        "s": torch.randn(2, 8, generator=g),
        "o": torch.zeros(2, 8),
        "n": 3,
        "f": 0.5,
        "u": 9,
    }


def refused(match: str, **changed) -> None:
    """The call with these arguments changed is refused with this message, and changes nothing."""
    a = arguments() | changed
    copies = {n: v.clone() for n, v in a.items() if isinstance(v, torch.Tensor) and v.device.type == "cpu"}
    for given in (a, list(a.values())):
        with pytest.raises(InputError, match=match):
            run(K, **given) if isinstance(given, dict) else run(K, *given)
    for n, v in copies.items():
        assert torch.equal(a[n], v), n


def test_a_right_call_by_name_and_by_position():
    a, b = arguments(), arguments()
    run(K, **a)
    run(K, *b.values())
    want = arguments()
    for got in (a, b):
        assert torch.equal(got["o"], want["x"][:2] * 0.5 + 9)
        assert torch.equal(got["s"], want["s"] + 3)
        assert all(torch.equal(got[n], want[n]) for n in "xyi")


def test_a_default_may_be_left_out():
    a = arguments()
    del a["u"]
    run(K, **a)
    assert torch.equal(a["o"], a["x"][:2] * 0.5 + 7)
    b = list(arguments().values())[:-1]
    run(K, *b)
    assert torch.equal(b[4], a["o"])


@pytest.mark.parametrize(
    ("name", "dtype", "said"),
    [
        ("x", torch.float64, "FP32 is expected, not torch.float64"),
        ("x", torch.bfloat16, "FP32"),
        ("y", torch.float16, "BF16"),
        ("i", torch.int64, "INT32"),
        ("i", torch.uint32, "INT32"),
        ("o", torch.int32, "FP32"),
        ("x", torch.complex64, "FP32"),
    ],
)
def test_dtype(name: str, dtype: torch.dtype, said: str):
    a = arguments()[name]
    refused(f"kernel 'k', argument '{name}'.*{said}", **{name: torch.zeros(a.shape, dtype=dtype)})


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("x", (8,), "rank 2 is expected"),
        ("x", (1, 6, 8), "rank 2 is expected"),
        ("x", (6, 9), "axis 1 must be 8"),
        ("i", (5,), "axis 0 must be 4"),
        ("o", (2, 7), "axis 1 must be 8"),
        ("o", (3, 8), "axis 0 must be 2"),
        ("i", (), "rank 1 is expected"),
    ],
)
def test_shape(name: str, shape: tuple, said: str):
    refused(f"argument '{name}'.*{said}", **{name: torch.zeros(shape, dtype=arguments()[name].dtype)})


def test_dynamic_dimensions_agree():
    refused("argument 'y'.*axis 0 is 5, but 'x' has ROWS = 6", y=torch.zeros(5, 3, dtype=torch.bfloat16))
    refused("argument 'x'.*ROWS.*empty", x=torch.zeros(0, 8), y=torch.zeros(0, 3, dtype=torch.bfloat16))
    refused("argument 'y'.*COLS.*empty", y=torch.zeros(6, 0, dtype=torch.bfloat16))


def test_contiguous():
    refused(r"argument 'x'.*not contiguous \(strides \(1, 6\)\)", x=torch.zeros(8, 6).T)
    refused("argument 'o'.*not contiguous", o=torch.zeros(2, 16)[:, ::2])
    refused("argument 's'.*not contiguous", s=torch.zeros(1, 8).expand(2, 8))


def test_what_torch_would_not_let_the_kernel_write():
    with torch.inference_mode():
        made = torch.ones(2, 8)
        run(K, **arguments() | {"s": made})
    assert (made == 4).all()
    refused("argument 's'.*made in inference mode", s=made)
    watched = torch.zeros(2, 8, requires_grad=True)
    refused("argument 'o'.*torch watches it for gradients", o=watched)
    with torch.no_grad():
        run(K, **arguments() | {"o": watched})
    assert watched.any()
    run(K, **arguments() | {"x": torch.zeros(6, 8, requires_grad=True)})


def test_layout():
    with pytest.raises(InputError, match=r"argument 'x'.*torch.sparse_coo; pass v.to_dense\(\)"):
        run(K, **arguments() | {"x": torch.zeros(6, 8).to_sparse()})


def test_a_window_of_a_larger_tensor_is_fine():
    a = arguments()
    store = torch.randn(10, 8)
    kept = store.clone()
    a["o"], a["x"] = store[3:5], torch.cat([torch.ones(1, 8), a["x"]])[1:]
    run(K, **a)
    assert torch.equal(store[3:5], a["x"][:2] * 0.5 + 9)
    assert torch.equal(store[:3], kept[:3])
    assert torch.equal(store[5:], kept[5:])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("x", 1.0, "pl.Tensor.*not float"),
        ("x", [[1.0]], "not list"),
        ("x", None, "not NoneType"),
        ("n", torch.tensor(3), "a number is expected.*not Tensor"),
        ("n", True, "a number is expected"),
        ("n", "3", "a number is expected"),
        ("n", 3.0, "an integer is expected"),
        ("n", 2**31, "does not fit INT32"),
        ("n", -(2**31) - 1, "does not fit INT32"),
        ("u", 256, "does not fit UINT8"),
        ("u", -1, "does not fit UINT8"),
        ("f", None, "a number is expected"),
    ],
)
def test_tensor_or_scalar(name: str, value: object, said: str):
    refused(f"argument '{name}'.*{said}", **{name: value})


@pytest.mark.parametrize(("name", "value"), [("n", 2**31 - 1), ("n", -(2**31)), ("u", 255), ("u", 0), ("f", 2)])
def test_scalars_at_the_edge(name: str, value: int):
    check(compile_kernel(K), arrange(compile_kernel(K), arguments() | {name: value}))


def test_how_many():
    a = arguments()
    values = list(a.values())
    with pytest.raises(InputError, match=r"takes 8 arguments \(x, y, i, s, o, n, f, u\), got 6"):
        run(K, *values[:6])
    with pytest.raises(InputError, match=r"takes 8 arguments.*got 9"):
        run(K, *values, 1)
    with pytest.raises(InputError, match=r"missing f; unknown g"):
        run(K, **{("g" if n == "f" else n): v for n, v in a.items()})
    assert all(torch.equal(a[n], v) for n, v in arguments().items() if isinstance(v, torch.Tensor))


def test_shared_memory():
    both = torch.zeros(3, 8)
    refused(r"argument 's' \(InOut\): it overlaps 'o' \(Out\) in memory", s=both[0:2], o=both[1:3])
    refused("overlaps 'o'", s=both[0:2], o=both[0:2])
    a = arguments() | {"s": both[0:2], "o": torch.zeros(5, 8)[3:5]}
    run(K, **a)  # two halves of different tensors


def test_neighbours_do_not_share_memory():
    both = torch.zeros(4, 8)
    run(K, **(arguments() | {"s": both[0:2], "o": both[2:4]}))
    assert (both[0:2] == 3).all()


def test_another_device():
    refused("argument 'x'.*on meta; pass a CPU tensor", x=torch.empty(6, 8, device="meta"))


def test_what_is_no_kernel():
    with pytest.raises(KernelError, match="decorate the function"):
        run(lambda x: x, torch.zeros(2))
    with pytest.raises(KernelError, match="decorate the function"):
        run(3, torch.zeros(2))


def test_what_compile_gives_can_be_called():
    a, b = arguments(), arguments()
    compiled = K.compile()
    compiled(*a.values(), config=None)
    K(*b.values())
    assert torch.equal(a["o"], b["o"])
    assert a["o"].any()
    assert compiled.output_dir.is_dir()
    assert not list(compiled.output_dir.iterdir())
    for ask in (lambda: compiled.program, lambda: K.lower(*a.values()).as_python()):
        with pytest.raises(KernelError, match=r"kernel 'k'.*no compiler passes"):
            ask()


@pytest.mark.parametrize("launch", ["with pl.spmd(1) as tid:\n        {call}", "{call}"])
def test_a_kernel_in_cpp_is_refused(launch: str):
    source = """
@pl.jit.extern(source="f.cpp")
def f(x: pl.Tensor[[16, 16], pl.FP32], o: pl.Out[pl.Tensor[[16, 16], pl.FP32]]): ...


@pl.jit
def k(x: pl.Tensor[[16, 16], pl.FP32], o: pl.Out[pl.Tensor[[16, 16], pl.FP32]]):
    """
    x = torch.zeros(16, 16)
    with pytest.raises(KernelError, match=r"'f' is a C\+\+ kernel \(@pl.jit.extern\).*\n  at "):
        run(source.rstrip(" ") + "    " + launch.format(call="o = f(x, o)") + "\n", x, x)
