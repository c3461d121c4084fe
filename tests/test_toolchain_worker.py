"""Worker processes of real platforms: what they do when something goes wrong. With a stand-in for PyPTO's packages."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import fake_toolchain
import pytest
import torch

import kernels  # noqa: F401 - so that this process has its own pypto.language, loaded before the stand-in's is found

import pypto.language as pl  # isort: skip
from helpers import platforms
from helpers.errors import FaultError, InputError, KernelError, PlatformError, ToolchainError
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.source import texts
from helpers.run import run
from helpers.toolchain import near, process
from helpers.toolchain.cache import cache_folder
from helpers.tuning import tuned
from kernels import qkv_proj

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A toolchain that is all there: the stand-in. Its folder."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.delenv("PTOAS_ROOT", raising=False)
        yield folder
    process.stop()


@pytest.fixture
def site(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The stand-in as it was installed, with an empty cache; workers live on from test to test."""
    for left in ("compiled", "ran", "child"):
        (installed / left).unlink(missing_ok=True)
    fake_toolchain.install(installed)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYPTO_WORKBOOK_TIMEOUT", "60")
    sys.modules.pop("kernels_for_test", None)
    importlib.invalidate_caches()
    yield installed
    sys.modules.pop("kernels_for_test", None)


@pytest.fixture
def module(site: Path) -> ModuleType:
    return importlib.import_module("kernels_for_test")


def behave(site: Path, how: str) -> None:
    (site / "behaviour").write_text(how)


def arguments() -> list:
    return [torch.arange(32, dtype=torch.float32).reshape(4, 8), torch.zeros(4, 8), 3]


def works(module: ModuleType, platform: str = "a5sim") -> bool:
    x, out, n = arguments()
    ran = run(module.double, [x, out, n], platform=platform)
    return ran.platform == platform and bool((out == 2 * x).all())


def gone(pid: int) -> bool:
    """True once no process `pid` runs any more; waits for it."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def group_gone(group: int) -> bool:
    """True once every process of a group is gone, zombies apart."""
    for _ in range(100):
        listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
        left = [line.split() for line in listed.splitlines()]
        if not any(int(g) == group and not state.startswith("Z") for g, state in left):
            return True
        time.sleep(0.1)
    return False


def test_platforms_work_with_a_toolchain(site: Path):
    assert platforms.missing("a5sim") is None
    assert platforms.resolve("default") == "a2a3sim"
    assert "CANN" in platforms.missing("a5")


def test_what_there_is(site: Path):
    parts = platforms.parts()
    assert parts["assembler (ptoas)"] == str(site / "bin" / "ptoas")
    assert parts["g++-15"] == str(site / "bin" / "g++-15")
    assert parts["runtime (simpler)"] == "revision unknown"
    assert platforms.missing_compiler() is None


def test_a_kernel_runs_in_another_process(module: ModuleType):
    assert works(module)
    assert process._PROCESSES["a5sim"].popen.pid != os.getpid()


def test_two_platforms_at_once(module: ModuleType):
    assert works(module, "a5sim")
    assert works(module, "a2a3sim")
    assert len({p.popen.pid for p in process._PROCESSES.values()}) == 2
    assert works(module, "a5sim")
    process.stop("a2a3sim")


def test_arguments_by_name_and_options(module: ModuleType):
    x, out, n = arguments()
    run(module.double, {"out": out, "n": n, "x": x}, platform="a5sim", options={"device_id": 1, "level": 2})
    assert (out == 2 * x).all()


def test_arguments_are_checked_before_anything_starts(site: Path, module: ModuleType):
    with pytest.raises(InputError, match="argument 'x': shape"):
        run(module.double, [torch.zeros(4, 9), torch.zeros(4, 8), 3], platform="a5sim")
    assert not (site / "compiled").exists()


def test_inputs_stay_as_they_are(site: Path, module: ModuleType):
    behave(site, "overwrite input")
    assert works(module)


def test_a_tensor_that_is_read_and_written_is_refused_before_anything_runs(module: ModuleType):
    x = torch.ones(4, 8)
    with pytest.raises(InputError, match=r"'x' \(In\): it overlaps 'out' \(Out\)"):
        run(module.double, [x, x, 3], platform="a5sim")
    assert (x == 1).all()


@pytest.mark.parametrize(
    ("how", "says"), [("SIGSEGV", "was ended by SIGSEGV (it crashed)"), ("SIGKILL", "was ended by SIGKILL")]
)
def test_a_crash_is_an_error_and_the_next_run_works(site: Path, module: ModuleType, how: str, says: str):
    behave(site, how)
    x, out, n = arguments()
    with pytest.raises(ToolchainError) as caught:
        run(module.double, [x, out, n], platform="a5sim")
    assert says in str(caught.value)
    assert "runs double" in str(caught.value)
    assert f"| about to: {how}" in str(caught.value)
    assert (out == 0).all()  # the kernel had begun to write
    assert "a5sim" not in process._PROCESSES
    behave(site, "fine")
    assert works(module)


@pytest.mark.parametrize(("how", "says"), [("SIGSEGV", "SIGSEGV"), ("exit", "ended by itself with exit code 7")])
def test_a_crash_of_the_compiler(site: Path, module: ModuleType, how: str, says: str):
    behave(site, f"compiling: {how}")
    with pytest.raises(ToolchainError, match=says):
        near.compile_kernel(module.double, "a5sim")
    behave(site, "fine")
    near.compile_kernel(module.double, "a5sim")
    left = [f.name for f in (cache_folder() / "a5sim").iterdir()]
    assert len(left) == 1, left  # what the crash left half made has been swept away


def test_a_hang_is_ended_with_all_it_started(site: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch):
    assert works(module)
    behave(site, "hang")
    monkeypatch.setenv("PYPTO_WORKBOOK_TIMEOUT", "1")
    group = process._PROCESSES["a5sim"].popen.pid
    with pytest.raises(ToolchainError, match=r"ended after 1 s without a result \(PYPTO_WORKBOOK_TIMEOUT"):
        run(module.double, arguments(), platform="a5sim")
    assert gone(int((site / "child").read_text()))
    assert group_gone(group)
    monkeypatch.setenv("PYPTO_WORKBOOK_TIMEOUT", "60")
    behave(site, "fine")
    assert works(module)


def test_interrupting_ends_the_run(site: Path, module: ModuleType):
    behave(site, "compiling: hang")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        threading.Thread(target=interrupt_once, args=(site / "child",)).start()
        with pytest.raises(KeyboardInterrupt):
            near.compile_kernel(module.double, "a5sim")
    finally:
        signal.signal(signal.SIGINT, before)
    assert gone(int((site / "child").read_text()))
    behave(site, "fine")
    near.compile_kernel(module.double, "a5sim")


def interrupt_once(file: Path) -> None:
    """Ctrl-C for this process once a file is there."""
    while not (file.exists() and file.read_text()):
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)


def test_nothing_survives_the_process_that_asked(site: Path, tmp_path: Path):
    behave(site, "compiling: hang")
    code = f"""
