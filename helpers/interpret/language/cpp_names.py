"""Names that a task cannot have on a chip or a simulator, for PyPTO writes it down as a C++ function of that name.

Interpret mode runs such a kernel; `workbook check` and PyPTO's platforms say what is wrong.

Source: ISO C++17, [lex.key] and [lex.digraph]: keywords and alternative tokens. That is the standard in which PyPTO's
runtime has kernels built (simpler, simpler_setup/toolchain.py). Of a region for both units, PyPTO makes two
functions, whose names end in _aic and _aiv: those are free.
"""

from __future__ import annotations

KEYWORDS = frozenset(
    """
alignas alignof asm auto bool break case catch char char16_t char32_t class const const_cast constexpr continue
decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline
int long mutable namespace new noexcept nullptr operator private protected public register reinterpret_cast return
short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef
typeid typename union unsigned using virtual void volatile wchar_t while
and and_eq bitand bitor compl not not_eq or or_eq xor xor_eq
""".split()
)


def wrong(name: str) -> tuple[str, str] | None:
    """What is wrong with a task of this name and what to do, or None."""
    if name not in KEYWORDS:
        return None
    return (
        f"the task '{name}' has the name of a keyword of C++: PyPTO writes it as a C++ function of that name, which "
        "no C++ compiler takes"
    ), f"another name, such as {name}_task"
