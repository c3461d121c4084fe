"""Figures: what they hold, that nothing is clipped or lies on something else, from one task to 351,050."""

from __future__ import annotations

import io
import itertools
import math

import matplotlib.text
import numpy as np
import pytest
import torch
from matplotlib import image as pictures
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from helpers import plots, show
from helpers.chips import chip
from helpers.errors import InputError
from helpers.interpret.machine.memory import alive, plan
from helpers.interpret.source.source import Place
from helpers.interpret.trace.edges import Edge
from helpers.interpret.trace.trace import Chunk, Dispatch, Part, Trace, Work
from helpers.interpret.values.values import Memory, Turn
from helpers.plots import style, tasks
from helpers.plots.memory_map import SPACES, bars
from helpers.plots.versions import shares
from helpers.plots.written import OF_A_RUN
from helpers.run import run
from kernels import hello

HUGE = 351_050


@pytest.fixture(scope="module")
def hello_runs() -> dict[str, Trace]:
    x, weight = torch.randn(64, hello.WIDTH), torch.rand(1, hello.WIDTH)
    args = [x, weight, torch.zeros(64, hello.WIDTH, dtype=torch.bfloat16)]
    return {k.__name__: run(k, args, platform="a2a3interp").trace for k in (hello.two_tasks, hello.one_task)}


def made(names: list[str], blocks: int = 1) -> Trace:
    """A trace with a launch for each name."""
    trace = Trace("a2a3interp")
    place = Place("none.py", 1, 1)
    trace.dispatches = [Dispatch(i, n, place, "at", blocks, False, 0) for i, n in enumerate(names)]
    return trace


def huge(names: int = 58, launches: int = HUGE) -> tuple[Trace, list[Edge]]:
    """351,050 launches (or so many) of 58 names; each waits for the one before, and its own of the round before."""
    trace = made([f"kernel_number_{i % names}" for i in range(launches)])
    edges = [Edge(i - 1, i, "deps") for i in range(1, launches) if i % 7]
    return trace, edges + [Edge(i - names, i, "deps") for i in range(names, launches)]


def texts(fig: style.Figure) -> list[matplotlib.text.Text]:
    """Every text that is drawn and says something."""
    found = [t for t in fig.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text().strip()]
    for axes in fig.axes:
        if not axes.get_visible() or not axes.axison:
            hidden = set(axes.xaxis.findobj(matplotlib.text.Text)) | set(axes.yaxis.findobj(matplotlib.text.Text))
            found = [t for t in found if t not in hidden and (axes.get_visible() or t.axes is not axes)]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                slack = 1e-6 * max(1.0, abs(high - low))
                gone = not low - slack <= tick.get_loc() <= high + slack
                found = [t for t in found if not (gone and t in (tick.label1, tick.label2))]
    return found


def drawn(fig: style.Figure):
    canvas = FigureCanvasAgg(fig)
    canvas.draw()  # lays the axes out
    return canvas.get_renderer()


def boxes(fig: style.Figure) -> list[tuple[str, object]]:
    renderer = drawn(fig)
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts(fig)]


def assert_legible(fig: style.Figure) -> None:
    """No text leaves the canvas; none lies on another one."""
    found = boxes(fig)
    assert found
    canvas = fig.bbox
    for text, box in found:
        out = max(canvas.x0 - box.x0, box.x1 - canvas.x1, canvas.y0 - box.y0, box.y1 - canvas.y1)
        assert out <= 1, f"{text!r} is clipped by {out:.0f} pixels"
    for (a, p), (b, q) in itertools.combinations(found, 2):
        wide, high = min(p.x1, q.x1) - max(p.x0, q.x0), min(p.y1, q.y1) - max(p.y0, q.y0)
        assert wide < 1 or high < 2, f"{a!r} lies on {b!r}"


def said(fig: style.Figure) -> str:
    return "\n".join(t.get_text() for t in texts(fig))


# Style


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_colours_read_on_white_and_on_black(background: str):
    assert all(style.contrast(c, background) >= 3 for c in style.PALETTE)
    assert style.contrast(style.TEXT, background) >= 4.2
    assert style.contrast("#000000", "#ffffff") == pytest.approx(21)


