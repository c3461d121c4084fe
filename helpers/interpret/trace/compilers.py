"""What PyPTO's compiler did otherwise on an earlier day, as far as the time of a program goes by it.

A figure was measured with the compiler of its day. Each rule has the day on which PyPTO's main branch changed, and the
request that changed it (hw-native-sys/pypto; src/ir/transforms/derive_call_directions_pass.cpp and
skew_cross_core_pipeline_pass.cpp). `TODAY` is the commit that interpret mode follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from helpers.errors import InputError

CHAINED = date(2026, 4, 23)  # 1131: what a sequential loop is around, or the scope wrote before, is InOut; not the rest
PARAMETERS = date(2026, 4, 29)  # 1211: the same for the kernel's own parameters
APART = date(2026, 5, 6)  # 1232: not where each turn of the loop stores somewhere else ...
CHECKED = date(2026, 5, 15)  # 1371: ... which was taken back, as nothing showed that the turns are apart
SKEWED = date(2026, 6, 15)  # 1767: a cube loop runs one turn ahead of its vector cores
DEEPER = date(2026, 7, 1)  # 1900: two turns
SHORT = date(2026, 8, 17)  # 2378: the ring between cube and vector cores has two slots, eight before


@dataclass(frozen=True)
class Compiler:
    """The rules of one day.

    Attributes:
        day: None: the commit that interpret mode follows.
        created: An output in a tensor that orchestration created is always InOut, and so each task that writes it waits
            for the writers before.
        parameters: Outputs in the kernel's own parameters become InOut by the same rules as those in created tensors;
            else they never do.
        apart: A sequential loop does not make an output InOut whose place differs from turn to turn.
        ahead: How many turns of a `pl.pipeline` the cube runs ahead of the vector cores that it hands tiles to.
        ring: Slots of the ring that these tiles lie in, each way.
    """

    day: date | None = None
    created: bool = False
    parameters: bool = True
    apart: bool = False
    ahead: int = 2
    ring: int = 2

    def __str__(self) -> str:
        return "today's" if self.day is None else f"of {self.day}"


TODAY = Compiler()


def of_day(day: date | None) -> Compiler:
    """The compiler of a day; None: today's."""
    if day is None:
        return TODAY
    return Compiler(
        day,
        created=day < CHAINED,
        parameters=day >= PARAMETERS,
        apart=APART <= day < CHECKED,
        ahead=0 if day < SKEWED else 1 if day < DEEPER else 2,
        ring=8 if day < SHORT else 2,
    )


def parse(text: str | None) -> Compiler:
    """The compiler of a day that is written YEAR-MONTH-DAY.

    Raises:
        InputError: it is no day.
    """
    try:
        return of_day(None if text is None else date.fromisoformat(text))
    except ValueError:
        raise InputError(f"--pypto is {text!r}: a day such as 2026-05-25, when PyPTO's main branch was used") from None
