"""Dumps: values of tasks' arguments are those that the run had, selected as asked, written as PyPTO's runtime does."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import kernelgen
import pytest
import torch
from typer.testing import CliRunner

from golden import run_jit
from golden.spec import TensorSpec
from helpers import stages
from helpers.cli import app
from helpers.errors import InputError
from helpers.inside import differences
from helpers.interpret import dumps
from helpers.interpret.dumps import MANIFEST, Dumps
from helpers.run import run

# Whole dumps of them take seconds; of what is left out of these stages, minutes or gigabytes.
VERSIONS = [("qkv_proj", "split_k"), ("rope_kv_cache", "naive"), ("rope_kv_cache", "flat"),
            ("flash_attention", "separate"), ("flash_attention", "fused"), ("mlp", "accumulate"), ("mlp_32b", "mixed"),
            ("prefill", "per_token"), ("prefill", "chunked"), ("prefill_chunk", "chunked")]  # fmt: skip
NAN = {"equal_nan": True, "rtol": 0, "atol": 0}

SOURCE = """
N = 128

@pl.jit.inline
def plus(a: pl.Tensor[[N, N], pl.FP32], c: pl.Tensor[[N, N], pl.FP32]):
    pl.dump_tag(a)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="plus"):
        pl.store(pl.add(pl.load(a, [0, 0], [N, N]), 1.0), [0, 0], c)
    return c

@pl.jit.inline
def twice(a: pl.Tensor[[N, N], pl.FP32], c: pl.Tensor[[N, N], pl.FP32]):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="twice"):
        pl.store(pl.mul(pl.load(a, [0, 0], [N, N]), 2.0), [0, 0], c)
    return c

@pl.jit
def k(x: pl.Tensor[[N, N], pl.FP32], out: pl.Out[pl.Tensor[[N, N], pl.FP32]]):
    middle = pl.create_tensor([N, N], dtype=pl.FP32)
    pl.dump_tag(middle)
    middle = plus(x, middle)
    out = twice(middle, out)
    for i in pl.parallel(4):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="rows", dumps=[out]):
            out[i * 32 : i * 32 + 32, :] = pl.add(out[i * 32 : i * 32 + 32, :], middle[i * 32 : i * 32 + 32, :])
    return out
"""

ROLES = """
N = 128

@pl.jit
def k(x: pl.Tensor[[N, N], pl.FP32], y: pl.Tensor[[N, N], pl.FP32], z: pl.Tensor[[N, N], pl.FP32],
      a: pl.InOut[pl.Tensor[[N, N], pl.FP32]], b: pl.Out[pl.Tensor[[N, N], pl.FP32]],
      c: pl.Out[pl.Tensor[[N, N], pl.FP32]]):
    for i in pl.range(2):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="loop"):
            b[i * 64 : i * 64 + 64, :] = pl.add(a[i * 64 : i * 64 + 64, :], x[i * 64 : i * 64 + 64, :])
            a[i * 64 : i * 64 + 64, :] = pl.add(z[i * 64 : i * 64 + 64, :], y[i * 64 : i * 64 + 64, :])
    for i in pl.parallel(2):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="parallel"):
            c[i * 64 : i * 64 + 64, :] = pl.add(x[i * 64 : i * 64 + 64, :], 1.0)
    for i in pl.spmd(2, name_hint="again"):
        c[i * 64 : i * 64 + 64, :] = pl.add(x[i * 64 : i * 64 + 64, :], 2.0)
    return a, b, c