# Viénot, Brettel and Mollon 1999 in linear RGB: what a red-blind and a green-blind reader sees.
_BLIND = {
    "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


@pytest.mark.parametrize("kind", _BLIND)
def test_colours_differ_for_colour_blind_readers(kind: str):
    def seen(color: str) -> np.ndarray:
        linear = (np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255) ** 2.2
        return np.clip(np.array(_BLIND[kind]) @ linear, 0, 1) ** (1 / 2.2)

    apart = min(np.abs(seen(a) - seen(b)).max() for a, b in itertools.combinations(style.PALETTE, 2))
    assert apart > 0.06
    assert np.abs(seen("#ff0000") - seen("#ff0000")).max() == 0


def test_a_figure_is_transparent_and_shows_itself(hello_runs):
    fig = plots.task_graph(hello_runs["two_tasks"])
    pixels = pictures.imread(io.BytesIO(fig.png(72)))
    assert pixels.shape[2] == 4
    assert pixels[0, 0, 3] == 0
    bundle, metadata = fig._repr_mimebundle_()
    assert bundle["image/png"][:4] == b"\x89PNG"
    assert bundle["text/plain"] == f"[figure] {fig.alt}" == repr(fig) == str(fig)
    assert metadata["image/png"]["width"] == 864
    assert fig.png() == fig.png()


def test_numbers_as_people_write_them():
    assert [style.bytes_text(n) for n in (0, 512, 1023, 1024, 17408, 188416, 1_409_024, 3 * 2**30)] == [
        "0 B", "512 B", "1023 B", "1 KiB", "17 KiB", "184 KiB", "1.34 MiB", "3 GiB",
    ]  # fmt: skip
    assert style.many(1, "launch", "launches") == "1 launch"
    assert style.many(HUGE, "task") == "351,050 tasks"


@pytest.mark.parametrize("platform", ["a2a3interp", "a5interp"])
def test_every_figure_of_a_run_names_its_platform(platform: str):
    x, out = torch.randn(16, hello.WIDTH), torch.zeros(16, hello.WIDTH, dtype=torch.bfloat16)
    trace = run(hello.one_task, [x, torch.ones(1, hello.WIDTH), out], platform=platform).trace
    pair = {"out": (out, x)}
    for fig in (
        plots.task_graph(trace),
        plots.task_order(trace),
        plots.memory_map(trace),
        plots.regions(trace),
        plots.ladder({"a": trace}),
        plots.balance({"a": trace}, "rms_norm"),
        plots.summary(trace, {"out": 0.5}),
        plots.error_histogram(pair, platform),
        plots.error_map(pair, platform),
        plots.error_ladder({"a": {"out": 0.5}}, platform),
    ):
        assert f"platform {platform}" in said(fig)
        assert_legible(fig)


# Errors


def test_histogram_counts_every_element_once():
    expected = torch.linspace(1, 2, 1000)
    actual = expected.clone()
    actual[:300] += 10.0 ** torch.linspace(-4, -1, 300)
    fig = plots.error_histogram({"a": (actual, expected), "b": (expected, expected)}, "a2a3interp")
    a, b = (axes for axes in fig.axes if axes.get_visible())
    assert sum(p.get_height() for p in a.patches) == 1000
    assert sum(p.get_height() for p in b.patches) == 1000
    assert [p.get_height() for p in a.patches if p.get_hatch()] == [700]
    assert [p.get_height() for p in b.patches if p.get_hatch()] == [1000]
    assert "all equal" in b.get_title(loc="left")
    assert_legible(fig)


def test_histogram_shows_nan():
    actual = torch.tensor([1.0, math.nan, 2.5, math.inf])
    fig = plots.error_histogram({"a": (actual, torch.tensor([1.0, 1.0, 2.0, math.inf]))})
    assert "1 NaN" in said(fig)
    assert sum(p.get_height() for p in fig.axes[0].patches) == 4
    assert_legible(fig)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1), (7, 5), (5000, 700), (2, 3, 4)])
def test_map_keeps_the_largest_error(shape: tuple[int, ...]):
    expected = torch.zeros(shape)
    actual = expected.clone()
    actual.view(-1)[-1] = 0.5
    fig = plots.error_map({"a": (actual, expected)}, "a2a3interp")
    (image,) = fig.axes[0].images
    shown = image.get_array()
    assert shown.max() == 0.5
    assert shown.count() == 1
    assert not shown.mask[-1, -1] if shown.mask.shape else True
    assert max(shown.shape) <= 160
    assert_legible(fig)


