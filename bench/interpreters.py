"""This interpreter beside the others, in one run: `python -m bench.interpreters [--rounds N]`.

Two yardsticks (bench/yardsticks.py): an LM head and decode attention. In turn, round by round: torch FP32 eager, this
repository's interpret mode (trace included), Triton's interpreter, Pallas `interpret=True` and Pallas's TPU interpret
mode; then medians, ratios and the error of each against torch. The peers live in an environment of their own
(bench/.peers, made on the first run); they run in processes of their own and are warmed up before anything counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import kernels  # noqa: F401 - makes pypto.language importable
from bench import yardsticks as y
from helpers.run import run

HERE = Path(__file__).parent
PEERS = ("triton", "pallas", "pallas-tpu")
PACKAGES = ("torch==2.13.0", "numpy==2.2.6", "triton==3.9.0", "jax==0.10.2", "jaxlib==0.10.2")


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--python", default=None, help="an environment that has the peers, instead of bench/.peers")
    parser.add_argument("--full", action="store_true", help="also the LM head over the whole vocabulary, torch beside")
    args = parser.parse_args()
    if args.full:
        measure("lm_head", lm_head_inputs(y.V_FULL), {}, args.rounds, HERE)
    inputs = make_inputs()
    with tempfile.TemporaryDirectory() as folder:
        save(inputs, Path(folder))
        python = args.python or (environment() if args.peers else sys.executable)
        peers = {p: Peer(python, p, Path(folder)) for p in args.peers}
        try:
            for name in inputs:
                measure(name, inputs[name], peers, args.rounds, Path(folder))
        finally:
            for p in peers.values():
                p.close()


def make_inputs() -> dict[str, dict[str, torch.Tensor]]:
    """Seeded inputs of both yardsticks, BF16 values at the scale of a trained model."""
    torch.manual_seed(0)
    pages = y.B * y.NB
    return {
        "lm_head": lm_head_inputs(y.V),
        "attention": {
            "q": torch.randn(y.B * y.KV * y.QP, y.D).bfloat16(),
            "k": torch.randn(pages * y.KV * y.PAGE, y.D).bfloat16(),
            "v": torch.randn(pages * y.KV * y.PAGE, y.D).bfloat16(),
            "table": torch.randperm(pages).int(),
            "lens": torch.full((y.B,), y.NB * y.PAGE, dtype=torch.int32),
        },
    }


def lm_head_inputs(vocabulary: int) -> dict[str, torch.Tensor]:
    """Seeded inputs of the LM head."""
    x, w = torch.randn(y.M, y.K).bfloat16(), torch.empty(vocabulary, y.K, dtype=torch.bfloat16)
    for rows in w.split(y.V):  # never all of it in FP32
        rows.copy_(torch.randn(rows.shape) * 0.02)
    return {"x": x, "w": w}


def save(inputs: dict[str, dict[str, torch.Tensor]], folder: Path) -> None:
    """The inputs as files for the peers."""
    for name, tensors in inputs.items():
        for key, t in tensors.items():
            bits = t.view(torch.uint16) if t.dtype == torch.bfloat16 else t
            np.save(folder / f"{name}-{key}.npy", bits.numpy())
    about = {
        "lm_head": {"n": y.N_TILE, "k": y.K_TILE},
        "attention": {"b": y.B, "kv": y.KV, "nb": y.NB, "qp": y.QP, "d": y.D, "page": y.PAGE},
    }
    (folder / "about.json").write_text(json.dumps(about))


def torch_eager(name: str, a: dict[str, torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The yardstick in torch, FP32, its weights already in FP32."""
    if name == "lm_head":
        x, w = a["x"].float(), a["w"].float()
        return lambda: x @ w.T
    q = a["q"].view(y.B, y.KV, y.QP, y.D).float()
    k, v = (a[n].view(-1, y.KV, y.PAGE, y.D).float() for n in ("k", "v"))
    table = a["table"].view(y.B, y.NB).long()

    def attend() -> torch.Tensor:
        keys, values = (c[table].transpose(1, 2).reshape(y.B, y.KV, -1, y.D) for c in (k, v))
        return (torch.softmax(q @ keys.transpose(-1, -2) * y.SCALE, -1) @ values).view(-1, y.D)

    return attend


def interpreted(name: str, a: dict[str, torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The yardstick in interpret mode."""
    kernel = getattr(y, name)
    out = torch.zeros(y.M, len(a["w"])) if name == "lm_head" else torch.zeros(a["q"].shape)

    def go() -> torch.Tensor:
        run(kernel, {**a, "out": out}, platform="a2a3interp")
        return out

    return go


def measure(name: str, a: dict[str, torch.Tensor], peers: dict[str, Peer], rounds: int, folder: Path) -> None:
    """Time one yardstick on all sides, in turn, and print the table."""
    ours = interpreted(name, a)
    start = time.perf_counter()
    ours()
    first = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sides: dict[str, Callable[[], object]] = {"torch FP32": torch_eager(name, a), "interpret mode": ours}
    sides |= {p: peer.asker(name) for p, peer in peers.items()}
    seconds: dict[str, list[float]] = {s: [] for s in sides}
    for i in range(rounds + 1):
        for side, go in sides.items():
            start = time.perf_counter()
            own = go()
            taken = own if isinstance(own, float) else time.perf_counter() - start
            if i:
                seconds[side].append(taken)
    expected = sides["torch FP32"]()
    title = f"{name} {list(a['w'].shape)}" if "w" in a else name
    table = Table("", "median s", "x torch", "interpret mode is faster by", "max abs error", title=title)
    mine = statistics.median(seconds["interpret mode"])
    for side in sides:
        s = statistics.median(seconds[side])
        if side in peers:
            got = torch.from_numpy(np.load(folder / f"{side}_{name}.npy"))
        else:
            got = expected if side == "torch FP32" else sides[side]()
        error = f"{(got - expected).abs().max():.1e}" if side != "torch FP32" else ""
        ratio = statistics.median(t / u for t, u in zip(seconds[side], seconds["torch FP32"]))
        table.add_row(side, f"{s:.3f}", f"{ratio:.2f}", f"{s / mine:.1f}" if side in peers else "", error)
    Console().print(table)
    print(f"interpret mode's first call, analysis included: {first:.3f} s, {first - mine:.3f} s more than the median")
    print(f"largest memory of the process up to its end: {memory:.1f} GB\n")


class Peer:
    """A peer's process, asked for one run at a time."""

    def __init__(self, python: str, name: str, folder: Path):
        worker = HERE / "peers" / "peer.py"
        self.process = subprocess.Popen(
            [python, str(worker), name, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer(name)

    def _answer(self, name: str) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer {name} ended: exit code {self.process.wait()}")
        return json.loads(line)

    def asker(self, name: str) -> Callable[[], float]:
        """A call that runs the yardstick once and returns the seconds that the peer measured."""

        def ask() -> float:
            self.process.stdin.write(name + "\n")
            self.process.stdin.flush()
            return self._answer(name)["seconds"]

        return ask

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


def environment() -> str:
    """The Python of the peers' environment, made when it is not there."""
    home = HERE / ".peers"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        print(f"installing {', '.join(PACKAGES)} into {home.name} ...")
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", *PACKAGES], check=True)
        (home / "ready").touch()
    return str(python)


if __name__ == "__main__":
    main()
