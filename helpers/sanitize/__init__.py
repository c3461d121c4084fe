"""What is wrong with a kernel: `check(kernel, specs)` runs it under every sanitizer and returns findings."""

from helpers.sanitize.check import check
from helpers.sanitize.rules.findings import ERROR, HINT, KINDS, WARNING, Finding, grouped, worst

__all__ = ["ERROR", "HINT", "KINDS", "WARNING", "Finding", "check", "grouped", "worst"]