def test_map_is_that_of_all_elements():
    """Rows that do not differ are left out; NaN, types that differ, and signs of zero are as they would be."""
    actual = torch.randn(3000, 170).to(torch.bfloat16)
    expected = actual.float()
    expected[[0, 7, 2999]] += torch.linspace(0.1, 1, 170)
    expected[5, 5] = math.nan
    actual[9, 9], expected[9, 9] = 0.0, -0.0
    errors = (actual.double() - expected.double()).abs().nan_to_num(nan=math.inf)
    grid = plots.error_map({"a": (actual, expected)}).axes[0].images[0].get_array()
    folded = torch.nn.functional.pad(errors, (0, 170 % 2)).reshape(-1, 85, 2).amax(2)
    rows = torch.stack([part.amax(0) for part in folded.split(19)])
    finite = torch.isfinite(rows)
    assert grid.shape == rows.shape
    assert np.array_equal(np.where(grid.mask, 0.0, grid.data)[finite], rows[finite])


def test_map_of_equal_tensors_is_blank():
    fig = plots.error_map({"a": (torch.ones(4, 4), torch.ones(4, 4))})
    assert fig.axes[0].images[0].get_array().count() == 0
    assert "all equal" in said(fig)


def test_worst_ratio_is_one_at_the_tolerance():
    expected = torch.tensor([2.0, -8.0, 0.0], dtype=torch.float64)
    allowed = 0.25 + 0.125 * expected.abs()
    assert plots.worst_ratio(expected + allowed, expected, 0.125, 0.25) == 1.0
    assert plots.worst_ratio(expected - 2 * allowed, expected, 0.125, 0.25) == 2.0
    assert plots.worst_ratio(expected, expected, 0.0, 0.0) == 0.0
    assert plots.worst_ratio(expected + 1e-9, expected, 0.0, 0.0) == math.inf
    assert plots.worst_ratio(torch.full((3,), math.nan), expected, 1.0, 1.0) == math.inf
    assert plots.worst_ratio(expected + 1, expected, 0.0, torch.tensor([1.0, 0.5, 2.0])) == 2.0
    assert plots.worst_ratio(torch.zeros(0), torch.zeros(0), 1.0, 1.0) == 0.0


@pytest.mark.parametrize("worst", [0.0, 0.5, 1.02, 40.0, 1e6, math.inf])
def test_ladder_of_errors_has_a_bar_for_each_and_the_line(worst: float):
    ratios = {v: {"q": worst, "k": 0.4, "v": 0.0} for v in ("naive", "per_sequence", "flat")}
    fig = plots.error_ladder(ratios, "a2a3interp")
    (axes,) = fig.axes
    assert len(axes.patches) == 9
    assert [line.get_ydata()[0] for line in axes.lines] == [1]
    assert axes.get_ylim()[1] > 1
    assert ("outside" in fig.alt) == (worst > 1)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["naive", "per_sequence", "flat"]
    assert_legible(fig)


@pytest.mark.parametrize(
    ("ratio", "said"), [(0.0, "within"), (1.0, "within"), (1.01, "outside"), (math.inf, "outside")]
)
def test_text_says_whether_an_error_is_allowed_not_how_large_it_is(ratio: float, said: str):
    """The number differs between machines, and text is compared."""
    assert plots.verdict(ratio) == said
    trace = Trace("a2a3interp")
    cells = show.steps({"v": trace}, {"v": {"out": ratio}}).splitlines()[-1].split()
    assert cells == ["v", "0", "0", said]
    assert plots.error_ladder({"v": {"out": ratio}}).alt.endswith(f"by version: v {said}")


@pytest.mark.parametrize("versions", [1, 4])
def test_steps_of_errors_keep_every_element(versions: int):
    expected = torch.linspace(1, 2, 6000).reshape(60, 100)
    steps = {
        f"version_{i}": (expected + 10.0**-i * (torch.arange(60)[:, None] >= 30), expected) for i in range(versions)
    }
    steps["exact"] = (expected, expected)
    fig = plots.error_steps(steps, "a2a3interp")
    lefts, rights = fig.axes[0 : 2 * versions + 1 : 2], fig.axes[1 : 2 * versions + 2 : 2]
    for left, right in zip(lefts[:versions], rights[:versions]):
        assert sum(p.get_height() for p in left.patches) == 3000
        shown = right.images[0].get_array()
        assert shown[30:].count() == 3000
        assert shown[:30].count() == 0
        assert right.get_title(loc="left") == "equal: 3,000 of 6,000"
    assert "exact: all equal" in said(fig)
    assert_legible(fig)


