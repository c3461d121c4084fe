"""What a real run records, as the trace and the profile that interpret mode gives. The records are written here, in the
form of PyPTO's runtime (simpler, docs/dfx/dep-gen.md and docs/dfx/chip-swimlane-profiling.md)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from helpers.errors import InputError, ToolchainError
from helpers.interpret.trace import depend
from helpers.plots.core_lanes import swimlane
from helpers.profile import profile, time_tables
from helpers.profile.export import chrome_trace
from helpers.toolchain import artifacts, records

PTO = """module attributes {pto.target_arch = "a5"} {
  func.func @NAME(%arg0: !pto.ptr<f32>) attributes {pto.kernel_kind = #pto.kernel_kind<vector>} {
  %c0_i64 = arith.constant 0 : i64
  %c4096_i64 = arith.constant 4096 : i64
  %v = pto.make_tensor_view %arg0, shape = [%a], strides = [%b] : !pto.tensor_view<?xf32> loc("k.py":LINE:5)
  %x_inline3__tile = pto.alloc_tile addr = %c0_i64 valid_row = %a valid_col = %b : !pto.tile_buf<loc=SPACE, dtype=f32, rows=16, cols=64, v_row=?, v_col=?> loc("k.py":12:9)
  %y__ssa_v0 = pto.alloc_tile addr = %c4096_i64 valid_row = %a valid_col = %b : !pto.tile_buf<loc=SPACE, dtype=bf16, rows=16, cols=64, v_row=?, v_col=?> loc("k.py":13:9)
  return
  }
}
"""  # noqa: E501 - the compiler's own lines

# A vector launch of two blocks, a cube launch, a mixed launch of two blocks; before them an allocation.
GRAPH = {
    "tasks": [
        {"task_id": "0", "scope": "auto", "kernel_ids": [-1, -1, -1], "block_num": 1, "args": []},
        {
            "task_id": "4294967296", "scope": "auto", "kernel_ids": [-1, 0, -1], "block_num": 2, "args": [
                {"idx": 0, "type": "INPUT", "tensor_id": "9514117477438350967", "dtype": "FLOAT32", "shape": [16, 64],
                 "start_offset": "0", "strides": [64, 1]},
                {"idx": 1, "type": "OUTPUT", "tensor_id": "77", "dtype": "BFLOAT16", "shape": [16, 64],
                 "start_offset": "1024", "strides": [64, 1]},
            ],
        },
        {
            "task_id": "4294967297", "scope": "auto", "kernel_ids": [1, -1, -1], "block_num": 1, "args": [
                {"idx": 0, "type": "INOUT", "tensor_id": "77", "dtype": "BFLOAT16", "shape": [16, 64],
                 "start_offset": "1024", "strides": [64, 1]},
            ],
        },
        {"task_id": "4294967298", "scope": "manual", "kernel_ids": [2, 3, 3], "block_num": 2, "args": []},
    ],
    "tensors": [
        {"tensor_id": "9514117477438350967", "buffer_addr": "29204938752", "version": 0, "dtype": "FLOAT32",
         "buffer_numel": "1024"},
        {"tensor_id": "77", "buffer_addr": "29204999999", "version": 0, "dtype": "BFLOAT16", "buffer_numel": "4096"},
    ],
    "edges": [
        {"pred": "0", "succ": "4294967296", "arg": 1, "source": "creator", "flags": ["wait", "retain"],
         "tensor_id": "77"},
        {"pred": "4294967296", "succ": "4294967297", "arg": 0, "source": "tensormap", "flags": ["wait"],
         "overlap": "covered", "tensor_id": "77"},
        {"pred": "4294967296", "succ": "4294967297", "arg": 0, "source": "creator", "flags": ["wait"],
         "tensor_id": "77"},
        {"pred": "4294967297", "succ": "4294967298", "arg": -1, "source": "explicit", "flags": ["wait", "retain"]},
    ],
}  # fmt: skip

# Cores 0 and 1 are cube cores, 2 to 5 vector cores: 2 and 3 of cluster 0, 4 and 5 of cluster 1. 1 cycle is 1 ns.
TIMES = {
    "chip_swimlane_level": 2,
    "metadata": {"clock_freq_hz": 10**9, "num_cores": 6, "core_types": ["aic", "aic", "aiv", "aiv", "aiv", "aiv"]},
    "aicore_tasks": [
        [3, 4294967296, 1, 5000, 8000, 10],
        [2, 4294967296, 1, 4000, 7500, 10],
        [1, 4294967297, 1, 9000, 12000, 10],
        [1, 4294967298, 2, 14000, 16000, 10],
        [0, 4294967298, 1, 13000, 15000, 10],
        [2, 4294967298, 2, 13100, 15500, 10],
        [3, 4294967298, 2, 13200, 15900, 10],
        [4, 4294967298, 1, 14000, 16100, 10],
        [5, 4294967298, 1, 14100, 16000, 10],
    ],
    "aicpu_tasks": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A compilation: what the compiler wrote of it."""
    names = ("scale", "product", "both_aic", "both_aiv")
    entries = [f'\t{{"func_id": {i}, "name": "{n}", "source": "x", "core_type": "aiv"}},' for i, n in enumerate(names)]
    (tmp_path / "kernel_config.py").write_text("KERNELS = [\n" + "\n".join(entries) + "\n]\n")
    (tmp_path / "kernels").mkdir()
    for line, (name, space) in enumerate(zip(names, ("vec", "acc", "mat", "vec")), 20):
        text = PTO.replace("NAME", name).replace("SPACE", space).replace("LINE", str(line))
        (tmp_path / "kernels" / f"{name}.pto").write_text(text)
    return tmp_path


