"""Single edits of this repository's kernels, and which of them the sanitizers and the goldens notice.

    python -m bench.mutants [NAME ...]      run them (all, or those whose name contains NAME) and print the table
    python -m bench.mutants --write         also write the table into docs/sanitizers.md

A mutant is noticed by the sanitizers when they report something that they do not report of the kernel as it is; by the
golden when the result is outside the tolerance. Memory, order and bounds mutants have to be noticed by the sanitizers
alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import golden.flash_attention
import golden.mlp
import golden.rope_kv_cache
import kernels
from golden.spec import TensorSpec
from helpers.sanitize import Finding, check
from kernels.qwen3 import EPS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "sanitizers.md"
BEGIN, END = "<!-- mutants: written by python -m bench.mutants --write -->", "<!-- end of mutants -->"
MEMORY, ORDER, BOUNDS, VALUE = "memory", "order", "bounds", "value"
OF_THE_GOLDEN = ("wrong-result", "tolerance")


@dataclass(frozen=True)
class Subject:
    """A kernel that is mutated, and how it is checked."""

    file: str
    version: str
    specs: Callable[..., list]
    reference: Callable[[dict], None]
    tolerance: Any
    compare_fn: Mapping[str, Callable]
    sweep: Mapping[str, Sequence[int]]

    def check(self, module: ModuleType, sweeps: bool) -> list[Finding]:
        """Findings of this version in a module, at other sizes too when it `sweeps`."""
        return check(
            getattr(module, self.version), self.specs, self.reference, rtol=self.tolerance.rtol,
            atol=self.tolerance.atol, compare_fn=self.compare_fn, sweep=self.sweep, sweeps=sweeps,
        )  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One edit: in the text after `after`, the first `old` becomes `new`."""

    subject: str
    family: str
    what: str
    after: str
    old: str
    new: str
    survives: str = ""  # why nothing can notice it, where nothing does

    @property
    def name(self) -> str:
        """Subject and edit, for people and for choosing."""
        return f"{self.subject}: {self.what}"


def _hello(rows: int = 48) -> list:
    def random(*shape: int) -> Callable[[], torch.Tensor]:
        return lambda: torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))

    return [
        TensorSpec("x", [rows, 512], torch.float32, init_value=random(rows, 512)),
        TensorSpec("weight", [1, 512], torch.float32, init_value=random(1, 512)),
        TensorSpec("out", [rows, 512], torch.bfloat16, is_output=True),
    ]


def _rms_norm(values: dict[str, Any]) -> None:
    x = values["x"]
    values["out"].copy_(x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * values["weight"])


SMALL = (1, 128, 300)


def _rope(batch: int = 3, ctx: Any = SMALL) -> list:
    return golden.rope_kv_cache.specs(batch=batch, ctx=list(ctx) if isinstance(ctx, tuple) else ctx)


def _attention(batch: int = 3, ctx: Any = SMALL) -> list:
    return golden.flash_attention.specs(batch=batch, ctx=list(ctx) if isinstance(ctx, tuple) else ctx)


_CASES = {"batch": (1, 15, 16), "ctx": (1, 128, 129, 4096)}


def _of_rope(version: str) -> Subject:
    stage = golden.rope_kv_cache
    return Subject(
        "rope_kv_cache", version, _rope, stage.reference, stage.TOLERANCE, stage.COMPARE_FN, _CASES
    )  # fmt: skip


def _of_attention(version: str) -> Subject:
    stage = golden.flash_attention
    return Subject("flash_attention", version, _attention, stage.reference, stage.TOLERANCE, stage.COMPARE_FN, _CASES)


def _of_mlp(version: str) -> Subject:
    specs = partial(golden.mlp.specs, batch=5, layers=2, layer=1, hidden=1024, inter=1024)
    stage = golden.mlp
    return Subject("mlp", version, specs, stage.reference, stage.TOLERANCE, {}, {"batch": (1, 16)})


def _of_hello(version: str) -> Subject:
    tolerance = golden.Tolerance(rtol=2.0**-7, atol=1e-5, text="1 BF16 ULP")
    return Subject("hello", version, _hello, _rms_norm, tolerance, {}, {"rows": (16, 48)})


