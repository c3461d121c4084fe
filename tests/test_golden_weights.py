"""golden.weights: a small checkpoint written by Hugging Face transformers, read as a stage's weights; and bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM
from typer.testing import CliRunner

from golden import TensorSpec, mlp, rope_kv_cache
from golden.weights import INDEX, SOURCES, checkpoint, embedding, loaded
from helpers import cli, stages
from helpers.errors import InputError
from kernels.qwen3 import HEAD_DIM

HIDDEN, INTER, LAYERS, VOCAB = 512, 256, 2, 300


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=HIDDEN,
        intermediate_size=INTER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HIDDEN // HEAD_DIM,
        num_key_value_heads=2,
        head_dim=HEAD_DIM,
        vocab_size=VOCAB,
        tie_word_embeddings=False,
        dtype=torch.bfloat16,
    )
    made = Qwen3ForCausalLM(config).to(torch.bfloat16)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "norm" in name:
                weight.normal_(1.0, 0.25)
    return made


@pytest.fixture(scope="module")
def sharded(model: Qwen3ForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as transformers saves it in several files, with an index."""
    folder = tmp_path_factory.mktemp("sharded")
    model.save_pretrained(folder, max_shard_size="1MB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert (folder / INDEX).is_file()
    return folder


def test_a_stages_weights_are_the_models(model: Qwen3ForCausalLM, sharded: Path) -> None:
    specs = mlp.specs(2, seed=1, layers=LAYERS, layer=1, hidden=HIDDEN, inter=INTER)
    made = {s.name: s.create_tensor() for s in loaded("mlp", specs, checkpoint(sharded)) if isinstance(s, TensorSpec)}
    for index, layer in enumerate(model.model.layers):
        rows = slice(index * HIDDEN, (index + 1) * HIDDEN)
        assert torch.equal(made["wo"][rows], layer.self_attn.o_proj.weight.T)
        assert torch.equal(made["w_gate"][rows], layer.mlp.gate_proj.weight.T)
        assert torch.equal(made["w_up"][rows], layer.mlp.up_proj.weight.T)
        assert torch.equal(made["w_down"][index * INTER : (index + 1) * INTER], layer.mlp.down_proj.weight.T)
        assert torch.equal(made["norm_weight"][index], layer.post_attention_layernorm.weight.float())
    seeded = {s.name: s.create_tensor() for s in specs if isinstance(s, TensorSpec)}
    assert torch.equal(made["hidden_states"][:2], seeded["hidden_states"][:2])  # no weight: as it was
    assert not torch.equal(made["wo"], seeded["wo"])


def test_what_belongs_to_no_layer(model: Qwen3ForCausalLM, sharded: Path) -> None:
    """The LM head's weight is not turned, and filled up with zeros; the final norm is one row."""
    specs = [
        TensorSpec("norm_weight", [1, HIDDEN], torch.float32),
        TensorSpec("lm_head_weight", [VOCAB + 84, HIDDEN], torch.bfloat16),
    ]
    norm, head = (s.create_tensor() for s in loaded("lm_head", specs, checkpoint(sharded)))
    assert torch.equal(norm[0], model.model.norm.weight.float())
    assert torch.equal(head[:VOCAB], model.lm_head.weight)
    assert not head[VOCAB:].any()
    rows = embedding(checkpoint(sharded))(torch.tensor([7, 0, 299, 7], dtype=torch.int32))
    assert torch.equal(rows, model.model.embed_tokens.weight[[7, 0, 299, 7]])
    specs[1] = TensorSpec("lm_head_weight", [VOCAB - 1, HIDDEN], torch.bfloat16)
    with pytest.raises(InputError, match=r"lm_head.weight has shape \[300, 512\]: must be \[299, 512\]"):
        loaded("lm_head", specs, checkpoint(sharded))


def test_every_stage_of_the_model_has_its_weights_named() -> None:
    for name, stage in stages.STAGES.items():
        if name != "mlp_32b":
            large = {s.name for s in stage.specs(batch=1, ctx=1) if "weight" in s.name or s.name.startswith("w")}
            assert large == set(SOURCES[name]), name


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """A checkpoint, in one file and without an index, of what stage rope_kv_cache takes of two layers."""
    tensors = {
        f"model.layers.{layer}.self_attn.{which}_norm.weight": torch.full(
            [HEAD_DIM], 1.0 + layer + which.count("k") / 2
        )
        for layer in range(2)
        for which in "qk"
    }
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(
        cli.app, ["run", *arguments, "--platform", "a2a3interp", "--batch", "2", "--ctx", "5,130"]
    )


def test_the_command_runs_a_stage_on_a_checkpoint(heads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(values: dict) -> None:
        seen.append(values["k_norm_weight"].clone())
        rope_kv_cache.check(values)

    stage = stages.STAGES["rope_kv_cache"]
    monkeypatch.setitem(stages.STAGES, stage.name, stages.replace(stage, check=watched))
    result = run("rope_kv_cache", "--version", "flat", "--weights", str(heads))
    assert result.exit_code == 0, result.output
    assert torch.equal(seen[0], torch.tensor([1.5, 2.5])[:, None].expand(2, HEAD_DIM))


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == cli.REFUSED
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_what_cannot_be_weights_is_refused(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    assert "there is no directory" in refused("rope_kv_cache", "--weights", str(empty / "none"))
    assert "has neither model.safetensors.index.json nor" in refused("rope_kv_cache", "--weights", str(empty))
    (empty / "model.safetensors").write_bytes(b"not one")
    assert "model.safetensors cannot be read" in refused("rope_kv_cache", "--weights", str(empty))
    message = refused("qkv_proj", "--weights", str(heads))
    assert "has no tensor model.layers.0.input_layernorm.weight" in message
    assert "not for stage mlp_32b" in refused("mlp_32b", "--weights", str(heads))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_a_broken_index_is_refused(heads: Path, text: str) -> None:
    (heads / INDEX).write_text(text)
    assert f"{INDEX} is no index" in refused("rope_kv_cache", "--weights", str(heads))


def test_an_index_of_files_that_are_not_there(heads: Path) -> None:
    (heads / INDEX).write_text(json.dumps({"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}))
    assert "names model-00001-of-00002.safetensors, which is not there" in refused(
        "rope_kv_cache", "--weights", str(heads)
    )


def test_a_tensor_of_another_shape(heads: Path) -> None:
    tensors = {name: checkpoint(heads).tensor(name).clone() for name in checkpoint(heads).files}
    name = "model.layers.1.self_attn.k_norm.weight"
    save_file({**tensors, name: torch.ones(64)}, heads / "model.safetensors")
    assert f"{name} has shape [64]: must be [128]" in refused("rope_kv_cache", "--weights", str(heads))