"""


def dumped(level: int, tasks: list | None = None, source: str = SOURCE) -> tuple[Dumps, torch.Tensor, torch.Tensor]:
    """What `k` dumps, its input and its output."""
    x, out = torch.arange(128 * 128, dtype=torch.float32).reshape(128, 128), torch.zeros(128, 128)
    options = {"enable_dump_args": level, "dump_tasks": tasks}
    return run(kernelgen.kernel(source), [x, out], platform="a2a3interp", options=options).dumps, x, out


def arguments(stage: stages.Stage) -> dict:
    return {
        s.name: s.create_tensor() if isinstance(s, TensorSpec) else s.to_python() for s in stage.specs(**stage.small)
    }


def window(memory: dict, d: dumps.Dump) -> torch.Tensor:
    return torch.as_strided(memory[d.tensor], d.shape, d.strides, d.offset)


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_each_dump_follows_from_the_one_before(name: str, version: str):
    """A task finds what the tasks before it have left, launch by launch, and the run writes what it writes without."""
    kernel, args = stages.find(name).versions[version], arguments(stages.find(name))
    plain = {n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in args.items()}
    memory = {n: v.clone().reshape(-1) for n, v in args.items() if isinstance(v, torch.Tensor)}
    run(kernel, plain, platform="a2a3interp")
    found = run(kernel, args, platform="a2a3interp", options={"enable_dump_args": 2})
    assert all(torch.equal(plain[n].view(torch.uint8), args[n].view(torch.uint8)) for n in memory)
    assert len({d.task for d in found.dumps}) == sum(d.runs for d in found.trace.dispatches)
    unknown = set()  # memory of the kernel's own, which many allocations of one line share a name for
    for d in found.dumps:
        assert d.data is not None
        if d.tensor not in memory:
            unknown.add(d.tensor)
            continue
        there = window(memory, d)
        if d.before:
            torch.testing.assert_close(d.data, there, **NAN)
        else:
            there.copy_(d.data)
    for n in {d.tensor for d in found.dumps} - unknown:
        torch.testing.assert_close(memory[n], args[n].reshape(-1), **NAN)


def test_marked_tensors():
    """A mark counts for the launches that follow it in the text, and not for a new value of the name."""
    found, x, _out = dumped(1)
    seen = [(d.task, d.name, d.tensor, d.role, d.stage[:5]) for d in found]
    assert seen[:3] == [
        (0, "plus", "x", "input", "befor"), (0, "plus", "line 20", "output", "after"),
        (2, "rows", "out", "inout", "befor"),
    ]  # fmt: skip
    assert {s[2] for s in seen[2:]} == {"out"}
    assert len(seen) == 2 + 4 * 2
    assert torch.equal(found[0].data, x)
    assert torch.equal(found[1].data, x + 1)


def test_roles_and_order_are_those_of_the_compiler():
    """As PyPTO e2d0f78a generates them: arguments in the order in which the region first uses them; what is only
    written is InOut in a loop of orchestration, and where an earlier task of the scope has written it."""
    k = kernelgen.kernel(ROLES)
    args = [torch.randn(128, 128) for _ in range(6)]
    found = run(k, args, platform="a2a3interp", options={"enable_dump_args": 2}).dumps
    inputs, both, output = "input", "inout", "output"

    def arguments(name: str) -> list:
        return sorted({(d.index, d.tensor, d.role) for d in found.of(found.of(name)[0].task)})

    loop = [("a", both), ("x", inputs), ("b", both), ("z", inputs), ("y", inputs)]
    assert arguments("loop") == [(i, *one) for i, one in enumerate(loop)]
    assert arguments("parallel") == [(0, "x", inputs), (1, "c", output)]
    assert arguments("again") == [(0, "x", inputs), (1, "c", both)]


def test_turns_that_run_together_are_dumped_one_after_the_other():
    found, x, out = dumped(2, ["rows"])
    want = (x + 1) * 2
    for task, d in enumerate(found.of(tensor="out", stage="before")):
        assert d.task == task + 2
        assert torch.equal(d.data, want)
        want[task * 32 : task * 32 + 32] += (x + 1)[task * 32 : task * 32 + 32]
        assert torch.equal(found.of(d.task, "out", stage="after")[0].data, want)
    assert torch.equal(out, want)


def test_selection():
    everything = dumped(2)[0]
    assert [d.task for d in dumped(2, ["twice"])[0]] == [1, 1]
    assert {d.task for d in dumped(2, [0, "4"])[0]} == {0, 4}
    assert [d.task for d in everything.of("plus")] == [d.task for d in everything.of(0)] == [0, 0]
    assert {d.tensor for d in everything.of("rows", role="inout")} == {"out"}
    assert len(everything.of(1, stage="after")) == 1
    assert everything[0:2].level == 2
    layout = dumped(3)[0]
    assert len(layout) == len(everything)
    assert sum(d.data is not None for d in layout) == len(dumped(1)[0])
    assert len(dumped(0)[0]) == 0


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda: dumped(2, ["nobody"]), "no task 'nobody' to dump: this run has 6 launches, counted from 0, of plus"),
        (lambda: dumped(2, [6]), "no task 6 to dump"),
        (lambda: dumped(7), "enable_dump_args is 7"),
        (lambda: dumped(2)[0].of("nobody"), "the task 'nobody'; there are: 0 plus, 1 twice, 2 rows"),
        (lambda: dumped(2)[0].of(0, "y"), "the tensor 'y'; there are: x, line 20"),
        (lambda: dumped(2)[0].of(stage="middle"), "the stage 'middle'; there are: before, after"),
        (lambda: dumped(2)[0].of(role="out"), "the role 'out'"),
    ],
)
def test_selections_that_cannot_be(do, says: str):
    with pytest.raises(InputError, match=says):
        do()


def test_differences(tmp_path: Path):
    """The first element that a task writes differently; what a task does not touch does not count."""
    x, out = torch.randn(128, 128), torch.zeros(128, 128)
    ran = run(kernelgen.kernel(SOURCE), [x, out], platform="a2a3interp", options={"enable_dump_args": 2})
    theirs = dumps.read(ran.dumps.write(tmp_path))
    assert differences(ran.trace, ran.dumps, theirs) == []
    payload, manifest = tmp_path / "args_dump" / "args.bin", json.loads((tmp_path / "args_dump" / MANIFEST).read_text())
    entry = next(e for e in manifest["args"] if e["task_name"] == "rows" and e["stage"] == "after_completion")
    raw = bytearray(payload.read_bytes())
    for element in (5 * 128 + 7, 6 * 128, 64 * 128):  # the first of these tasks writes rows 0 to 31
        raw[entry["bin_offset"] + 4 * element + 1] ^= 1
    payload.write_bytes(raw)
    (found,) = differences(ran.trace, ran.dumps, theirs)
    assert (found.ours.task, found.element, found.count) == (2, (5, 7), 2)
    assert str(found).startswith("task 2 'rows': inout 0 out after, FP32 [128, 128]: element [5, 7] is ")
    assert differences(ran.trace, ran.dumps, theirs, rtol=1e-3, atol=1e-3) == []


TYPES = ["FP32", "BF16", "FP16", "INT32", "INT16", "INT8", "UINT8", "INT64", "UINT16", "UINT32", "UINT64", "BOOL"]


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_comes_back_bit_for_bit(dtype: str, tmp_path: Path):
    from helpers.interpret.language import dtypes

    kind = dtypes.BY_NAME[dtype]
    data = torch.tensor([[0, 1, 7, 100], [3, 2, 1, 0]]).to(kind.torch)
    if kind.is_float:
        data[0, 0], data[1, 1] = float("nan"), float("-inf")
    if dtype in ("UINT32", "UINT16"):
        data[0, 3] = 2**kind.bits - 1
    one = dumps.Dump(3, "task", "x", 1, "inout", dumps.AFTER, dtype, (2, 4), (4, 1), 8, data)
    back = dumps.read(Dumps([one, replace(one, index=2)]).write(tmp_path))
    assert back[1].data.dtype == data.dtype
    torch.testing.assert_close(back[1].data, data, **NAN)
    assert (tmp_path / "args_dump" / "args.bin").stat().st_size == 8 * kind.bits // 8  # what is the same is there once
    shown = {f: getattr(back[0], f) for f in ("name", "tensor", "index", "role", "stage", "dtype", "shape", "strides")}
    assert shown == {f: getattr(one, f) for f in shown}
    assert back[0].offset == 8


def test_round_trip(tmp_path: Path):
    found = dumped(2)[0]
    folder = found.write(tmp_path / "run")
    assert folder == tmp_path / "run" / "args_dump"
    for where in (folder, tmp_path / "run", folder / "args_dump.json"):
        back = dumps.read(where)
        assert [repr(d) for d in back] == [repr(d) for d in found]
        assert all(torch.equal(a.data, b.data) for a, b in zip(back, found))
    again = dumps.read(back.write(tmp_path / "copy"))
    assert all(torch.equal(a.data, b.data) for a, b in zip(again, found))
    manifest = json.loads((folder / "args_dump.json").read_text())
    assert manifest["total_args"] == len(found) == manifest["before_dispatch"] + manifest["after_completion"]
    assert manifest["dump_args_level"] == 2
    assert manifest["bin_format"]["byte_order"] == "little_endian"
    plain = dumped(3, source=SOURCE.replace("    pl.dump_tag(a)\n", "").replace("    pl.dump_tag(middle)\n", "")
                   .replace(", dumps=[out]", ""))[0].write(tmp_path / "layout")  # fmt: skip
    assert json.loads((plain / "args_dump.json").read_text())["bin_file"] is None
    assert not (plain / "args.bin").exists()


def runtimes(folder: Path) -> dict:
    """Write a dump as PyPTO's runtime does, of a made-up run: no names, its own spelling of types, a number."""
    entry = {"func_id": [0], "kind": "tensor", "is_contiguous": True, "truncated": False, "overwritten": False}
    made = {
        "run_dir": "args_dump", "bin_format": {"type": "logical_contiguous", "byte_order": "little_endian"},
        "dump_args_level": 2, "total_args": 4, "before_dispatch": 3, "after_completion": 1, "input_args": 3,
        "output_args": 1, "inout_args": 0, "truncated_args": 0, "dropped_records": 0, "dropped_overwrite": 0,
        "bin_file": "args.bin",
        "args": [
            {"task_id": "0x0000000100000000", "arg_index": 0, "role": "input", "stage": "before_dispatch", **entry,
             "dtype": "FLOAT32", "shape": [2, 2], "strides": [4, 1], "start_offset": 0, "numel": 4, "bin_offset": 0,
             "bin_size": 16, "is_contiguous": False},
            {"task_id": "0x0000000100000000", "arg_index": 1, "role": "output", "stage": "after_completion", **entry,
             "dtype": "BFLOAT16", "shape": [3], "strides": [1], "start_offset": 2, "numel": 3, "bin_offset": 16,
             "bin_size": 6},
            {"task_id": "0x0000000100000000", "arg_index": 2, "role": "input", "stage": "before_dispatch", **entry,
             "kind": "scalar", "dtype": "INT64", "value": 41, "shape": [], "strides": [], "start_offset": 0,
             "numel": 1, "bin_offset": 0, "bin_size": 0},
            {"task_id": "0x0000000200000001", "arg_index": 0, "role": "input", "stage": "before_dispatch", **entry,
             "dtype": "INT32", "shape": [1000], "strides": [1], "start_offset": 0, "numel": 1000, "bin_offset": 22,
             "bin_size": 8, "truncated": True, "func_id": [0, 2]},
        ],
    }  # fmt: skip
    folder.mkdir(parents=True)
    payload = (
        struct.pack("<4f", 1.0, 2.0, 3.0, 4.5) + struct.pack("<3H", 0x3F80, 0x4000, 0xC040) + struct.pack("<2i", 1, 2)
    )
    (folder / "args.bin").write_bytes(payload)
    (folder / "args_dump.json").write_text(json.dumps(made))
    return made


