"""Tests marked `pypto` need the real PyPTO, tests marked `simulator` the simulator of their parameter `platform`,
tests marked `browser` a Chromium; they are skipped where it is not.

No other test is ever skipped. Property tests try the same examples each time; `--hypothesis-profile=default` draws
others at random.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys

import pytest
import torch
from hypothesis import settings

from helpers import platforms, stages
from helpers.course import claim_kit
from helpers.platforms import installed_pypto

settings.register_profile("same", derandomize=True)
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Processes that test side by side share the cores, and so do the kernels of the notebooks that they start.

    A test that takes all memory fails with an error, where Linux would end a process of its own choice.
    """
    if sys.platform == "linux":
        import resource  # there is none on Windows

        ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        least = ram // 2 if most == resource.RLIM_INFINITY else min(ram // 2, most)
        resource.setrlimit(resource.RLIMIT_DATA, (least, most))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0))
    if workers and "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = max(1, cores // workers)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def platforms_looked_up_anew():
    """What is installed does not change while a process runs, so the best platform is remembered; tests change it."""
    platforms._best.cache_clear()
    yield
    platforms._best.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def no_inputs_kept():
    """What one file of tests has made and kept leaves memory to the next."""
    yield
    stages.forget_inputs()
    claim_kit.forget()
    gc.collect()


def chromium() -> str | None:
    """Path of the browser to test with, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# What takes longest comes first, so that no process is left alone with it at the end. Notebooks stay last: beside
# the browser, which starts many kernels as well, one of theirs was seen to die at its start.
FIRST = (
    "test_browser.py", "test_prefill.py", "test_decode.py", "test_tuning.py", "test_claims.py",
    "test_own_kernels.py", "test_ladders.py", "test_cli.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((n for n, end in enumerate(FIRST) if item.path.name.endswith(end)), len(FIRST)))
    absent = {}
    if installed_pypto().kind != "hw-native-sys":
        absent["pypto"] = "PyPTO (hw-native-sys/pypto) is not installed"
    if chromium() is None:
        absent["browser"] = "no chromium on the PATH (Debian: apt-get install chromium)"
    for item in items:
        if item.get_closest_marker("simulator") and "pypto" not in absent:
            platform = item.callspec.params["platform"]
            lacks = platforms.missing(platform)
            if lacks is not None:
                item.add_marker(pytest.mark.skip(reason=f"{platform}: {lacks}"))
        for marker, reason in absent.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
