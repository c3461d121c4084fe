"""The exercises of the notebooks: `exercise("1.1", answer)` says whether an answer is right. Solutions are at the end.

An exercise that is not solved yet prints so and nothing breaks: a notebook runs from top to bottom either way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from helpers.errors import InputError
from kernels.qwen3 import EPS, KV_HEADS, MAX_PAGES, PAGE, Q_PAD


@dataclass(frozen=True)
class Exercise:
    """A check and an answer that passes it.

    Attributes:
        check: Gets an answer and returns what is wrong with it, None when nothing is. May raise.
        why: What to say when it is right.
        solution: An answer that is right.
    """

    check: Callable[[Any], str | None]
    why: str
    solution: Any


def exercise(name: str, answer: Any = None) -> None:
    """Print whether `answer` solves exercise `name`; None, or a function that returns None, is not solved yet.

    Raises:
        InputError: there is no such exercise.
    """
    print(f"exercise {name}: {verdict(name, answer)}")


def verdict(name: str, answer: Any = None) -> str:
    """What `exercise` prints after the name."""
    if name not in EXERCISES:
        raise InputError(f"there is no exercise {name!r}; there are: {', '.join(EXERCISES)}")
    if answer is None or answer is ...:
        return "not solved yet"
    try:
        wrong = EXERCISES[name].check(answer)
    except _NotYet:
        return "not solved yet"
    except Exception as error:
        wrong = f"the check ended with {type(error).__name__}: {error}"
    return f"right. {EXERCISES[name].why}" if wrong is None else f"not right: {wrong}"


class _NotYet(Exception):
    """A function that was to be written still returns None."""


def _called(answer: Any, *args: Any) -> Any:
    if not callable(answer):
        raise TypeError(f"a function is asked for, not {answer!r}")
    value = answer(*args)
    if value is None or value is ...:
        raise _NotYet
    return value


def number(right: int, hint: str) -> Callable[[Any], str | None]:
    """A check for one number."""
    return lambda answer: None if type(answer) is not bool and answer == right else f"{answer!r}. {hint}"


def _rms_norm(answer: Any) -> str | None:
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    weight = torch.linspace(0.5, 1.5, 32)
    got = _called(answer, x, weight)
    if not isinstance(got, torch.Tensor) or got.shape != x.shape:
        return f"it must return a tensor of shape {list(x.shape)}"
    off = (got - x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight).abs().max().item()
    return None if off < 1e-5 else f"the largest error is {off:.2g}; the mean is over the last axis"


def _row(answer: Any) -> str | None:
    for layer, pages, page, head, offset in ((0, 8, 0, 0, 0), (0, 8, 3, 0, 0), (0, 8, 2, 5, 17), (3, 9, 8, 7, 127)):
        right = ((layer * pages + page) * KV_HEADS + head) * PAGE + offset
        got = _called(answer, layer, pages, page, head, offset)
        if got != right:
            return f"layer {layer} of {pages} pages, page {page}, head {head}, offset {offset}: {got}, not {right}"
    return None


def _slot(answer: Any) -> str | None:
    for pages, length in (([7], 1), ([4, 9], 128), ([4, 9], 129), ([5, 0, 3], 300)):
        right = pages[(length - 1) // PAGE] * PAGE + (length - 1) % PAGE
        got = _called(answer, pages, length)
        if got != right:
            return f"pages {pages}, length {length}: {got}, not {right}"
    return None


def _join(answer: Any) -> str | None:
    random = torch.Generator().manual_seed(0)
    for shift in (0.0, 300.0, -300.0):
        scores = torch.randn(5, 24, generator=random)
        scores[:, 16:] += shift
        v = torch.randn(24, 128, generator=random)
        parts = []
        for page in (slice(0, 16), slice(16, 24)):
            top = scores[:, page].amax(1, keepdim=True)
            weights = torch.exp(scores[:, page] - top)
            parts += [weights @ v[page], top, weights.sum(1, keepdim=True)]
        got = _called(answer, *parts)
        if not isinstance(got, (tuple, list)) or len(got) != 3 or not all(isinstance(x, torch.Tensor) for x in got):
            return "it must return three tensors: o, maximum, sum"
        if [x.shape for x in got] != [x.shape for x in parts[:3]]:
            return f"shapes are {[list(x.shape) for x in got]}, not {[list(x.shape) for x in parts[:3]]}"
        if not torch.equal(got[1], torch.maximum(parts[1], parts[4])):
            return "the maximum is not the larger of the two"
        off = (got[0] / got[2] - torch.softmax(scores, 1) @ v).abs().max().item()
        if not off < 1e-5:
            return f"with maxima about {abs(shift):.0f} apart, o / sum is off by {off:.2g}"
    return None


def _work_table(answer: Any) -> str | None:
    for lengths in ([1], [128, 129], [300, 1, 4096]):
        right = _pages_of(lengths)
        got = _called(answer, lengths)
        if got != right:
            return f"lengths {lengths}: {got}, not {right}"
    return None


def _pages_of(lengths: list[int]) -> list[int]:
    return [b * MAX_PAGES + p for b, n in enumerate(lengths) for p in range(-(-n // PAGE))]


def _joined(o_a: Any, max_a: Any, sum_a: Any, o_b: Any, max_b: Any, sum_b: Any) -> tuple:
    top = torch.maximum(max_a, max_b)
    a, b = torch.exp(max_a - top), torch.exp(max_b - top)
    return o_a * a + o_b * b, top, sum_a * a + sum_b * b


class _Functional(TorchFunctionMode):
    """Notes which functions of torch.nn are called, by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(getattr(func, "__module__", "")).startswith(("torch.nn", "torch._C._nn")):
            self.called.append(func.__name__)
        return func(*args, **(kwargs or {}))


