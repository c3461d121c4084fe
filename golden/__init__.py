"""Torch references of the workbook's stages, and the harness that compares kernels with them.

The names are those of pypto-lib's `golden`, so that its kernel scripts run against this package as they are.
A module of this package named after a stage (golden.rope_kv_cache, ...) holds that stage's reference.
"""

from helpers import threads  # noqa: F401, I001 - first, before torch is imported
from golden.compare import (
    OutputError,
    Tolerance,
    addressed_rows,
    close,
    error_distribution,
    exact,
    mapped_pool_ratio_allclose,
    measure,
    ratio_allclose,
    ratio_reldiff,
    topk_pair_compare,
    validate_golden,
)
from golden.runner import RunResult, run, run_jit
from golden.spec import ScalarSpec, TensorSpec

__all__ = [
    "OutputError",
    "RunResult",
    "ScalarSpec",
    "TensorSpec",
    "Tolerance",
    "addressed_rows",
    "close",
    "error_distribution",
    "exact",
    "mapped_pool_ratio_allclose",
    "measure",
    "ratio_allclose",
    "ratio_reldiff",
    "run",
    "run_jit",
    "topk_pair_compare",
    "validate_golden",
]