def test_a_dump_of_the_runtime_is_read(tmp_path: Path):
    runtimes(tmp_path / "dfx_outputs" / "args_dump")
    found = dumps.read(tmp_path)
    assert [d.task for d in found] == [0, 0, 0, 1]
    assert found[3].functions == (0, 2)
    assert found[0].data.tolist() == [[1.0, 2.0], [3.0, 4.5]]
    assert found[0].strides == (4, 1)
    assert found[1].data.dtype == torch.bfloat16
    assert found[1].data.tolist() == [1.0, 2.0, -3.0]
    assert found[2].value == 41
    assert found[2].data is None
    assert found[3].truncated
    assert found[3].data is None
    assert found.left_out == 1
    assert found.of("0x0000000200000001")[0] is found[3]


def test_what_the_runtime_does_with_blocks_and_scopes(tmp_path: Path):
    """As a2a3sim (simpler 93adc386) wrote it: a pl.spmd of two blocks has each input twice, in any order, and a task id
    counts within its scope; deps.json has the order of submission."""
    folder = tmp_path / "dfx_outputs" / "args_dump"
    made = runtimes(folder)
    later = {**made["args"][0], "bin_offset": 30}
    made["args"] = [later, *made["args"][:2], {**made["args"][1], "task_id": "0x0000000200000000"}]
    (folder / "args_dump.json").write_text(json.dumps(made))
    (folder / "args.bin").write_bytes((folder / "args.bin").read_bytes() + struct.pack("<4f", 9, 9, 9, 9))
    found = dumps.read(tmp_path)
    assert [(d.task, d.index) for d in found] == [(0, 0), (0, 1), (1, 1)]
    assert found[0].data.tolist() == [[1.0, 2.0], [3.0, 4.5]]
    tasks = [{"task_id": str(2 << 32)}, {"task_id": str(1 << 32)}]
    (tmp_path / "dfx_outputs" / "deps.json").write_text(json.dumps({"tasks": tasks}))
    assert [(d.task, d.index) for d in dumps.read(folder)] == [(1, 0), (1, 1), (0, 1)]