# Tasks


def patches(fig: style.Figure, kind: type) -> list:
    return [p for axes in fig.axes for p in axes.patches if type(p) is kind]


def test_graph_of_hello(hello_runs):
    fig = plots.task_graph(hello_runs["two_tasks"])
    assert len(patches(fig, FancyBboxPatch)) == 2
    assert len(patches(fig, FancyArrowPatch)) == 1
    assert {"normalize", "weigh", "4 tasks, vector", "10"} <= set(said(fig).split("\n"))
    assert fig.alt == "task graph: 8 tasks in 8 launches, 10 dependencies, longest chain 2 launches"
    one = plots.task_graph(hello_runs["one_task"])
    assert len(patches(one, FancyArrowPatch)) == 0
    assert "4 tasks in 1 launch, vector" in said(one)
    assert_legible(fig)
    assert_legible(one)


def test_waves_are_the_longest_chains():
    trace = made(["a", "b", "c", "d", "e"])
    edges = [Edge(0, 1, "deps"), Edge(1, 2, "deps"), Edge(0, 3, "deps"), Edge(2, 3, "deps")]
    assert tasks.waves(trace, edges).tolist() == [0, 1, 2, 3, 0]
    assert tasks.waves(trace, reversed(edges)).tolist() == [0, 1, 2, 3, 0]


def test_inout_parameters_chain_launches():
    assert plots.longest_chain(made(["a", "b"])) == 1
    trace = made(["a", "b"])
    trace.dispatches[1].deps = (0,)
    assert plots.longest_chain(trace) == 2


GRAPHS = {
    "one": (["a"], []),
    "self": (["a", "a", "a"], [(0, 1), (1, 2)]),
    "back": (["a", "b", "a", "b"], [(0, 1), (1, 2), (2, 3)]),
    "long edge": (["a", "b", "c", "d"], [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2)]),
    "fan": (["root", *(f"leaf_{i}" for i in range(9)), "end"], [(0, i) for i in range(1, 10)] + [(9, 10), (1, 10)]),
    "chain": ([f"step_{i}" for i in range(14)], [(i, i + 1) for i in range(13)]),
    "long names": (["a_kernel_with_a_very_long_name_indeed" * 2, "b"], [(0, 1)]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_of_a_graph_do_not_overlap(name: str):
    names, arrows = GRAPHS[name]
    edges = [Edge(a, b, "deps") for a, b in arrows]
    fig = plots.task_graph(made(names), edges=edges)
    found = patches(fig, FancyBboxPatch)
    drawn(fig)
    wide, high = fig.bbox.width, fig.bbox.height
    for spot, box in zip(fig.spots.values(), (p.get_window_extent() for p in found)):
        corners = (box.x0 / wide, 1 - box.y1 / high, box.x1 / wide, 1 - box.y0 / high)
        assert spot == pytest.approx(corners, abs=0.01)
    assert len(found) == len(set(names))
    assert len(patches(fig, FancyArrowPatch)) == len({(names[a], names[b]) for a, b in arrows})
    for a, b in itertools.combinations([p.get_window_extent() for p in found], 2):
        assert not a.overlaps(b)
    assert_legible(fig)


def test_numbers_stand_beside_their_arrows():
    names = ["root", *(f"leaf_{i}" for i in range(5)), "end"]
    edges = [Edge(0, i, "deps") for i in range(1, 6)] + [Edge(i, 6, "deps") for i in range(1, 6)]
    fig = plots.task_graph(made(names), edges=edges)
    renderer = drawn(fig)
    numbers = [t.get_window_extent(renderer) for t in fig.axes[0].texts if t.get_text() == "1"]
    assert len(numbers) == 10
    for arrow in patches(fig, FancyArrowPatch):
        line = arrow.get_path().cleaned(curves=False)
        for (_, a), (code, b) in itertools.pairwise(zip(line.codes, line.vertices)):
            for share in np.linspace(0, 1, 40) if code == line.LINETO else ():
                x, y = fig.axes[0].transData.transform(a + share * (b - a))
                assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for box in numbers)


