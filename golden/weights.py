"""Weights of a checkpoint in place of seeded ones: local safetensors files, laid out as those of Qwen/Qwen3-14B.

A checkpoint is a directory with *.safetensors files. Where there is model.safetensors.index.json, it says which file
has which tensor. Files are mapped into memory: what is not asked for is not read, and what is, is copied once, to where
a kernel takes it from. Nothing is downloaded.

A checkpoint has the weight of a projection as [output features, input features], a tensor a layer. The stages have
input features as rows, since that is how the cube reads them, and layers one after the other; norm weights in FP32.
The LM head's weight is [tokens, features] in both, with rows of zeros added to fill the padded vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from kernels.qwen3 import VOCAB, VOCAB_PADDED

INDEX = "model.safetensors.index.json"
EMBEDDING = "model.embed_tokens.weight"
PADDING = VOCAB_PADDED - VOCAB  # rows at most that the LM head's weight may lack

_LAYER = "model.layers.{}."
_QKV = {
    "wq": _LAYER + "self_attn.q_proj.weight",
    "wk": _LAYER + "self_attn.k_proj.weight",
    "wv": _LAYER + "self_attn.v_proj.weight",
}
_HEADS = {
    "q_norm_weight": _LAYER + "self_attn.q_norm.weight",
    "k_norm_weight": _LAYER + "self_attn.k_norm.weight",
}
_MLP = {
    "wo": _LAYER + "self_attn.o_proj.weight",
    "w_gate": _LAYER + "mlp.gate_proj.weight",
    "w_up": _LAYER + "mlp.up_proj.weight",
    "w_down": _LAYER + "mlp.down_proj.weight",
}
_INPUT_NORM, _POST_NORM = _LAYER + "input_layernorm.weight", _LAYER + "post_attention_layernorm.weight"
_FINAL_NORM, _HEAD = "model.norm.weight", "lm_head.weight"
_LAYERS = {"input_norm_weight": _INPUT_NORM, **_QKV, **_HEADS, "post_norm_weight": _POST_NORM, **_MLP}

SOURCES: dict[str, dict[str, str]] = {
    "qkv_proj": {"norm_weight": _INPUT_NORM, **_QKV},
    "rope_kv_cache": _HEADS,
    "flash_attention": _HEADS,
    "mlp": {"norm_weight": _POST_NORM, **_MLP},
    "lm_head": {"norm_weight": _FINAL_NORM, "lm_head_weight": _HEAD},
    "decode_layer": _LAYERS,
    "decode": {**_LAYERS, "final_norm_weight": _FINAL_NORM, "lm_head_weight": _HEAD},
    "prefill": _LAYERS,
    "prefill_chunk": _LAYERS,
}
"""By stage, then by parameter: the name in a checkpoint, {} for the layer. Source: the index of Qwen/Qwen3-14B."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a directory: their names, each with its file."""

    directory: Path
    files: dict[str, Path]

    def shape(self, name: str) -> list[int]:
        """The shape of a tensor, from its file's header.

        Raises:
            InputError: there is no such tensor, or its file cannot be read.
        """
        return self._read(name, lambda file: file.get_slice(name).get_shape())

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor, mapped and not copied; not to be written. Raises as `shape` does."""
        return self._read(name, lambda file: file.get_tensor(name))

    def rows(self, name: str, which: list[int]) -> torch.Tensor:
        """Some rows of a matrix. Raises as `shape` does."""
        return self._read(name, lambda file: torch.cat([file.get_slice(name)[row : row + 1] for row in which]))

    def _read(self, name: str, how: Callable[[Any], Any]) -> Any:
        if name not in self.files:
            raise InputError(f"the checkpoint in {self.directory} has no tensor {name}")
        try:
            with safe_open(self.files[name], framework="pt") as file:
                return how(file)
        except (OSError, SafetensorError) as problem:
            raise InputError(f"{self.files[name]} cannot be read: {problem}") from problem


def checkpoint(directory: str | Path) -> Checkpoint:
    """The checkpoint in a directory; reads the index or the headers of its files, no weights.

    Raises:
        InputError: no such directory; no safetensors files in it; a file is missing or is none.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"there is no directory {directory}: --weights is to be one with a model's safetensors files")
    index = directory / INDEX
    if index.is_file():
        return Checkpoint(directory, _indexed(index))
    found = sorted(directory.glob("*.safetensors"))
    if not found:
        raise InputError(f"{directory} has neither {INDEX} nor *.safetensors files")
    files = {}
    for path in found:
        try:
            with safe_open(path, framework="pt") as file:
                files.update(dict.fromkeys(file.keys(), path))
        except (OSError, SafetensorError) as problem:
            raise InputError(f"{path} cannot be read: {problem}") from problem
    return Checkpoint(directory, files)


