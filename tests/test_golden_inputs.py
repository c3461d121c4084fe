"""Seeded inputs of the stages."""

from __future__ import annotations

import pytest
import torch

from golden import inputs


@pytest.mark.parametrize("width", [1024, 5120])
def test_weights_are_drawn_once_and_no_two_rows_are_alike(width: int) -> None:
    made = inputs.weight(0, "w", [9000, width], std=0.02).create_tensor()
    assert made.numel() > 2 * inputs._DRAWN
    assert len({row.view(torch.int16).numpy().tobytes() for row in made}) == len(made)
    assert made.float().std().item() == pytest.approx(0.02, rel=0.01)
    assert made.float().mean().item() == pytest.approx(0.0, abs=1e-4)


def test_weights_go_by_seed_and_name() -> None:
    def made(seed: int, name: str) -> torch.Tensor:
        return inputs.weight(seed, name, [64, 64], std=0.02).create_tensor()

    assert torch.equal(made(0, "w"), made(0, "w"))
    assert not torch.equal(made(0, "w"), made(1, "w"))
    assert not torch.equal(made(0, "w"), made(0, "v"))