def test_an_expanded_name_has_a_box_for_each_launch_or_quarter():
    edges = [Edge(0, i, "deps") for i in range(1, 6)] + [Edge(i, 6, "deps") for i in range(1, 6)]
    trace = made(["first", *["middle"] * 5, "last"])
    fig = plots.task_graph(trace, edges=edges, expand=["middle", "none"])
    assert list(fig.spots) == ["first", *(f"middle {i}" for i in range(1, 6)), "last"]
    assert len(patches(fig, FancyArrowPatch)) == 10
    assert_legible(fig)
    many = plots.task_graph(
        made(["a", *["b"] * 1002]), edges=[Edge(i, i + 1, "deps") for i in range(1002)], expand=["b"]
    )
    assert list(many.spots) == ["a", "b 1 to 251", "b 252 to 501", "b 502 to 752", "b 753 to 1,002"]
    assert {"251 tasks, vector", "250 tasks, vector"} <= set(said(many).split("\n"))
    assert "1,003 tasks" in said(many)
    assert_legible(many)
    assert list(plots.task_graph(trace, edges=edges, expand=["first"]).spots) == ["first", "middle", "last"]


def test_graph_and_order_of_351050_tasks():
    trace, edges = huge()
    graph = plots.task_graph(trace, edges=edges)
    order = plots.task_order(trace)
    wave = plots.task_order(trace, by="wave", edges=edges)
    assert graph.alt.startswith("task graph: 351,050 tasks in 351,050 launches")
    assert len(patches(graph, FancyBboxPatch)) == 58
    assert_legible(graph)
    for fig in (order, wave):
        (image,) = fig.axes[0].images
        assert image.get_array().shape[1] <= 180
        assert_legible(fig)
    assert "351,050 tasks" in said(order)


def test_order_counts_every_task(hello_runs):
    fig = plots.task_order(hello_runs["one_task"])
    assert "4" in said(fig).split("\n")
    fig = plots.task_order(hello_runs["two_tasks"], by="wave")
    assert [t.get_text() for t in fig.axes[0].texts] == ["4", "4"]
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["normalize  (4)", "weigh  (4)"]
    with pytest.raises(InputError, match="launch"):
        plots.task_order(hello_runs["one_task"], by="time")


# Memory


def lanes(axes) -> list[np.ndarray]:
    """The opacity of what is drawn of each buffer: [row, moment]."""
    return [image.get_array()[4::8, :, 3] for image in axes.images]


def test_memory_map_agrees_with_the_peak_of_the_trace(hello_runs):
    trace = hello_runs["two_tasks"]
    fig = plots.memory_map(trace, "normalize")
    (axes,) = fig.axes
    used, limit = axes.lines
    texts = {t.get_text(): t.xy[1] for t in axes.texts if hasattr(t, "xy")}
    most, limit = texts["0"] - min(used.get_ydata()), texts["0"] - limit.get_ydata()[0]
    assert limit == pytest.approx(texts["0"] - texts["184 KiB"])
    (records,) = [m for (n, _), m in trace.memory.items() if n == "normalize"]
    peak = alive([m for m in records if m.space == "UB"])
    assert most / limit == pytest.approx(peak / chip("a2a3").buffers["UB"])
    planned = plan(records, chip("a2a3").buffers).peaks["UB"]
    assert peak <= planned == trace.dispatches[0].parts[0].chunk.peaks["UB"]
    rows = {}
    for b in bars(records):
        rows.setdefault((b.line, b.label), set()).update(range(b.first, b.last + 1))
    (shown,) = lanes(axes)
    assert [set(np.flatnonzero(row).tolist()) for row in shown] == list(rows.values())
    assert any(text.startswith("x_tile = slice") for text in texts)
    assert_legible(fig)


def test_memory_map_picks_the_largest_and_names_what_there_is(hello_runs):
    assert "of a task of normalize" in plots.memory_map(hello_runs["two_tasks"]).alt
    with pytest.raises(InputError, match="there are: normalize, weigh"):
        plots.memory_map(hello_runs["two_tasks"], "norm")


