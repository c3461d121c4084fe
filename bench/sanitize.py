"""What checking costs: a full-shape decode layer, run plainly and under the sanitizers, in turn.

    python -m bench.sanitize [STAGE [VERSION [ROUNDS]]]

`run` is what `workbook run` does: draw the inputs, run the kernel in interpret mode, compute the golden, compare.
`check` does the same under every sanitizer, for both chips, at the sizes given; `check, all sizes` is what `workbook
check` does: it also goes through the sizes that break kernels. `kernel alone` is the kernel on inputs that are there,
and `inputs` the drawing of them: parts of `run`.

Two tables of the same calls: by the clock, and in seconds of the processor, which other work on the machine moves less.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from bench.ratio import interleaved, show
from golden import TensorSpec, run_jit
from helpers import stages
from helpers.run import run
from helpers.sanitize.check_stages import check_stage


def main(name: str = "decode_layer", version: str = "fused", rounds: str = "3") -> None:
    """Print the table."""
    stage = stages.find(name)
    kernel, specs = stage.versions[version], stage.specs(batch=stage.batch, ctx=None)

    def values() -> dict:
        return {s.name: s.create_tensor() if isinstance(s, TensorSpec) else s.to_python() for s in specs}

    made = values()
    plain = partial(
        run_jit, kernel, specs, stage.reference, runtime_cfg={"platform": "a2a3interp"}, rtol=stage.tolerance.rtol,
        atol=stage.tolerance.atol, compare_fn=stage.compare_fn, check=stage.check, quiet=True,
    )  # fmt: skip
    runs = {
        "run": plain,
        "check": partial(check_stage, stage, version, sweeps=False),
        "check, all sizes": partial(check_stage, stage, version),
        "inputs": values,
        "kernel alone": lambda: run(kernel, made, platform="a2a3interp"),
    }
    used: dict[str, list[float]] = {n: [] for n in runs}

    def counted(n: str, call: Callable[[], object]) -> None:
        start = time.process_time()
        call()
        used[n].append(time.process_time() - start)

    clock = interleaved({n: partial(counted, n, call) for n, call in runs.items()}, int(rounds), warmup=1)
    show(f"{name} {version}, full shapes, by the clock", clock, "run")
    show("seconds of the processor", {n: s[1:] for n, s in used.items()}, "run")


if __name__ == "__main__":
    main(*sys.argv[1:])
