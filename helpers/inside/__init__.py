"""Inside a task: every operation with its operands and its result, and what is on chip at that moment."""

from helpers.inside.differences import differences
from helpers.inside.diverge import diverge
from helpers.inside.intermediates import against
from helpers.inside.opened import Inside, inside
from helpers.inside.rounding_by_line import redone, rounding
from helpers.inside.value_text import marks, text

__all__ = ["Inside", "against", "differences", "diverge", "inside", "marks", "redone", "rounding", "text"]