import sys
sys.path[:0] = [{str(site)!r}, {str(ROOT)!r}]
from pathlib import Path
from helpers.toolchain import near
near.compile_file(Path({str(site / "kernels_for_test.py")!r}), "a5sim")
"""
    asker = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(300):
        if (site / "child").exists() and (site / "child").read_text():
            break
        time.sleep(0.1)
    child = int((site / "child").read_text())
    group = os.getpgid(child)
    assert group != os.getpgid(0)
    asker.kill()
    asker.wait()
    assert group_gone(group)


def test_a_refusal_names_the_line(site: Path, module: ModuleType):
    behave(site, "refuse")
    for attempt in (lambda: run(module.double, arguments(), platform="a5sim"),
                    lambda: near.compile_kernel(module.double, "a5sim")):  # fmt: skip
        with pytest.raises(KernelError) as caught:
            attempt()
        text = str(caught.value)
        assert "compiler refuses 'double' for a5sim: ParserSyntaxError: no such operation" in text
        assert "hint: write something else" in text
        assert "kernels_for_test.py:7:9" in text
        assert "out[:, :] = pl.mul(x, 2.0)" in text
    behave(site, "fine")
    assert works(module)


def test_the_assemblers_refusal_names_the_line_and_no_folder_that_is_gone(site: Path, module: ModuleType):
    behave(site, "assembler refuses")
    with pytest.raises(KernelError) as caught:
        near.compile_kernel(module.double, "a5sim")
    first, place, line, _ = str(caught.value).splitlines()
    assert first == "PyPTO's assembler (ptoas) refuses 'double' for a5sim, in 'doubled': rows of 4 bytes"
    assert place.endswith("kernels_for_test.py:7:9")
    assert line.strip() == "out[:, :] = pl.mul(x, 2.0)"
    assert "codegen_errors" not in str(caught.value)


def test_a_task_named_like_a_keyword_of_cpp_is_refused_by_name(site: Path, module: ModuleType):
    behave(site, "keyword")
    with pytest.raises(KernelError) as caught:
        near.compile_kernel(module.double, "a5sim")
    assert "the task 'double' has the name of a keyword of C++" in str(caught.value)
    assert "kernels_for_test.py:7:9" in str(caught.value)
    assert str(caught.value).endswith("fix: another name, such as double_task")
    assert list((cache_folder() / "a5sim").iterdir()) == []


def test_a_simulator_that_does_not_build_says_which_operation_it_lacks(site: Path, module: ModuleType):
    behave(site, "g++ refuses")
    with pytest.raises(PlatformError) as caught:
        run(module.double, arguments(), platform="a5sim")
    first, place, line, _ = str(caught.value).splitlines()
    assert first == (
        "a5sim cannot run 'double': its headers (PTO-ISA) have no TMULS of these tiles, in the code of 'doubled' "
        "(no member named 'row' in this tile)"
    )
    assert place.endswith("kernels_for_test.py:7:9")
    assert line.strip() == "out[:, :] = pl.mul(x, 2.0)"
    behave(site, "fine")
    assert works(module)


def test_a_kernel_that_fails_while_it_runs(site: Path, module: ModuleType):
    behave(site, "raise")
    x, out, n = arguments()
    with pytest.raises(FaultError, match="RuntimeError: task 3 failed on core 5") as caught:
        run(module.double, [x, out, n], platform="a5sim")
    assert "| about to: raise" in str(caught.value)
    assert (out == 0).all()
    behave(site, "fine")
    assert works(module)


def test_a_simulator_has_no_barrier_between_cores(site: Path, module: ModuleType):
    """PTO-ISA's is an empty function there: the kernel is not run."""
    behave(site, "barrier")
    x, out, n = arguments()
    with pytest.raises(PlatformError, match="'double' has a barrier between cores, and a5sim has none"):
        run(module.double, [x, out, n], platform="a5sim")
    assert (out == 0).all()
    assert not (site / "ran").exists()
    assert near.compile_kernel(module.double, "a5sim").cached


