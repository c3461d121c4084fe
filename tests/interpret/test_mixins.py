"""The parts that a machine and a lowering are made of: no name of one hides that of another."""

from __future__ import annotations

import pytest

from helpers.interpret.lowering.lower import Lowering
from helpers.interpret.machine.machine import Machine


@pytest.mark.parametrize("whole", [Machine, Lowering])
def test_no_part_hides_a_name_of_another(whole: type):
    seen: dict[str, type] = {}
    for part in (*whole.__bases__, whole):
        for name in vars(part):
            if not name.startswith("__"):
                assert name not in seen, f"{name} of {seen[name].__name__} and {part.__name__}"
                seen[name] = part