def test_memory_map_of_many_buffers_in_every_space():
    trace = made(["big"])
    place = [Place("none.py", line, 1) for line in range(1, 61)]
    records = []
    for i in range(3000):
        space = SPACES[i % 5]
        turn = Turn(place[0], i % 2, 2, i)
        m = Memory(space, 1024 * (1 + i % 7), i, place[i % 60], (turn,), loaded=True)
        m.last = i + 8
        records.append(m)
    trace.memory["big", place[0]] = records
    fig = plots.memory_map(trace, "big")
    assert all(f"{space} peak" in fig.alt for space in SPACES)
    (axes,) = fig.axes
    assert [len(rows) for rows in lanes(axes)] == [12] * 5
    assert all(row.any() for rows in lanes(axes) for row in rows)
    assert_legible(fig)


def test_memory_map_of_a_task_that_holds_nothing():
    trace = made(["empty"])
    trace.memory["empty", Place("none.py", 1, 1)] = []
    assert "none used" in plots.memory_map(trace, "empty").alt


def test_memory_of_a_launch_site_is_kept_once():
    x, out = torch.randn(1600, hello.WIDTH), torch.zeros(1600, hello.WIDTH, dtype=torch.bfloat16)
    trace = run(hello.two_tasks, [x, torch.ones(1, hello.WIDTH), out], platform="a2a3interp").trace
    assert [n for n, _ in trace.memory] == ["normalize", "weigh"]
    assert sum(len(m) for m in trace.memory.values()) < 20


# Regions, ladder, summary, cache


def test_regions_have_a_box_for_each_tile(hello_runs):
    fig = plots.regions(hello_runs["two_tasks"])
    x, normed, weight, out = fig.axes
    assert [a.get_title(loc="left").split()[0] for a in fig.axes] == ["x", "normed", "weight", "out"]
    assert [len(a.patches) for a in fig.axes] == [4, 8, 4, 4]
    assert {p.get_xy()[1] for p in x.patches} == {0, 16, 32, 48}
    assert all(p.get_hatch() for p in (*x.patches, *weight.patches))
    assert not any(p.get_hatch() for p in out.patches)
    assert [t.get_text() for t in weight.texts] == ["0 to 3"]
    assert normed.get_ylim() == (64, 0)
    assert_legible(fig)


def test_regions_of_many_tasks_have_no_numbers():
    x, out = torch.randn(16 * 500, hello.WIDTH), torch.zeros(16 * 500, hello.WIDTH, dtype=torch.bfloat16)
    fig = plots.regions(run(hello.one_task, [x, torch.ones(1, hello.WIDTH), out], platform="a5interp").trace)
    assert all(len(axes.patches) <= 400 for axes in fig.axes)
    assert not fig.axes[0].texts
    assert_legible(fig)


def test_balance_gives_blocks_to_the_group_with_the_least():
    groups = chip("a2a3").clusters
    trace = Trace("a2a3interp")
    work = [3, *[1] * (2 * groups - 2)]  # block 0 has three times the work of any other

    def chunk(blocks: list[int], flops: int) -> Chunk:
        none = np.zeros(0, np.int32)
        return Chunk(np.array(blocks), none, [], [], Work(cube_flops=flops), {})

    chunks = [Part(chunk([0], 3), None), Part(chunk(list(range(1, 2 * groups - 2)), 1), None)]
    last = Part(chunk([7, 2 * groups - 2], 1), 1)  # one row of a chunk of several launches
    trace.dispatches.append(Dispatch(0, "a", Place("", 0, 0), "spmd", len(work), False, 0, parts=[*chunks, last]))
    even = sum(work) / groups
    assert shares(trace, "a") == pytest.approx([3 / even, *[2 / even] * (groups - 1)])
    assert not shares(trace, "b").any()
    fig = plots.balance({"x": trace, "y": trace}, "a")
    assert [len(axes.patches) for axes in fig.axes] == [groups, groups]
    assert_legible(fig)