def test_a_simulator_has_more_room_unless_the_environment_says_how_much(
    site: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PTO2_RING_HEAP", "1024")
    monkeypatch.delenv("PTO2_RING_DEP_POOL", raising=False)
    assert works(module)
    assert (site / "rings").read_text() == "1024 1048576"


def test_a_folder_that_is_gone(site: Path, module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="the folder that this process works in is not there any more"):
        run(module.double, arguments(), platform="a5sim")


def test_an_installation_of_another_user(site: Path, module: ModuleType):
    behave(site, "another's")
    with pytest.raises(ToolchainError, match=r"writes to pypto/build/\.lock, and this user may not"):
        run(module.double, arguments(), platform="a5sim")


def test_a_full_disk(site: Path, module: ModuleType):
    behave(site, "compiling: full disk")
    with pytest.raises(ToolchainError, match=r"No space left.* XDG_CACHE_HOME"):
        near.compile_kernel(module.double, "a5sim")
    assert list((cache_folder() / "a5sim").iterdir()) == []
    behave(site, "fine")
    near.compile_kernel(module.double, "a5sim")


def test_a_cache_that_cannot_be_written(
    site: Path, module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ToolchainError, match=r"could not be kept .* XDG_CACHE_HOME"):
        run(module.double, arguments(), platform="a5sim")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert works(module)


def compiled(site: Path) -> int:
    return len((site / "compiled").read_text())


def test_what_is_compiled_is_kept(site: Path, module: ModuleType):
    assert works(module)
    x, out, _ = arguments()
    run(module.double, [x, out, 5], platform="a5sim")  # the number is no reason to compile again
    assert compiled(site) == 1
    process.stop()
    assert near.compile_kernel(module.double, "a5sim").cached
    assert compiled(site) == 1
    assert not near.compile_kernel(module.double, "a2a3sim").cached
    assert compiled(site) == 2


def test_the_cache_may_be_removed_at_any_time(site: Path, module: ModuleType):
    """PyPTO keeps what it has compiled in its process, and would not write the files again."""
    assert works(module)
    shutil.rmtree(cache_folder())
    assert works(module)
    assert not near.compile_kernel(module.double, "a2a3sim").cached
    assert compiled(site) == 3


def test_a_changed_source_is_compiled_anew(site: Path, module: ModuleType):
    near.compile_kernel(module.double, "a5sim")
    source = site / "kernels_for_test.py"
    source.write_text(source.read_text().replace("2.0", "2.0 "))
    with pytest.raises(KernelError, match=r"kernels_for_test.py has changed since it was loaded.*importlib.reload"):
        near.compile_kernel(module.double, "a5sim")
    importlib.reload(module)
    assert not near.compile_kernel(module.double, "a5sim").cached
    assert near.compile_kernel(module.double, "a5sim").cached
    assert compiled(site) == 2


def test_a_worker_whose_file_has_another_text_says_so(site: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch):
    """The file changes between the look at it here and the import there."""
    monkeypatch.setattr(texts.FileText, "changed", lambda _: False)
    texts.of(unwrap(module.double)[0])
    source = site / "kernels_for_test.py"
    source.write_text(source.read_text().replace("2.0", "3.0"))
    with pytest.raises(KernelError, match=r"kernels_for_test.py has changed since it was loaded"):
        near.compile_kernel(module.double, "a5sim")
    assert not (site / "compiled").exists()


def test_a_changed_toolchain_compiles_anew(
    site: Path, module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    near.compile_kernel(module.double, "a5sim")
    (tmp_path / "ptoas").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "ptoas").chmod(0o755)
    monkeypatch.setenv("PTOAS_ROOT", str(tmp_path))
    assert not near.compile_kernel(module.double, "a5sim").cached
    assert compiled(site) == 2


def test_a_sources_imports_count(site: Path, monkeypatch: pytest.MonkeyPatch):
    (site / "shapes_for_test.py").write_text("N = 4\n")
    source = site / "kernels_for_test.py"
    source.write_text("from shapes_for_test import N\n" + source.read_text().replace("[4, 8]", "[N, 8]"))
    module = importlib.import_module("kernels_for_test")
    monkeypatch.setitem(sys.modules, "shapes_for_test", sys.modules["shapes_for_test"])  # so that it goes after this
    near.compile_kernel(module.double, "a5sim")
    (site / "shapes_for_test.py").write_text("N = 4  # rows\n")
    with pytest.raises(KernelError, match=r"shapes_for_test.py has changed since it was loaded"):
        near.compile_kernel(module.double, "a5sim")
    importlib.reload(sys.modules["shapes_for_test"])
    importlib.reload(module)
    assert not near.compile_kernel(module.double, "a5sim").cached


def test_kernels_that_no_other_process_finds(site: Path):
    @pl.jit
    def local(x: pl.Tensor[[4, 8], pl.FP32], out: pl.Out[pl.Tensor[[4, 8], pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="a"):
            out[:, :] = pl.mul(x, 2.0)
        return out

    with pytest.raises(KernelError, match="inside a function"):
        near.compile_kernel(local, "a5sim")
    with pytest.raises(KernelError, match="not a kernel"):
        near.compile_kernel(print, "a5sim")


def test_a_kernel_that_is_not_what_its_file_has(site: Path):
    """One with other tile sizes lives in this process only: the compiler would be given the one of the file."""
    with pytest.raises(KernelError, match="'spmd' is not the one that "):
        near.compile_kernel(tuned(qkv_proj.spmd, TILE_K=128), "a5sim")


@pytest.mark.parametrize("how", ["compile", "run"])
def test_a_task_named_like_a_keyword_of_cpp(site: Path, how: str):
    source = site / "badly_named.py"
    source.write_text((site / "kernels_for_test.py").read_text().replace('"doubled"', '"double"'))
    named = importlib.import_module("badly_named")
    do = near.compile_kernel if how == "compile" else lambda k, platform: run(k, arguments(), platform=platform)
    with pytest.raises(KernelError, match="the task 'double' has the name of a keyword of C") as caught:
        do(named.double, "a5sim")
    assert caught.value.place.code.endswith('name_hint="double"):')
    sys.modules.pop("badly_named")


def test_all_kernels_of_a_file(site: Path):
    source = site / "kernels_for_test.py"
    source.write_text(source.read_text() + source.read_text().replace("double", "again"))
    assert [one.kernel for one in near.compile_file(source, "a5sim")] == ["double", "again"]
    assert [one.kernel for one in near.compile_file(source, "a5sim", "again")] == ["again"]
    with pytest.raises(InputError, match="has no kernel 'none'; it has: double, again"):
        near.compile_file(source, "a5sim", "none")
    behave(site, "refuse")
    refused = near.compile_file(source, "a2a3sim")
    assert [type(one) for one in refused] == [near.Refusal, near.Refusal]
    assert "no such operation" in str(refused[0].error)
    with pytest.raises(InputError, match="there is no file"):
        near.compile_file(site / "nowhere.py", "a5sim")
    (site / "empty.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="defines no kernel"):
        near.compile_file(site / "empty.py", "a5sim")
    (site / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(KernelError, match="cannot be imported: ModuleNotFoundError"):
        near.compile_file(site / "broken.py", "a5sim")


@pytest.mark.parametrize("limit", ["0", "-1", "soon", "nan"])
def test_a_time_limit_that_is_none(site: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch, limit: str):
    monkeypatch.setenv("PYPTO_WORKBOOK_TIMEOUT", limit)
    with pytest.raises(InputError, match="PYPTO_WORKBOOK_TIMEOUT"):
        run(module.double, arguments(), platform="a5sim")


def test_interpret_mode_is_not_compiled_for():
    for name in ("a5interp", "nothing"):
        with pytest.raises(PlatformError, match="no platform of PyPTO's compiler"):
            near.require_compiler(name)


def test_interpret_mode_needs_nothing_of_this():
    """In a process of its own: what importing the one entry that runs kernels imports."""
    code = "import sys, helpers.run; print([m for m in sys.modules if m.startswith('helpers.toolchain')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
