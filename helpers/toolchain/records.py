"""What a real run recorded, as the structures of interpret mode."""

from __future__ import annotations

from pathlib import Path

from helpers.interpret.trace import Trace


def read(found: dict[str, bytes], folder: Path, platform: str) -> Trace | None:
    """The trace of a run from its records; None where the runtime recorded nothing."""
    return None
