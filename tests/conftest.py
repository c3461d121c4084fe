"""Tests marked `pypto` need the real PyPTO and are skipped without it; no other test is ever skipped."""

from __future__ import annotations

import pytest

from helpers import platforms
from helpers.platforms import installed_pypto


@pytest.fixture(autouse=True)
def platforms_looked_up_anew():
    """What is installed does not change while a process runs, so the best platform is remembered; tests change it."""
    platforms._best.cache_clear()
    yield
    platforms._best.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if installed_pypto().kind == "hw-native-sys":
        return
    for item in items:
        if item.get_closest_marker("pypto"):
            item.add_marker(pytest.mark.skip(reason="PyPTO (hw-native-sys/pypto) is not installed"))