def broken(change, tmp_path: Path) -> Path:
    """A dump of the runtime, with something wrong."""
    folder = tmp_path / "args_dump"
    made = runtimes(folder)
    change(made, folder)
    if (folder / "args_dump.json").exists():
        (folder / "args_dump.json").write_text(json.dumps(made))
    return folder


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda made, folder: (folder / "args_dump.json").unlink(), "has no args_dump.json"),
        (lambda made, folder: made.pop("args"), "it has no list 'args'"),
        (lambda made, folder: made["args"][1].pop("dtype"), "entry 1: it has no 'dtype'"),
        (lambda made, folder: made["args"][1].update(shape="3x"), "entry 1: it cannot be read"),
        (lambda made, folder: made["args"][0].update(dtype="FLOAT77"), "entry 0: the element type 'FLOAT77' is not"),
        (lambda made, folder: made["args"][0].update(role="reader"), "entry 0: role 'reader'"),
        (lambda made, folder: made["args"][0].update(bin_size=12), "12 bytes for .2, 2. of FP32, which take 16"),
        (lambda made, folder: made["args"][0].update(bin_offset=99), "values end at byte 115 of .*, which has 30"),
        (lambda made, folder: (folder / "args.bin").unlink(), "args.bin, which is not there"),
        (lambda made, folder: made.update(bin_format={"byte_order": "big_endian"}), "its bytes are big_endian"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_dump(change, says: str, tmp_path: Path):
    with pytest.raises(InputError, match=says):
        dumps.read(broken(change, tmp_path))


def test_a_manifest_that_is_half_written(tmp_path: Path):
    runtimes(tmp_path / "args_dump")
    file = tmp_path / "args_dump" / "args_dump.json"
    file.write_text(file.read_text()[:500])
    with pytest.raises(InputError, match="is no JSON"):
        dumps.read(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        dumps.read(tmp_path / "nowhere")


def test_the_harness_and_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """`run_jit` has them in its result, and writes them beside what else it writes; so does a call with a RunConfig."""
    monkeypatch.chdir(tmp_path)
    kernel = kernelgen.kernel(SOURCE)
    specs = [TensorSpec("x", [128, 128], torch.float32, init_value=1.0),
             TensorSpec("out", [128, 128], torch.float32, is_output=True)]  # fmt: skip
    cfg = {"platform": "a2a3interp", "enable_dump_args": 2, "dump_tasks": "twice"}
    result = run_jit(kernel, specs, compile_cfg={"output_dir": str(tmp_path / "work")}, runtime_cfg=cfg)
    assert [d.name for d in result.dumps] == ["twice", "twice"]
    assert len(dumps.read(tmp_path / "work")) == 2
    assert len(run_jit(kernel, specs, runtime_cfg={"platform": "a2a3interp"}).dumps) == 0
    from helpers.interpret.pypto.package import RunConfig

    config = RunConfig(platform="a2a3interp", enable_dump_args=1, save_kernels_dir=str(tmp_path / "made"))
    kernel(torch.ones(128, 128), torch.zeros(128, 128), config=config)
    assert len(dumps.read(tmp_path / "made")) == 10
    assert f"args_dump written to {tmp_path}/made/dfx_outputs/args_dump" in capsys.readouterr().out


def test_command(tmp_path: Path):
    """`workbook run STAGE --dump-task TASK` writes a folder that is read."""
    command = ["run", "rope_kv_cache", "--version", "flat", "--batch", "1", "--ctx", "5", "--platform", "a2a3interp"]
    done = CliRunner().invoke(app, [*command, "--dump-args", "2", "--dump-task", "0", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "rope_kv_cache_flat_a2a3interp"
    assert {d.task for d in dumps.read(folder)} == {0}
    assert "dumps in" in done.output
    wrong = CliRunner().invoke(app, [*command, "--dump-task", "nobody", "--out", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "no task 'nobody'" in wrong.output


def test_static_print(capsys: pytest.CaptureFixture):
    """A line prints once, however often it runs, and what PyPTO e2d0f78a prints, but for the path."""
    k = kernelgen.kernel("""
ROWS = 32

@pl.jit
def k(x: pl.Tensor[[128, 64], pl.FP32], n: pl.Scalar[pl.INT32], out: pl.Out[pl.Tensor[[128, 64], pl.FP32]]):
    pl.static_print("input:", x, ROWS, 42)
    for i in pl.spmd(4, name_hint="rows"):
        r = i * ROWS
        t = pl.load(x, [r, 0], [ROWS, 64])
        v = pl.load(x, [r, 0], [ROWS, 64], valid_shape=[5, 64])
        s = x[r : r + ROWS, :]
        pl.static_print(f"a tile {t} of {i}")
        pl.static_print(v, r + 1, n, s)
        out = pl.store(pl.mul(t, 2.0), [r, 0], out)
    return out
""")
    for _ in range(2):
        run(k, [torch.ones(128, 64), 3, torch.zeros(128, 64)], platform="a2a3interp")
    lines = [line.partition("]: ") for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines] == [
        "input: x: pl.Tensor[[128, 64], pl.FP32] 32: pl.Scalar[pl.INDEX] 42: pl.Scalar[pl.INDEX]",
        "a tile t: pl.Tile[[32, 64], pl.FP32, pl.Mem.Vec] of i: pl.Scalar[pl.INDEX]",
        "v: pl.Tile[[32, 64], pl.FP32, pl.Mem.Vec, pl.TileView(valid_shape=[5, 64])] r + 1 3: pl.Scalar[pl.INDEX] "
        "s: pl.Tensor[[32, 64], pl.FP32]",
    ]
    assert lines[0][0].startswith("static_print [")
    assert lines[0][0].endswith(":7")