SUBJECTS: dict[str, Subject] = {
    **{f"rope_kv_cache.{v}": _of_rope(v) for v in ("naive", "per_sequence", "flat")},
    **{f"flash_attention.{v}": _of_attention(v) for v in ("flat", "mixed", "fused")},
    **{f"mlp.{v}": _of_mlp(v) for v in ("accumulate", "mixed")},
    **{f"hello.{v}": _of_hello(v) for v in ("two_tasks", "one_task")},
}


def _unordered(subject: str, tensors: Mapping[str, str], survives: Mapping[str, str] | None = None) -> list[Mutant]:
    """Scratch tensors taken out of dependency inference, one at a time."""
    version = subject.split(".")[1]
    return [
        Mutant(
            subject, ORDER, f"{name} is opted out of inference", f"def {version}(",
            f"{name} = pl.create_tensor({shape})", f"{name} = pl.create_tensor({shape}, manual_dep=True)",
            (survives or {}).get(name, ""),
        )
        for name, shape in tensors.items()
    ]  # fmt: skip


_PART = "[PART_ROWS, 1], dtype=pl.FP32"
_TOKENS = "tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)"
_PAGES = "(length + PAGE - 1) // PAGE"
_SYNC = 'pl.system.syncall(core_type="mix")'

MUTANTS: tuple[Mutant, ...] = (
    # ---- hello
    *_unordered("hello.two_tasks", {"normed": "[rows, WIDTH], dtype=pl.FP32"}),
    Mutant("hello.two_tasks", MEMORY, "the last tile is skipped", "def two_tasks", "rows // TILE_ROWS",
           "rows // TILE_ROWS - 1"),
    Mutant("hello.two_tasks", BOUNDS, "one tile too many", "def two_tasks", "rows // TILE_ROWS",
           "rows // TILE_ROWS + 1"),
    Mutant("hello.two_tasks", MEMORY, "normed is read a tile later", 'name_hint="weigh"', "[row, 0]",
           "[(tile + 1) * TILE_ROWS % rows, 0]"),
    Mutant("hello.one_task", BOUNDS, "output shifted by a row", "def one_task", 'mode="rint"), [row, 0]',
           'mode="rint"), [row + 1, 0]'),
    Mutant("hello.one_task", ORDER, "blocks half a tile apart", "def one_task", "row = tile * TILE_ROWS",
           "row = tile * (TILE_ROWS // 2)"),
    Mutant("hello.one_task", VALUE, "mean becomes sum", "def normalize", "1.0 / WIDTH", "1.0"),
    Mutant("hello.one_task", VALUE, "the weight is dropped", "def one_task", "pl.col_expand_mul(x_tile, w)",
           "pl.mul(x_tile, 1.0)"),
    Mutant("hello.one_task", MEMORY, "the output is declared an input", "def one_task",
           "out: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.BF16]]", "out: pl.Tensor[[ROWS_DYN, WIDTH], pl.BF16]"),
    Mutant("hello.one_task", MEMORY, "tile of 128 rows", "WIDTH = 512", "TILE_ROWS = 16", "TILE_ROWS = 128"),
    # ---- rope_kv_cache
    *_unordered("rope_kv_cache.naive", {
        "q_normed": "[BATCH * HEADS, HEAD_DIM], dtype=pl.FP32",
        "q_rotated": "[BATCH * HEADS, HEAD_DIM], dtype=pl.BF16",
        "k_normed": "[BATCH * KV_HEADS, HEAD_DIM], dtype=pl.FP32",
    }),
    Mutant("rope_kv_cache.naive", BOUNDS, "scratch for KV heads, not query heads", "def naive",
           "q_normed = pl.create_tensor([BATCH * HEADS,", "q_normed = pl.create_tensor([BATCH * KV_HEADS,"),
    Mutant("rope_kv_cache.naive", ORDER, "query heads a row too close", "def naive", "q_head = head * Q_PER_KV",
           "q_head = head * (Q_PER_KV - 1)"),
    Mutant("rope_kv_cache.naive", MEMORY, "k_normed shifted by a row", 'name_hint="k_norm"',
           "pl.assemble(k_normed, k, [head, 0])", "pl.assemble(k_normed, k, [head + 1, 0])"),
    Mutant("rope_kv_cache.naive", MEMORY, "the high half overwrites the low one", "def naive",
           "pl.assemble(q_rotated, q_hi, [q_head, HALF_DIM])", "pl.assemble(q_rotated, q_hi, [q_head, 0])"),
    Mutant("rope_kv_cache.per_sequence", MEMORY, "KV head 0 is skipped", "def per_sequence", "pl.range(KV_HEADS)",
           "pl.range(1, KV_HEADS)"),
    Mutant("rope_kv_cache.per_sequence", VALUE, "the offset in the page is dropped", "def per_sequence",
           "* PAGE + offset", "* PAGE"),
    Mutant("rope_kv_cache.per_sequence", BOUNDS, "position one too far", "def per_sequence",
           "pl.tensor.read(seq_lens, [b]) - 1", "pl.tensor.read(seq_lens, [b])"),
    Mutant("rope_kv_cache.flat", BOUNDS, "padded lanes run too", "def flat",
           "pl.tensor.dim(seq_lens, 0) * KV_HEADS", "BATCH * KV_HEADS"),
    Mutant("rope_kv_cache.flat", BOUNDS, "the page after the right one", "def flat", "+ pos // PAGE]",
           "+ pos // PAGE + 1]"),
    Mutant("rope_kv_cache.flat", BOUNDS, "the slot is taken for an offset", "def flat", "[b]) % PAGE", "[b])"),
    Mutant("rope_kv_cache.flat", ORDER, "all KV heads write the first one's row", "def flat",
           "kv = head % KV_HEADS", "kv = 0"),
    Mutant("rope_kv_cache.flat", BOUNDS, "position two back", "def flat", "pl.tensor.read(seq_lens, [b]) - 1",
           "pl.tensor.read(seq_lens, [b]) - 2"),
    Mutant("rope_kv_cache.flat", MEMORY, "the last KV head is skipped", "def flat",
           'KV_HEADS, name_hint="rope', '(KV_HEADS - 1), name_hint="rope'),
    Mutant("rope_kv_cache.flat", MEMORY, "rows of padding are not filled", "def whole_head",
           "pl.fillpad(q_lo, pad_value=pl.PadValue.zero)", "q_lo"),
    Mutant("rope_kv_cache.flat", BOUNDS, "query rows 16 apart, not 5", "def whole_head", "[head * Q_PER_KV, 0]",
           "[head * Q_PAD, 0]"),
    Mutant("rope_kv_cache.flat", VALUE, "cosine and sine swapped", "def whole_head", "rotate(q, cos, sin)",
           "rotate(q, sin, cos)"),
    Mutant("rope_kv_cache.flat", VALUE, "the mean's divisor is dropped", "def head_norm", "1.0 / HEAD_DIM", "1.0"),
    Mutant("rope_kv_cache.flat", VALUE, "rotation the other way", "turned_lo =", "pl.sub(", "pl.add("),
    Mutant("rope_kv_cache.flat", MEMORY, "the cache is declared write-only", "def flat", "k_cache: pl.InOut[",
           "k_cache: pl.Out["),
    Mutant("rope_kv_cache.flat", MEMORY, "the cache is declared an input", "def flat",
           "v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]]",
           "v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]"),
    # ---- flash_attention
    *_unordered("flash_attention.flat", {
        "q_padded": "[Q_PAD_ROWS, HEAD_DIM], dtype=pl.BF16",
        "scores": "[PART_ROWS, PAGE], dtype=pl.FP32",
        "weights": "[PART_ROWS, PAGE], dtype=pl.BF16",
        "o_parts": "[PART_ROWS, HEAD_DIM], dtype=pl.FP32",
    }, {"q_padded": "equivalent: the launch that writes q_padded writes k_cache too, and that orders the same two"}),
    *_unordered(
        "flash_attention.mixed", {"max_parts": _PART},
        {"max_parts": "equivalent: the launch that writes max_parts writes o_parts too, and that orders the same two"},
    ),
    Mutant("flash_attention.flat", MEMORY, "SV skips the last page", 'name_hint="sv"', _PAGES, "length // PAGE"),
    Mutant("flash_attention.flat", BOUNDS, "softmax takes a page too many", 'name_hint="softmax"):', _PAGES,
           "length // PAGE + 1"),
    Mutant("flash_attention.flat", VALUE, "the merge drops the last page", "def merge_head", "pl.range(1, pages)",
           "pl.range(1, pages - 1)"),
    Mutant("flash_attention.flat", MEMORY, "the merge takes a page too many", "def merge_head", "pl.range(1, pages)",
           "pl.range(1, pages + 1)"),
    Mutant("flash_attention.flat", VALUE, "a partial result is not rescaled", "def joined",
           "pl.row_expand_mul(o_b, scale_b)", "o_b"),
    Mutant("flash_attention.flat", VALUE, "a partial sum is not rescaled", "def joined", "pl.mul(total_b, scale_b)",
           "total_b"),
    Mutant("flash_attention.flat", VALUE, "scores are not scaled", "def page_softmax", "pl.mul(scores, SCALE)",
           "pl.mul(scores, 1.0)"),
    Mutant("flash_attention.flat", VALUE, "padding with zero, not the lowest", "def page_softmax",
           "pad_value=pl.PadValue.min", "pad_value=pl.PadValue.zero"),
    Mutant("flash_attention.flat", ORDER, "scratch rows of pages alias", 'name_hint="qk"):\n        b',
           "part = (head * MAX_PAGES + p) * Q_PAD", "part = (head + p) * Q_PAD"),
    Mutant("flash_attention.flat", BOUNDS, "scratch one page short", "Q_PAD_ROWS =", "Q_PAD_ROWS * MAX_PAGES",
           "Q_PAD_ROWS * MAX_PAGES - Q_PAD"),
    Mutant("flash_attention.flat", VALUE, "every page is full", 'name_hint="softmax"):\n        length', _TOKENS,
           "tokens = PAGE"),
    Mutant("flash_attention.flat", VALUE, "K is not transposed", 'name_hint="qk"):\n        b', ", b_trans=True", ""),
    Mutant("flash_attention.flat", VALUE, "the padding row is written out", "def write_out",
           "attention[0:Q_PER_KV, :]", "attention[1:Q_PER_KV + 1, :]"),
    Mutant("flash_attention.flat", ORDER, "two heads share their columns", "def write_out", "head % KV_HEADS *",
           "head % (KV_HEADS - 1) *"),
    Mutant("flash_attention.flat", MEMORY, "the last head's output is not merged", 'name_hint="sv"',
           'pl.spmd(heads, name_hint="merge")', 'pl.spmd(heads - 1, name_hint="merge")'),
    Mutant("flash_attention.mixed", MEMORY, "rows the merge reads are not stored", "def mixed",
           "pl.set_validshape(o, Q_ROWS, HEAD_DIM)", "pl.set_validshape(o, Q_PER_KV - 1, HEAD_DIM)"),
    Mutant("flash_attention.fused", ORDER, "the table is not waited for", "def launch_attention",
           ", deps=[table_ready]", ""),
    Mutant("flash_attention.fused", ORDER, "the first barrier is removed", "Phase 0", _SYNC, "pl.system.fence()"),
    Mutant("flash_attention.fused", ORDER, "the second barrier is removed", "Phase 1", _SYNC, "pl.system.fence()"),
    Mutant("flash_attention.fused", ORDER, "blocks may start in waves", "def launch_attention",
           ", sync_start=True", ""),
    Mutant("flash_attention.fused", ORDER, "24 blocks on any chip", "def launch_attention",
           "pl.system.available_cluster_count()", "24"),
    Mutant("flash_attention.fused", ORDER, "the barrier is for vector cores", "Phase 0", 'core_type="mix"',
           'core_type="aiv_only"'),
    Mutant("flash_attention.fused", MEMORY, "the last run is skipped", "Phase 1", "pl.range(core, runs, cores)",
           "pl.range(core, runs - 1, cores)"),
    Mutant("flash_attention.fused", MEMORY, "only one lane merges", "Phase 2", "pl.range(core * 2 + lane, heads",
           "pl.range(core * 2, heads"),
    Mutant("flash_attention.fused", MEMORY, "the table overwrites itself", "def list_pages", "count = count + pages",
           "count = count + 1"),
    Mutant("flash_attention.fused", BOUNDS, "the table is for one sequence less", "def fused",
           "pl.create_tensor([BATCH * MAX_PAGES], dtype=pl.INT32)",
           "pl.create_tensor([(BATCH - 1) * MAX_PAGES], dtype=pl.INT32)"),
    # ---- mlp
    *_unordered("mlp.accumulate", {
        "projected": "[BATCH, hidden], dtype=pl.FP32",
        "resid": "[BATCH, hidden], dtype=pl.FP32",
        "normed": "[BATCH, hidden], dtype=pl.BF16",
        "mlp": "[BATCH, inter], dtype=pl.BF16",
        "total": "[BATCH, hidden], dtype=pl.FP32",
    }),
    *_unordered("mlp.mixed", {"resid": "[BATCH, hidden], dtype=pl.FP32", "mlp": "[BATCH, inter], dtype=pl.BF16"}),
    Mutant("mlp.accumulate", VALUE, "the last tile of K is dropped", "def out_proj(", "pl.range(1, hidden // TILE_K)",
           "pl.range(1, hidden // TILE_K - 1)"),
    Mutant("mlp.accumulate", VALUE, "the first tile of K counts twice", "def out_proj(",
           "pl.range(1, hidden // TILE_K)", "pl.range(hidden // TILE_K)"),
    Mutant("mlp.accumulate", BOUNDS, "a tile of K too many", "def out_proj(", "pl.range(1, hidden // TILE_K)",
           "pl.range(1, hidden // TILE_K + 1)"),
    Mutant("mlp.accumulate", VALUE, "another layer's weight", "def gate_or_up", "layer_row = layer_idx * hidden",
           "layer_row = 0 * layer_idx"),
    Mutant("mlp.accumulate", VALUE, "up is dropped", "def silu_mul", "pl.mul(pl.mul(g, sigmoid), u)",
           "pl.mul(g, sigmoid)"),
    Mutant("mlp.accumulate", MEMORY, "half of the hidden columns are not written", "def accumulate",
           "pl.parallel(hidden // TILE_K)", "pl.parallel(hidden // TILE_K // 2)"),
    Mutant("mlp.accumulate", MEMORY, "a tile of mlp is skipped", "def accumulate", "pl.parallel(inter // TILE_N)",
           "pl.parallel(1, inter // TILE_N)"),
    Mutant("mlp.accumulate", MEMORY, "scratch for half a row", "def accumulate",
           "gate = pl.create_tensor([BATCH, inter]", "gate = pl.create_tensor([BATCH, inter // 2]"),
    Mutant("mlp.mixed", VALUE, "gate and up swapped", "def gate_up_silu", "pl.mul(pl.mul(gate, sigmoid), up)",
           "pl.mul(pl.mul(up, sigmoid), up)"),
    Mutant("mlp.mixed", MEMORY, "padding rows of the residual are not filled", "def out_proj_residual",
           "pl.fillpad(result, pad_value=pl.PadValue.zero)", "result"),
    Mutant("mlp.mixed", VALUE, "the residual is added twice", "def down_proj_residual",
           "result = pl.add(pl.slice(resid, [BATCH, WIDE_N], [0, d0]), acc)",
           "result = pl.add(pl.mul(pl.slice(resid, [BATCH, WIDE_N], [0, d0]), 2.0), acc)"),
    Mutant("mlp.mixed", MEMORY, "a step of K that L1 cannot hold", "WIDE_K =", "MIXED_K = 128", "MIXED_K = 512"),
    Mutant("mlp.mixed", VALUE, "the accumulator is BF16", "def down_proj_residual", "dtype=pl.FP32)",
           "dtype=pl.BF16)"),
    Mutant("mlp.mixed", VALUE, "the mean is a sum", "def post_rmsnorm", "pl.div(square_sum,", "pl.mul(square_sum,"),
)  # fmt: skip


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="mutants-"))