def _silu_mul(answer: Any) -> str | None:
    gate = torch.tensor([[-300.0, -2.0, -0.5, 0.0, 0.5, 2.0, 300.0]])
    up = torch.tensor([[1.0, -1.0, 3.0, 4.0, -5.0, 6.0, 0.25]])
    right = torch.nn.functional.silu(gate) * up
    with _Functional() as functions:
        got = _called(answer, gate, up)
    if functions.called:
        return f"it calls {functions.called[0]} of torch.nn: write the formula"
    if not isinstance(got, torch.Tensor) or got.shape != gate.shape:
        return f"it must return a tensor of shape {list(gate.shape)}"
    wrong = (~((got - right).abs() <= 1e-5)).nonzero().tolist()
    if not wrong:
        return None
    i, j = wrong[0]
    return f"gate {gate[i, j].item():g}, up {up[i, j].item():g}: {got[i, j].item():g}, not {right[i, j].item():g}"


def _valid_rows(answer: Any) -> str | None:
    for batch, first, rows in ((16, 0, 16), (5, 0, 16), (20, 16, 16), (5, 16, 16), (16, 16, 16)):
        right = max(0, min(rows, batch - first))
        got = _called(answer, batch, first, rows)
        if got != right:
            return f"{batch} sequences, a tile of {rows} rows from row {first} on: {got}, not {right}"
    return None


def _greedy(answer: Any) -> str | None:
    best = torch.tensor([[1.0, 5.0, -2.0], [3.0, 5.0, -1.0], [2.0, 4.0, -3.0]])
    place = torch.tensor([[7, 0, 9], [200, 255, 0], [3, 8, 31]])
    right = torch.tensor([256 + 200, 0, 256])
    got = _called(answer, best, place)
    if not isinstance(got, torch.Tensor) or got.shape != right.shape:
        return "it must return a tensor with a token for each sequence, a column of best and place"
    return None if torch.equal(got.long(), right) else f"{got.tolist()}, not {right.tolist()}, for {best.tolist()}"


def _seen(answer: Any) -> str | None:
    for pos, p in ((0, 0), (127, 0), (128, 0), (128, 1), (130, 1), (127, 1), (300, 0), (300, 2)):
        right = max(0, min(PAGE, pos + 1 - p * PAGE))
        got = _called(answer, pos, p)
        if got != right:
            return f"position {pos}, page {p}: {got}, not {right}"
    return None


def _windows(answer: Any) -> str | None:
    for start, tokens in ((0, 16), (0, 17), (15, 1), (15, 2), (16, 16), (30, 100), (127, 1)):
        right = (start + tokens - 1) // 16 - start // 16 + 1
        got = _called(answer, start, tokens)
        if got != right:
            return f"{tokens} tokens from position {start} on: {got}, not {right}"
    return None


