"""The parts that a machine is made of: no name of one hides that of another."""

from __future__ import annotations

from helpers.interpret.machine.machine import Machine


def test_no_part_hides_a_name_of_another():
    seen: dict[str, type] = {}
    for part in (*Machine.__bases__, Machine):
        for name in vars(part):
            if not name.startswith("__"):
                assert name not in seen, f"{name} of {seen[name].__name__} and {part.__name__}"
                seen[name] = part
