"""The `workbook` command: run stages against their golden, list them, say what works on this machine."""

from helpers.cli import running, compiling, checking, timing, making  # noqa: F401, I001 - commands, in this order
from helpers.cli.plain import FAILED, INTERRUPTED, REFUSED, app, plainly

__all__ = ["FAILED", "INTERRUPTED", "REFUSED", "app", "plainly"]