EXERCISES: dict[str, Exercise] = {
    "0.1": Exercise(
        number(16, "One task is one tile of 16 rows."),
        "One block for each tile of 16 rows.",
        16,
    ),
    "0.2": Exercise(
        number(2 * 64 * 512 * 4, "The scratch tensor has 64 x 512 FP32 elements; it is written once and read once."),
        "The scratch tensor, once out and once in.",
        2 * 64 * 512 * 4,
    ),
    "0.3": Exercise(
        _rms_norm,
        "That is a golden: the math in torch, with no tiles in it.",
        lambda x, weight: x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight,
    ),
    "1.1": Exercise(
        number(6 * 7 * KV_HEADS, "Six tasks for every (sequence, KV head)."),
        "Six steps for each of 7 x 8 heads.",
        6 * 7 * KV_HEADS,
    ),
    "1.2": Exercise(
        _row,
        "A page keeps the tokens of one KV head together, which is what attention will read.",
        lambda layer, pages, page, head, offset: ((layer * pages + page) * KV_HEADS + head) * PAGE + offset,
    ),
    "1.3": Exercise(
        _slot,
        "The table says which page, the rest of the position says where in it.",
        lambda pages, length: pages[(length - 1) // PAGE] * PAGE + (length - 1) % PAGE,
    ),
    "1.4": Exercise(
        number(6, "A sequence gives 8 blocks; how many sequences give 48?"),
        "6 x 8 = 48 blocks, one for each vector core.",
        6,
    ),
    "2.1": Exercise(
        number(KV_HEADS * (3 + 4 * 3), "300 tokens are three pages. What does each KV head have, what each page?"),
        "rope_kv_cache, start and finish for each of 8 KV heads, and four tasks for each of its 3 pages.",
        KV_HEADS * (3 + 4 * 3),
    ),
    "2.2": Exercise(
        _join,
        "Both are brought to one maximum first; then they are plain sums.",
        _joined,
    ),
    "2.3": Exercise(
        number(37, "A block for each core group, and the work table. A5 has 36 core groups."),
        "The block count comes from the device: 36 blocks, and the table.",
        37,
    ),
    "2.4": Exercise(
        number(Q_PAD * PAGE * (4 + 2), "Scores are 16 x 128 in FP32, weights are 16 x 128 in BF16."),
        "8 KiB of scores and 4 KiB of weights.",
        Q_PAD * PAGE * (4 + 2),
    ),
    "2.5": Exercise(
        _work_table,
        "Only pages that exist, so equal shares of the table are equal shares of the work.",
        _pages_of,
    ),
    "3.1": Exercise(
        number(2 + 1 + 2 * 40, "Gate, up, SiLU, then two tasks for each tile of 128 of the 5,120 output columns."),
        "Three to make the tile, and a product and an addition for each of 40 tiles of the output.",
        2 + 1 + 2 * 40,
    ),
    "3.2": Exercise(
        _silu_mul,
        "exp(300) is infinite in FP32, its reciprocal 0: the formula needs no special case.",
        lambda gate, up: gate / (1 + torch.exp(-gate)) * up,
    ),
    "3.3": Exercise(
        number(4, "How many blocks are there, how many core groups?"),
        "20 blocks on 24 core groups; on A5, 16 of 36 have nothing to do. Smaller tiles or splitting K would help.",
        4,
    ),
    "3.4": Exercise(
        number(2944, "UB has 188,416 bytes, as an error in notebook 00 said; a column of the tile has 16 x 4 of them."),
        "188,416 / 64. A whole row of 8,192 would be 512 KiB for 16 sequences; kernels walk over it in pieces.",
        2944,
    ),
    "3.5": Exercise(
        number(224, "28 groups of 256 columns, in as many parts as K is cut into."),
        "28 x 8. On 24 core groups these are nine rounds and a third.",
        224,
    ),
    "4.1": Exercise(
        number(1367, "Bytes of 152,064 x 5,120 weights in BF16, over 1.139e12 bytes a second."),
        "1.557 GB at 1.139 TB/s: the floor of pull request 391.",
        1367,
    ),
    "4.2": Exercise(
        number(149, "594 chunks of 256 columns; the last task may have fewer."),
        "594 / 4, rounded up. On 24 core groups these are seven rounds, the last with 5 tasks.",
        149,
    ),
    "4.3": Exercise(
        _valid_rows,
        "Never below zero: a tile may begin after the last sequence.",
        lambda batch, first, rows: max(0, min(rows, batch - first)),
    ),
    "4.4": Exercise(
        _greedy,
        "The best chunk of each sequence, then the place in it; the first of equals, as argmax has it.",
        lambda best, place: best.argmax(0) * 256 + place.gather(0, best.argmax(0)[None])[0],
    ),
    "5.1": Exercise(
        number(1 + 40 * 312 + 321, "The table once, 312 tasks a layer, and wide's 321 for all logits."),
        "One table, 40 layers of 312 tasks, 321 for the LM head.",
        1 + 40 * 312 + 321,
    ),
    "5.2": Exercise(
        number(25, "Weights of 40 layers, 660.6 MB each, and 1.557 GB for the LM head, at 1.139e12 bytes a second."),
        "28 GB in all. A step that reads every weight once, at that rate, takes no less.",
        25,
    ),
    "6.1": Exercise(
        number(200 * 58 + 4 * 676, "58 tasks for each token, 676 for each tile of 64, the last tile included."),
        "200 x 58 for the tokens, 4 x 676 for the tiles, the last of which has 8 tokens.",
        200 * 58 + 4 * 676,
    ),
    "6.2": Exercise(
        _seen,
        "A page it is past, whole; its own, up to itself; a later one, not at all.",
        lambda pos, p: max(0, min(PAGE, pos + 1 - p * PAGE)),
    ),
    "6.3": Exercise(
        _windows,
        "From the window of the first token to that of the last: a chunk may begin and end within one.",
        lambda start, tokens: (start + tokens - 1) // 16 - start // 16 + 1,
    ),
}
