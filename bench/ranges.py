"""Every version of every stage over the whole range of its inputs, at the model's full widths.

    python -m bench.ranges [STAGE ...]

Each run is held against the golden, and against the stage's first version, by the same comparators; the exit code is
1 when one is outside its tolerance. Chips take turns. A row for each run, as it ends; all of them take about an hour.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import cycle

import torch

from golden import RunResult, TensorSpec
from golden.compare import compare_outputs
from helpers import stages
from helpers.errors import WorkbookError
from kernels.qwen3 import BATCH, MAX_CHUNK, MAX_CTX, PAGE

Case = tuple[int, int | Sequence[int] | None]  # batch and ctx, as stages.run_stage takes them

EDGES = [1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 1000, MAX_CTX - 1, MAX_CTX]
RAGGED: list[Case] = [
    (1, 1),
    (1, MAX_CTX),
    (2, [PAGE, PAGE + 1]),
    (7, EDGES[1:]),
    (15, None),
    (BATCH, 1),
    (BATCH, [*EDGES, *EDGES]),
    (BATCH, MAX_CTX),
]
BY_BATCH: list[Case] = [(batch, None) for batch in (1, 2, 7, 8, 9, 15, BATCH)]
PROMPTS: list[Case] = [(1, n) for n in (1, 16, 17, 63, 64, 65, PAGE - 1, PAGE, PAGE + 1, 300, MAX_CHUNK)]
CHUNKS: list[Case] = [(1, MAX_CHUNK), (3, [65, 1, 130]), (4, None), (BATCH, [1, 2, 3, 17] * 4), (BATCH, 1)]

CASES: dict[str, list[Case]] = {
    "qkv_proj": BY_BATCH,
    "rope_kv_cache": RAGGED,
    "flash_attention": RAGGED,
    "mlp": BY_BATCH,
    "mlp_32b": BY_BATCH,
    "lm_head": BY_BATCH,
    "decode_layer": RAGGED,
    "decode": RAGGED,
    "prefill": PROMPTS,
    "prefill_chunk": CHUNKS,
}


def agree(stage: stages.Stage, a: RunResult, b: RunResult, specs: list) -> str:
    """What of `a` is not within the stage's tolerance of `b`; empty if all is."""
    inputs = {}
    for spec in specs:  # comparators read tables and lengths, and of the others the shapes
        if not isinstance(spec, TensorSpec):
            inputs[spec.name] = torch.as_tensor(spec.to_python())
        elif spec.dtype == torch.int32:
            inputs[spec.name] = spec.create_tensor()
        else:
            inputs[spec.name] = torch.empty(spec.shape, dtype=spec.dtype, device="meta")
    return ", ".join(
        compare_outputs(a.outputs, b.outputs, stage.tolerance.rtol, stage.tolerance.atol, stage.compare_fn, inputs)[1]
    )


def main(*names: str) -> int:
    """Run them and print a row for each."""
    bad = 0
    platforms = cycle(("a2a3interp", "a5interp"))
    for name in names or CASES:
        stage = stages.find(name)
        for seed, (batch, ctx) in enumerate(CASES[name], 1):
            platform, first = next(platforms), None
            for version in stage.versions:
                start = time.perf_counter()
                try:
                    result = stages.run_stage(stage, version, platform=platform, batch=batch, ctx=ctx, seed=seed)
                    verdict = "PASS" if result.passed else f"FAIL {result.error}"
                    error = result.max_abs or 0.0
                    if first is None:
                        first = result
                    elif result.passed:
                        apart = agree(stage, result, first, stage.specs(batch=batch, ctx=ctx, seed=seed))
                        verdict += f" but apart from the first version: {apart}" if apart else ", as the first version"
                except WorkbookError as e:
                    verdict, error = f"FAIL {e}", float("nan")
                bad += not (verdict.startswith("PASS") and "apart" not in verdict)
                seconds = time.perf_counter() - start
                how = f"batch {batch} ctx {'default' if ctx is None else ctx}"
                print(f"{name}.{version} {platform} {how}: max abs {error:.2e}, {seconds:.1f} s: {verdict}", flush=True)
    print(f"{bad} outside their tolerance")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