def test_ladder_shows_the_numbers_of_the_trace(hello_runs):
    fig = plots.ladder(hello_runs)
    found = plots.figures_of(hello_runs["two_tasks"])
    shown = [axes for axes in fig.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == list(found)
    assert [axes.patches[0].get_width() for axes in shown] == list(found.values())
    assert found["tasks"] == 8
    assert found["GM written"] == 64 * hello.WIDTH * (4 + 2)
    assert_legible(fig)


def test_summary_of_many_names():
    fig = plots.summary(made([f"kernel_{i}" for i in range(30)]), {"q": math.inf, "k": 0.5})
    assert "23 others" in said(fig)
    assert "NaN" in said(fig)
    assert_legible(fig)


def test_cache_pages_are_where_the_table_says():
    fig = plots.cache_pages([129, 1], [[3, 0, -1], [2, -1, -1]], [0 * 128 + 0, 2 * 128 + 0], 5, 128)
    above, below = fig.axes
    assert {t.get_text() for t in above.texts} == {"3", "0", "2"}
    assert [t.get_text() for t in below.texts] == ["0.1", "", "1.0", "0.0", ""]
    assert [float(line.get_xdata()[0]) for line in below.lines] == [0.5 / 128, 2 + 0.5 / 128]
    assert len([p for p in below.patches if type(p) is Rectangle and not p.get_fill()]) == 5
    assert_legible(fig)


def test_cache_of_16_long_sequences():
    table = torch.randperm(16 * 32).view(16, 32).tolist()
    slots = [t[-1] * 128 + 127 for t in table]
    fig = plots.cache_pages([4096] * 16, table, slots, 512, 128)
    assert len(fig.axes[0].texts) == 512
    assert_legible(fig)


def test_the_legibility_check_can_fail(hello_runs):
    fig = plots.ladder(hello_runs)
    fig.text(0.97, 0.5, "this leaves the canvas").set_in_layout(False)
    with pytest.raises(AssertionError, match="clipped"):
        assert_legible(fig)
    fig = plots.task_graph(hello_runs["two_tasks"])
    fig.axes[0].text(4.5, 1.0, "one", ha="center")
    fig.axes[0].text(4.5, 1.0, "two", ha="center")
    with pytest.raises(AssertionError, match="lies on"):
        assert_legible(fig)


@pytest.mark.parametrize("figure", list(OF_A_RUN.values()), ids=lambda f: f.__name__)
@pytest.mark.parametrize("given", [None, 3, "mlp.mixed", {}, [], {"out": 1}], ids=str)
def test_a_figure_of_what_it_cannot_be_made_of_says_what_to_give(figure, given):
    with pytest.raises(InputError, match=r"give|drawn of"):
        figure(given)


@pytest.mark.parametrize(
    "figure", [plots.ablation, plots.rungs, plots.softmax_pages, lambda g: plots.chip_flow(g, "weigh")]
)
@pytest.mark.parametrize("given", [None, {}, "mlp", [1]], ids=str)
def test_what_a_step_a_ladder_or_a_film_is_drawn_of_is_said(figure, given):
    with pytest.raises(InputError, match="give"):
        figure(given)


@pytest.mark.parametrize(
    "figure",
    [
        plots.ladder,
        plots.times,
        lambda g: plots.two_lanes(g, "weigh", ("vector MTE2", "vector")),
        lambda g: plots.balance(g, "add"),
    ],
)
@pytest.mark.parametrize("given", [None, {}, {"one": None}, [1]], ids=str)
def test_versions_side_by_side_want_a_dict_of_runs(figure, given):
    with pytest.raises(InputError, match="give"):
        figure(given)


def test_figures_take_a_trace_a_profile_or_the_result_of_a_run():
    from golden.runner import run_jit
    from golden.spec import TensorSpec
    from helpers.profile import profile

    specs = [
        TensorSpec("x", [32, hello.WIDTH], torch.float32, init_value=torch.randn),
        TensorSpec("weight", [1, hello.WIDTH], torch.float32, init_value=1.0),
        TensorSpec("out", [32, hello.WIDTH], torch.bfloat16, is_output=True),
    ]
    result = run_jit(
        hello.two_tasks, specs, lambda v: v["out"].zero_(), runtime_cfg={"platform": "a2a3interp"}, quiet=True
    )
    for figure in (plots.memory_map, plots.task_graph, plots.task_order, plots.regions, plots.swimlane, plots.core):
        assert len({said(figure(g)) for g in (result.trace, profile(result.trace), result)}) == 1
    assert plots.error_map(result).alt
    assert plots.error_histogram(result).alt
    assert plots.ladder({"a": result}).alt == plots.ladder({"a": result.trace}).alt
    with pytest.raises(InputError, match=r"'y': actual is \[2\], expected is \[3\]"):
        plots.error_map({"y": (torch.zeros(2), torch.zeros(3))})
