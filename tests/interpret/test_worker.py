"""`pypto.runtime.ChipWorker` and what is compiled for it, as PyPTO's manual uses them (execution, Run)."""

from __future__ import annotations

from pathlib import Path

import kernelgen
import pytest
import torch

from helpers.errors import InputError, KernelError, PlatformError
from helpers.interpret import running_script
from helpers.interpret.pypto import package, script
from helpers.interpret.pypto.chip_worker import ChipWorker
from helpers.interpret.pypto.package import RunConfig

SOURCE = """
@pl.jit
def k(a: pl.Tensor[[32, 64], pl.FP32], b: pl.Tensor[[32, 64], pl.FP32], out: pl.Out[pl.Tensor[[32, 64], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        out[:, :] = pl.add(a[:, :], b[:, :])
    return out
"""


@pytest.fixture
def made():
    """The kernel compiled for A5, a worker there, and two arguments."""
    with running_script.begun(False, None) as running:
        compiled = package.compile_(kernelgen.kernel(SOURCE).lower(), platform="a5sim")
        with ChipWorker(config=RunConfig(platform="a5sim")) as worker:
            yield compiled, worker, torch.randn(32, 64), torch.randn(32, 64), running


def test_a_tensor_that_stays(made):
    compiled, worker, a, b, running = made
    kept, out = worker.alloc_tensor((32, 64), torch.float32, init=b), torch.zeros(32, 64)
    right = a + b
    b.zero_()  # what was uploaded is a copy
    worker.run(compiled, a, kept, out)
    assert torch.equal(out, right)
    assert torch.equal(worker.register(compiled)(a, kept), right)  # without its output, this is made
    assert {t.platform for t in running.traces} == {"a5interp"}  # where it was compiled for


def test_outputs_of_the_extents_that_it_was_compiled_for():
    """A bare pl.Tensor has the extents of what was passed to compile or lower; without its output, it is made."""
    kernel = kernelgen.kernel(SOURCE.replace("[[32, 64], pl.FP32]", ""))
    a, b = torch.randn(32, 64), torch.randn(32, 64)
    right, given = a + b, (a, b, torch.zeros(32, 64))
    for compiled in (kernel.compile(*given), package.compile_(kernel.lower(*given), platform="a5interp")):
        assert torch.equal(compiled(a, b), right)
    with pytest.raises(InputError, match="whose extents the call must say"):
        kernel.compile()(a, b)


def test_bytes_there_and_back(made):
    _, worker, a, b, _ = made
    kept = worker.alloc_tensor((32, 64), torch.float32)
    worker.copy_to(kept.data_ptr, a.data_ptr(), kept.nbytes)
    worker.copy_from(b.data_ptr(), kept.data_ptr, kept.nbytes)
    assert torch.equal(a, b)
    with pytest.raises(InputError, match="are no tensor of this worker"):
        worker.copy_from(b.data_ptr(), kept.data_ptr, kept.nbytes + 1)
    with pytest.raises(InputError, match="are no tensor of this worker"):
        worker.copy_to(a.data_ptr(), b.data_ptr(), 4)


def test_what_is_refused(made):
    compiled, worker, a, b, _ = made
    kept, out, handle = (
        worker.alloc_tensor((32, 64), torch.float32, init=b),
        torch.zeros(32, 64),
        worker.register(compiled),
    )
    worker.free_tensor(kept)
    with pytest.raises(InputError, match=r"\[32, 64\] torch.float32 was freed"):
        worker.run(compiled, a, kept, out)
    with pytest.raises(InputError, match="freed before"):
        worker.free_tensor(kept)
    with pytest.raises(InputError, match=r"init is \[32, 64\] torch.float32, not \[64, 32\]"):
        worker.alloc_tensor((64, 32), torch.float32, init=b)
    with pytest.raises(InputError, match="compiled for 'a5sim', and the ChipWorker is on 'a2a3'"):
        ChipWorker(config=RunConfig(platform="a2a3")).register(compiled)
    handle.unregister()
    with pytest.raises(InputError, match="was unregistered"):
        handle(a, b, out)
    worker.close()
    with pytest.raises(InputError, match="the worker is closed"):
        worker.run(compiled, a, b, out)
    assert not out.any()


