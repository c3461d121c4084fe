"""Ratios that anyone can reproduce: `python -m bench.NAME`."""

import helpers  # noqa: F401 - first: it sets how torch's threads wait, before torch is imported