def _indexed(index: Path) -> dict[str, Path]:
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {str(name): index.parent / str(file) for name, file in named.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{index} is no index of safetensors files, with a weight_map: {problem!r}") from problem
    for path in dict.fromkeys(files.values()):
        if not path.is_file():
            raise InputError(f"{index} names {path.name}, which is not there")
    return files


def loaded(stage: str, specs: list[TensorSpec | ScalarSpec], weights: Checkpoint) -> list[TensorSpec | ScalarSpec]:
    """The specs of a stage with their weights read from a checkpoint, everything else as it was.

    Every tensor is looked for, and its shape compared, now; it is read when its spec makes it.

    Raises:
        InputError: the stage has no weights of this model; a tensor is missing or has another shape.
    """
    if stage not in SOURCES:
        raise InputError(f"--weights is not for stage {stage}: it has no weights of Qwen3-14B")
    sources = SOURCES[stage]
    norm = next(spec for spec in specs if spec.name in sources)
    layers = norm.shape[0]  # a norm's weight comes first, a row a layer
    return [_loaded(spec, sources[spec.name], layers, weights) if spec.name in sources else spec for spec in specs]


def having_weights(directory: Path, stages: list[Any], every: bool) -> tuple[Checkpoint, list[Any]]:
    """The checkpoint in a directory, once it is known to have what each stage needs, and the stages.

    Args:
        every: All stages are asked for: those without weights of the model are left out.

    Raises:
        InputError: as `checkpoint` and `loaded`.
    """
    found = checkpoint(directory)
    kept = [one for one in stages if not every or one.name in SOURCES]
    for one in kept:
        loaded(one.name, one.specs(batch=1, ctx=1), found)
    return found, kept


def _loaded(spec: TensorSpec, source: str, layers: int, weights: Checkpoint) -> TensorSpec:
    layered = "{}" in source
    names = [source.format(layer) for layer in range(layers)] if layered else [source]
    rows = spec.shape[0] // len(names)
    transposed = layered and rows > 1
    for name in names:
        shape = weights.shape(name)
        wanted = spec.shape[1:] if rows == 1 else [spec.shape[1], rows] if transposed else spec.shape
        padded = 0 <= rows - shape[0] <= PADDING and source == _HEAD
        if shape[padded:] != list(wanted)[padded:]:
            raise InputError(f"{name} has shape {shape}: must be {list(wanted)}, that of the stage's {spec.name}")

    def fill(made: torch.Tensor) -> None:
        for part, name in zip(made.split(rows), names):
            tensor = weights.tensor(name)
            part = part[0] if rows == 1 else part[: len(tensor)] if source == _HEAD else part
            part.copy_(tensor.T if transposed else tensor)

    return replace(spec, fill=fill, init_value=None)


def embedding(weights: Checkpoint) -> Callable[[torch.Tensor], torch.Tensor]:
    """Embeddings of tokens [B] as BF16 [B, features], rows of the checkpoint's table.

    Raises:
        InputError: the checkpoint has no embeddings.
    """
    weights.shape(EMBEDDING)
    return lambda tokens: weights.rows(EMBEDDING, tokens.tolist()).to(torch.bfloat16)