def found(graph: Any = GRAPH, times: Any = TIMES) -> dict[str, bytes]:
    made = {"deps.json": json.dumps(graph).encode()}
    return made if times is None else {**made, "chip_swimlane_records.json": json.dumps(times).encode()}


def test_what_the_compiler_planned(folder: Path):
    unit = next(u for u in artifacts.units(folder) if u.name == "scale")
    assert unit.peaks() == {"UB": 4096 + 2048}
    assert unit.largest("UB").what == "y [16, 64] bf16"
    assert (unit.largest("UB").place.line, unit.place.line) == (13, 20)


def test_tasks(folder: Path):
    trace = records.read(found(), folder, "a5sim")
    assert trace.platform == "a5sim"
    assert trace.tasks_by_name() == {"scale": 2, "product": 1, "both": 2}
    assert [d.core for d in trace.dispatches if d.runs] == ["vector", "cube", "mixed"]
    assert [d.manual for d in trace.dispatches] == [False, False, False, True]
    assert [d.place.line for d in trace.dispatches if d.runs] == [20, 21, 22]
    assert trace.peaks() == {"UB": 6144, "L1": 6144, "L0A": 0, "L0B": 0, "L0C": 6144}
    assert [(b.size, b.dtype.name) for b in trace.buffers] == [(1024, "FP32"), (4096, "BF16")]
    arguments = trace.dispatches[1].arguments
    assert [(a.buffer, a.offset, a.extent, bits) for a, bits in arguments.items()] == [
        (0, 0, (16, 64), 1), (1, 1024, (16, 64), 2),
    ]  # fmt: skip


def test_dependencies_are_those_recorded(folder: Path):
    trace = records.read(found(), folder, "a5sim")
    assert [(e.earlier, e.later) for e in depend.declared(trace)] == [(2, 3)]
    assert sorted((e.earlier, e.later) for e in depend.inferred(trace)) == [(0, 1), (1, 2)]


def test_the_report_says_whose_times_they_are(folder: Path):
    trace = records.read(found(), folder, "a5sim")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(time_tables.summary(profile(trace), "scale"))
    head = console.export_text().splitlines()[0]
    assert head.startswith("scale on a5sim, SIMULATOR (HOST), times of the machine that the simulator ran on, not of")
    assert "12.1 us, 5 tasks" in head
    assert "PREDICTED" not in head


def test_times(folder: Path):
    p = profile(records.read(found(), folder, "a5sim"))
    np.testing.assert_allclose(p.schedule.start, [0, 1, 5, 9, 10])
    np.testing.assert_allclose(p.schedule.end, [3.5, 4, 8, 11.9, 12.1])
    cube = p.chip.cube_cores
    assert p.schedule.core.tolist() == [cube, cube + 1, 1, 0, 1]
    assert p.makespan == pytest.approx(12.1)
    assert [(r.name, r.tasks, round(r.total, 3), r.bound) for r in p.by_name()] == [
        ("scale", 2, 6.5, "unknown"), ("product", 1, 3.0, "unknown"), ("both", 2, 5.0, "unknown"),
    ]  # fmt: skip
    assert [step.name for step in p.path] == ["scale[1]", "product", "both[1]"]
    assert sum(p.losses.values()) == pytest.approx(1)


@pytest.mark.parametrize(("platform", "kind"), [("a5sim", "simulator (host)"), ("a5", "measured")])
def test_figures_say_what_the_times_are(folder: Path, platform: str, kind: str):
    p = profile(records.read(found(), folder, platform))
    assert p.kind == kind
    fig = swimlane(p)
    said = " ".join(text.get_text() for text in fig.findobj() if hasattr(text, "get_text"))
    assert kind in said
    assert platform in said
    assert "predicted" not in said
    assert any(kind in e["args"].get("name", "") for e in chrome_trace(p) if e["ph"] == "M")


def test_without_records(folder: Path):
    assert records.read({}, folder, "a5sim") is None
    trace = records.read(found(times=None), folder, "a5sim")
    assert trace.tasks == 5
    with pytest.raises(InputError, match="a5sim: the runtime recorded no times"):
        profile(trace)


@pytest.mark.parametrize(
    ("graph", "times"),
    [
        ({"tasks": []}, TIMES),
        ({**GRAPH, "edges": [{"pred": "5", "succ": "0", "source": "explicit"}]}, TIMES),
        (GRAPH, {**TIMES, "aicore_tasks": TIMES["aicore_tasks"][1:]}),
        (GRAPH, {**TIMES, "metadata": {}}),
    ],
)
def test_records_of_another_form_are_an_error(folder: Path, graph: dict, times: dict):
    with pytest.raises(ToolchainError, match=r"a5: what the run recorded .* is not in the form"):
        records.read(found(graph, times), folder, "a5")


def test_names_without_an_assembler(folder: Path):
    """The orchestration names each launch in the line above it."""
    (folder / "kernel_config.py").unlink()
    (folder / "orchestration").mkdir()
    (folder / "orchestration" / "k.cpp").write_text(
        """
        // Spmd scale_spmd: scale
        rt_submit_aiv_task(0, params_t0);
        // Task 1: product
        rt_submit_aic_task(1, params_t1);
        // Group both: MixedKernels (AIC + AIV lanes)
        MixedKernels mixed_2 = {2, 3, 3};
        rt_submit_task(mixed_2, params_t2);
        """
    )
    trace = records.launches(json.dumps(GRAPH).encode(), folder, "a5sim")
    assert trace.tasks_by_name() == {"scale": 2, "product": 1, "both": 2}
    assert trace.recorded is None