def test_the_strategy_that_scripts_ask_for():
    """PyPTO's examples pass it (examples/models/04_paged_attention.py); it changes nothing here."""
    served = {package.BUILDERS[name]()["OptimizationStrategy"] for name in ("pypto.ir", "pypto.ir.pass_manager")}
    assert [RunConfig(strategy=s.Default).strategy.value for s in served] == ["Default"]


def test_passes_are_not_there_to_read():
    with pytest.raises(KernelError, match=r"lower\(\)\.as_python: interpret mode has no compiler passes"):
        kernelgen.kernel(SOURCE).lower().as_python()


def test_what_scripts_ask_of_functions_and_of_the_package():
    import pypto

    program = kernelgen.module(
        "@pl.program\nclass P:\n    @pl.function(type=pl.FunctionType.Orchestration)\n"
        "    def main(self, x: pl.Tensor[[16, 16], pl.FP32]):\n        return x\n"
    ).P
    assert {f.name: f.func_type.name for f in program.functions.values()} == {"main": "Orchestration"}
    assert isinstance(program, pypto.ir.Program)
    assert isinstance(program.main, pypto.ir.Function)
    assert not hasattr(kernelgen.kernel(SOURCE), "func_type")


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("from pypto.ir.compiled_program import DistributedRun", "cannot import name 'DistributedRun'"),
        ("import pypto.backend.soc", "No module named 'pypto.backend.soc'"),
        ("import pypto; pypto.Soc", "module 'pypto' has no attribute 'Soc'"),
        ("import pypto.runtime; pypto.runtime.trace", "module 'pypto.runtime' has no attribute 'trace'"),
        ("from pypto.runtime import ChipWorker; ChipWorker().dlopen_count", "'ChipWorker' object has no attribute"),
        ("import pypto.language as pl; pl.dynamic(3)", r"pl.dynamic\(3\): the name of a dimension is an identifier"),
    ],
)
def test_a_name_that_is_not_served_is_told_at_its_line(tmp_path: Path, line: str, at: str):
    file = tmp_path / "script.py"
    file.write_text(f"x = 1\n{line}\n")
    with pytest.raises(InputError, match=at) as e, script.told_at_its_line(file):
        script.run_script(file, [])
    assert f"{file}:2:" in str(e.value)
    assert ("which interpret mode does not have" in str(e.value)) == ("dynamic" not in line)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("a5", "config= takes a RunConfig, not 'a5'"),
        (RunConfig(platform="a7"), "platform 'a7'"),
        (RunConfig(platform="a2a3_sim"), "platform 'a2a3_sim'"),
    ],
)
def test_a_platform_that_is_none_is_told_in_a_script(config: object, said: str):
    k = kernelgen.kernel(SOURCE)
    with running_script.begun(False, None), pytest.raises((InputError, PlatformError), match=said):
        k(*[torch.zeros(32, 64) for _ in range(3)], config=config)


def test_what_a_refused_kernel_raises_is_what_scripts_catch():
    from pypto.backend.pto_backend import PartialCodegenError

    rebound = SOURCE.replace("[[32, 64], pl.FP32]", "").replace(
        "out[:, :] = pl.add(a[:, :], b[:, :])", "out = pl.add(a, b)"
    )
    with pytest.raises(PartialCodegenError, match="which has one axis, leaves its region"):
        kernelgen.run(rebound, *[torch.zeros(64) for _ in range(3)])
    with pytest.raises(PartialCodegenError, match="print"):
        kernelgen.run(SOURCE.replace("return out", "print(out)"), *[torch.zeros(32, 64) for _ in range(3)])
