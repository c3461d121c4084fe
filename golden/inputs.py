"""What the goldens of the stages share: seeded random inputs, checks of input values, long matrix products."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from golden.spec import TensorSpec
from helpers.errors import InputError
from kernels.qwen3 import BATCH, MAX_CTX

_DRAWN = 4_194_301  # values that `draw_weight` draws
_WIDENED = 1 << 19  # elements of a weight that `product` widens at once: 2 MiB of FP32, which stay in a cache
_AT_ONCE = 1 << 20  # elements of a BF16 tensor that are drawn at once, in FP32: three times as fast as in BF16


def generator(seed: int, name: str) -> torch.Generator:
    """A stream of random numbers for each seed and tensor, so that no tensor depends on another being made."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:6], "big"))


def normal(
    seed: int,
    name: str,
    shape: Sequence[int],
    dtype: torch.dtype,
    mean: float = 0.0,
    std: float = 1.0,
    batch: int | None = None,
    is_output: bool = False,
) -> TensorSpec:
    """A tensor of normally distributed values, FP32 or BF16; with `is_output` one that a kernel updates.

    With `batch`, rows from there on are padding, and NaN: nothing may come of them.
    """

    def fill(made: torch.Tensor) -> None:
        draw(made, generator(seed, name), mean, std)
        if batch is not None:
            made[batch:] = torch.nan

    return TensorSpec(name, list(shape), dtype, fill=fill, is_output=is_output)


def weight(seed: int, name: str, shape: Sequence[int], std: float) -> TensorSpec:
    """BF16 weights, see `draw_weight`."""

    def fill(made: torch.Tensor) -> None:
        draw_weight(made, generator(seed, name), std)

    return TensorSpec(name, list(shape), torch.bfloat16, fill=fill)


def draw_weight(made: torch.Tensor, random: torch.Generator, std: float) -> None:
    """Fill a contiguous tensor with _DRAWN normally distributed values, over and over.

    Drawing the 0.33e9 weights of a layer takes longer than a run on them. _DRAWN is prime, so no two rows of a tensor
    begin at the same of these values.
    """
    flat = made.view(-1)
    drawn = flat[:_DRAWN]
    draw(drawn, random, 0.0, std)
    for first in range(_DRAWN, flat.numel(), _DRAWN):
        part = flat[first : first + _DRAWN]
        part.copy_(drawn[: part.numel()])


def draw(made: torch.Tensor, random: torch.Generator, mean: float, std: float) -> None:
    """Fill a contiguous tensor with normally distributed values."""
    if made.dtype == torch.float32:
        made.normal_(mean, std, generator=random)
        return
    for part in made.view(-1).split(_AT_ONCE):
        part.copy_(torch.empty(part.numel()).normal_(mean, std, generator=random))


def lengths(batch: int, ctx: int | Sequence[int] | None, longest: int = MAX_CTX) -> torch.Tensor:
    """`seq_lens` [batch] INT32: `ctx` for every sequence, or one of it for each; None: the greatest there is.

    Raises:
        InputError: batch or ctx out of range.
    """
    if not 1 <= batch <= BATCH:
        raise InputError(f"batch is {batch}: must be 1 to {BATCH}, the rows of a batch tile")
    values = [longest if ctx is None else ctx] * batch if ctx is None or isinstance(ctx, int) else list(ctx)
    if len(values) != batch:
        raise InputError(f"ctx has {len(values)} lengths for {batch} sequences")
    for b, length in enumerate(values):
        if not 1 <= length <= longest:
            raise InputError(f"ctx of sequence {b} is {length}: must be 1 to {longest}")
    return torch.tensor(values, dtype=torch.int32)


def of_layers(layers: int, layer: int) -> None:
    """Raises InputError unless `layer` is one of so many."""
    if layers < 1 or not 0 <= layer < layers:
        raise InputError(f"layer is {layer} of {layers} layers: must be 0 to {layers - 1}, with 1 layer or more")


HIDDEN_UNIT, INTER_UNIT = 512, 256
"""What the tiles of every version of mlp and prefill divide: 8 tiles of 64 columns, and tiles of 256."""


def check_widths(hidden: int, inter: int) -> None:
    """Raises InputError for widths, in elements, that the tiles of an MLP do not divide."""
    for what, width, unit in (("hidden", hidden, HIDDEN_UNIT), ("intermediate", inter, INTER_UNIT)):
        if width < unit or width % unit:
            raise InputError(f"the {what} width is {width}: must be a multiple of {unit}, what the tiles divide")


def tensor(values: dict[str, Any], name: str, rank: int, dtype: torch.dtype) -> torch.Tensor:
    """The tensor of that name.

    Raises:
        InputError: it is no tensor, has another rank or dtype, or is not contiguous.
    """
    value = values.get(name)
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} must be a tensor, not {type(value).__name__}")
    if value.dtype != dtype:
        raise InputError(f"{name} has dtype {value.dtype}: must be {dtype}")
    if value.ndim != rank:
        raise InputError(f"{name} has shape {list(value.shape)}: must have {rank} dimensions")
    if not value.is_contiguous():
        raise InputError(f"{name} is not contiguous: its strides are {list(value.stride())}")
    return value


def shapes(tensors: dict[str, torch.Tensor], wanted: dict[str, list[int]]) -> None:
    """Raises InputError for the first tensor whose shape is not the wanted one."""
    for name, shape in wanted.items():
        if list(tensors[name].shape) != shape:
            raise InputError(f"{name} has shape {list(tensors[name].shape)}: must be {shape}")


def batch_of(seq_lens: torch.Tensor) -> int:
    """How many sequences there are.

    Raises:
        InputError: none, or more than a batch tile has rows.
    """
    batch = seq_lens.numel()
    if not 1 <= batch <= BATCH:
        raise InputError(f"seq_lens has {batch} sequences: must be 1 to {BATCH}, the rows of a batch tile")
    return batch


def integer(values: dict[str, Any], name: str, limit: int, of: str) -> int:
    """The scalar of that name, a Python integer or a tensor with one.

    Raises:
        InputError: it is no integer, or not in 0 to limit - 1; `of` says what there is only so much of.
    """
    value = values.get(name)
    value = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} must be an integer, not {value!r}")
    if not 0 <= value < limit:
        raise InputError(f"{name} is {value}: must be 0 to {limit - 1}, {of}")
    return value


def layers_of(tensors: dict[str, torch.Tensor], norm_weight: str) -> int:
    """How many layers there are: the rows of the norm's weight.

    Raises:
        InputError: none.
    """
    layers = tensors[norm_weight].shape[0]
    if layers < 1:
        raise InputError(f"{norm_weight} has 0 rows: must have one for each layer, 1 or more")
    return layers


def layer_of(values: dict[str, Any], tensors: dict[str, torch.Tensor], norm_weight: str) -> tuple[int, int]:
    """(layer_idx, layers).

    Raises:
        InputError: no layers, or none with this index.
    """
    layers = layers_of(tensors, norm_weight)
    return integer(values, "layer_idx", layers, f"there are {layers} layers"), layers


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in the dtype of x."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight.to(x.dtype)


def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x [M, K] @ weight [K, N] in the dtype of x (FP32 or FP64), the weight widened some rows at a time."""
    total = x.new_zeros(x.shape[0], weight.shape[1])
    step = max(16, _WIDENED // weight.shape[1])
    for first in range(0, weight.shape[0], step):
        rows = slice(first, first + step)
        total.addmm_(x[:, rows], weight[rows].to(x.dtype))
    return total