def _module(file: str, text: str) -> ModuleType:
    name = f"{file}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    path = _folder() / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


def source(subject: Subject) -> str:
    """The text of the kernel's module."""
    return (Path(kernels.__file__).parent / f"{subject.file}.py").read_text()


def mutated(mutant: Mutant) -> str:
    """The text of the kernel's module with the edit.

    Raises:
        ValueError: the kernel has changed, and the place is not there any more.
    """
    text = source(SUBJECTS[mutant.subject])
    start = text.find(mutant.after)
    at = text.find(mutant.old, start)
    if start < 0 or at < 0:
        raise ValueError(f"mutant {mutant.name!r}: there is no {mutant.old!r} after {mutant.after!r}")
    return text[:at] + mutant.new + text[at + len(mutant.old) :]


@cache
def clean(subject: str, sweeps: bool) -> frozenset[tuple[str, str]]:
    """Kind and text of what is found in the kernel as it is."""
    s = SUBJECTS[subject]
    return frozenset((f.kind, f.what) for f in s.check(_module(s.file, source(s)), sweeps))


@dataclass(frozen=True)
class Outcome:
    """What noticed a mutant: findings of the sanitizers, and whether the golden differs."""

    mutant: Mutant
    sanitizers: tuple[Finding, ...]
    golden: bool
    seconds: float

    @property
    def caught(self) -> bool:
        """True when the sanitizers or the golden noticed it."""
        return bool(self.sanitizers) or self.golden


