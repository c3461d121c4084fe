"""One peer, waiting for work: `python peer.py PEER FOLDER`; a yardstick's name a line in, a line of JSON out.

PEER is triton, pallas or pallas-tpu. FOLDER holds the inputs as NumPy files, BF16 as its bits in uint16.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BF16 = {"x", "w", "q", "k", "v"}


def main() -> None:
    """Answer requests until standard input ends."""
    peer, folder = sys.argv[1], Path(sys.argv[2])
    about = json.loads((folder / "about.json").read_text())
    run = triton(folder, about) if peer == "triton" else pallas(folder, about, tpu=peer == "pallas-tpu")
    print(json.dumps({"ready": peer}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        start = time.perf_counter()
        out = run[name]()
        seconds = time.perf_counter() - start
        np.save(folder / f"{peer}_{name}.npy", out)
        print(json.dumps({"seconds": seconds}), flush=True)


def arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The inputs of a yardstick by name."""
    return {p.stem.split("-")[1]: np.load(p) for p in folder.glob(f"{name}-*.npy")}


def triton(folder: Path, about: dict) -> dict[str, Callable[[], np.ndarray]]:
    """The yardsticks in Triton's interpreter."""
    os.environ["TRITON_INTERPRET"] = "1"
    import torch
    import triton_kernels as kernels

    def load(name: str) -> dict:
        out = {n: torch.from_numpy(a) for n, a in arrays(folder, name).items()}
        return {n: a.view(torch.bfloat16) if n in BF16 else a for n, a in out.items()}

    lm, att = load("lm_head"), load("attention")
    return {
        "lm_head": lambda: kernels.lm_head(lm, about["lm_head"]).numpy(),
        "attention": lambda: kernels.attention(att, about["attention"]).numpy(),
    }


def pallas(folder: Path, about: dict, tpu: bool) -> dict[str, Callable[[], np.ndarray]]:
    """The yardsticks in Pallas's interpreters."""
    import jax.numpy as jnp
    import pallas_kernels as kernels
    from jax.experimental.pallas import tpu as pltpu

    interpret = pltpu.InterpretParams() if tpu else True

    def load(name: str) -> dict:
        out = {n: jnp.asarray(a) for n, a in arrays(folder, name).items()}
        return {n: a.view(jnp.bfloat16) if n in BF16 else a for n, a in out.items()}

    lm, att = load("lm_head"), load("attention")
    head = kernels.lm_head(about["lm_head"], lm["w"].shape[0], *lm["x"].shape, interpret)
    attention = kernels.attention(about["attention"], interpret)
    return {"lm_head": lambda: np.asarray(head(lm)), "attention": lambda: np.asarray(attention(att))}


if __name__ == "__main__":
    main()
