"""What a figure is given: a trace, a profile, outputs with their golden, or the result of a run for any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from helpers.errors import InputError
from helpers.interpret.trace.trace import Trace
from helpers.profile import Profile, profile

Pairs = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""Outputs by name: (actual, expected) of the same shape."""

_GIVE = "give a trace, a profile of one, or the result of a run"


def trace_of(given: Any) -> Trace:
    """The trace itself, or that of a profile or of a result.

    Raises:
        InputError: there is none.
    """
    if isinstance(given, Trace):
        return given
    if isinstance(given, Mapping):
        raise InputError(f"this figure shows one run, and a dict was given; {_GIVE}")
    found = getattr(given, "trace", None)
    if isinstance(found, Trace):
        return found
    if hasattr(given, "trace") and found is None:
        raise InputError("nothing was recorded of this run: it did not get so far, or its platform records nothing")
    raise InputError(f"a figure of a run cannot be made of {type(given).__name__}; {_GIVE}")


def profile_of(given: Any) -> Profile:
    """The profile itself, or the predicted one of a trace or of a result.

    Raises:
        InputError: there is no trace, or it cannot be profiled, see `helpers.profile.profile`.
    """
    return given if isinstance(given, Profile) else profile(trace_of(given))


def by_version(given: Any) -> dict[str, Any]:
    """What is given for each version.

    Raises:
        InputError: it is not a dict by version, or an empty one.
    """
    if not isinstance(given, Mapping) or not given:
        what = "an empty dict" if isinstance(given, Mapping) else type(given).__name__
        raise InputError(f"this figure sets versions side by side: give a dict, version -> trace; not {what}")
    return dict(given)


def pairs_of(given: Any) -> Pairs:
    """The pairs themselves, or those of a result: its outputs that a golden has.

    Raises:
        InputError: neither, or none, or two tensors of different shapes.
    """
    if hasattr(given, "outputs") and hasattr(given, "expected"):
        found = {n: (t, given.expected[n]) for n, t in given.outputs.items() if n in given.expected}
        if not found:
            raise InputError("this run has no golden that its errors could be drawn against")
        return found
    if not isinstance(given, Mapping) or not given:
        what = "an empty dict" if isinstance(given, Mapping) else type(given).__name__
        raise InputError(f"errors are drawn of a run's result, or of a dict, name -> (actual, expected); not of {what}")
    for name, pair in given.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(t, torch.Tensor) for t in pair)):
            raise InputError(f"{name!r}: give a pair of tensors, (actual, expected), not {type(pair).__name__}")
        if pair[0].shape != pair[1].shape:
            raise InputError(f"{name!r}: actual is {list(pair[0].shape)}, expected is {list(pair[1].shape)}")
    return given


def platform_of_result(given: Any, platform: str | None) -> str | None:
    """The platform that is said, else that of a result."""
    return platform or getattr(given, "platform", None)