def outcome(mutant: Mutant) -> Outcome:
    """Check a mutant: at the given sizes, and at others where that does not decide it."""
    start = time.perf_counter()
    subject = SUBJECTS[mutant.subject]
    module = _module(subject.file, mutated(mutant))
    for sweeps in (False, True):
        known = clean(mutant.subject, sweeps)
        found = [f for f in subject.check(module, sweeps) if (f.kind, f.what) not in known]
        seen = tuple(f for f in found if f.kind not in OF_THE_GOLDEN)
        if seen or (mutant.family == VALUE and found):
            break
    return Outcome(mutant, seen, len(seen) < len(found), time.perf_counter() - start)


def row(o: Outcome) -> tuple[str, ...]:
    """A mutant's line of the table."""
    best = o.sanitizers[0] if o.sanitizers else None
    found = f"{best.severity}: {best.kind}" + (f" with {best.case}" if best.case else "") if best else "-"
    return o.mutant.subject, o.mutant.family, o.mutant.what, found, "differs" if o.golden else "-"


def main(arguments: Sequence[str]) -> int:
    """Run the mutants named and print the table; the exit code counts those that had to be noticed and were not."""
    wanted = [a for a in arguments if not a.startswith("--")]
    chosen = [m for m in MUTANTS if not wanted or any(w in m.name for w in wanted)]
    console = Console(soft_wrap=True)
    outcomes = []
    for m in chosen:
        outcomes.append(outcome(m))
        o = outcomes[-1]
        console.print(f"{o.seconds:6.1f} s  {' | '.join(row(o))}{'' if o.caught else '   SURVIVES'}", highlight=False)
    missed = [o for o in outcomes if not o.caught and not o.mutant.survives]
    alone = [o for o in outcomes if o.mutant.family != VALUE and not o.sanitizers and not o.mutant.survives]
    table = Table("family", "mutants", "by sanitizers", "by the golden", "by either")
    for family in (MEMORY, ORDER, BOUNDS, VALUE):
        of = [o for o in outcomes if o.mutant.family == family]
        table.add_row(
            family, str(len(of)), str(sum(bool(o.sanitizers) for o in of)), str(sum(o.golden for o in of)),
            str(sum(o.caught for o in of)),
        )  # fmt: skip
    console.print(table)
    for o in dict.fromkeys([*missed, *alone]):
        console.print(f"missed: {o.mutant.name}", highlight=False)
    if "--write" in arguments:
        PAGE.write_text(written(PAGE.read_text(), outcomes))
    return len(missed) + len(alone)


def written(page: str, outcomes: Sequence[Outcome]) -> str:
    """The page with the table of these outcomes between its marks."""
    caught = sum(o.caught for o in outcomes)
    ordered = [o for o in outcomes if o.mutant.family != VALUE]
    lines = [
        f"{len(outcomes)} mutants, {caught} noticed ({caught / len(outcomes):.1%}); of the {len(ordered)} of memory, "
        f"order and bounds {sum(bool(o.sanitizers) for o in ordered)} by the sanitizers alone.", "",
        "| kernel | family | edit | sanitizers | golden |", "|---|---|---|---|---|",
        *("| " + " | ".join(row(o)) + " |" for o in outcomes),
    ]  # fmt: skip
    survivors = [f"- {o.mutant.name}: {o.mutant.survives}" for o in outcomes if o.mutant.survives]
    lines += ["", "Those that survive:", "", *survivors]
    before, rest = page.split(BEGIN)
    body = "\n".join(lines).rstrip()
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
