"""Interpreting the rope_kv_cache stage against its golden: `python -m bench.beside_golden`.

Full shapes (hidden 5120, 40/8 heads, head_dim 128, batch 16, ragged contexts up to 4096). Both sides get the same
inputs in memory; neither counts making them.
"""

from __future__ import annotations

import torch

from bench import ratio
from golden import rope_kv_cache as golden
from helpers import stages
from helpers.run import run


def values() -> dict:
    """The stage's inputs by name."""
    return {s.name: s.create_tensor() if hasattr(s, "shape") else s.to_python() for s in golden.specs()}


def main() -> None:
    """Print the ratios with torch as it is set up, and with one thread, where they are steadier."""
    stage = stages.find("rope_kv_cache")
    for threads in (torch.get_num_threads(), 1):
        torch.set_num_threads(threads)
        mine, theirs = values(), values()
        runs = {"golden (torch)": lambda theirs=theirs: golden.reference(theirs)}
        for version, kernel in stage.versions.items():
            runs[version] = lambda kernel=kernel, mine=mine: run(kernel, mine, platform="a2a3interp")
        seconds = ratio.interleaved(runs, rounds=20)
        ratio.show(f"rope_kv_cache, interpreted (a2a3interp), torch threads: {threads}", seconds, "golden (torch)")


if __name__ == "__main__":
    main()
