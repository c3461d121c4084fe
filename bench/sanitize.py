"""What checking costs: a full-shape decode layer, run plainly and under the sanitizers, in turn.

    python -m bench.sanitize [STAGE [VERSION]]

`plain` is the kernel in interpret mode, without its golden. `one case` is a check of the same inputs on one chip,
no golden either; `both chips` looks at the other chip too; `all sizes` also tries the sizes that break kernels.
"""

from __future__ import annotations

import sys
from functools import partial

from bench.ratio import interleaved, show
from golden import TensorSpec
from helpers import stages
from helpers.run import run
from helpers.sanitize import check
from helpers.sanitize.stages import sweep_of


def main(name: str = "decode_layer", version: str = "fused", rounds: str = "3") -> None:
    """Print the table."""
    stage = stages.find(name)
    kernel, specs = stage.versions[version], stage.specs()

    def values() -> dict:
        return {s.name: s.create_tensor() if isinstance(s, TensorSpec) else s.to_python() for s in specs}

    def sizes(**how: object) -> list:
        return stage.specs(**how)

    made = values()
    runs = {
        "plain": lambda: run(kernel, made, platform="a2a3interp"),
        "inputs": values,
        "one case": partial(check, kernel, specs, on=("a2a3",), sweeps=False),
        "both chips": partial(check, kernel, specs, sweeps=False),
        "all sizes": partial(check, kernel, sizes, sweep=sweep_of(stage)),
    }
    show(f"{name} {version}, full shapes", interleaved(runs, int(rounds), warmup=1), "plain")


if __name__ == "__main__":
    main(*sys.argv[1:])
