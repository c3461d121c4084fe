"""What the text of a script shows without running it."""

from __future__ import annotations

from pathlib import Path

from helpers.sanitize.rules import lint

GOLDEN = """
def golden_head(tensors):
    def tiled(x, weight, k_chunk, vocab_chunk):
        return sum(x[:, k : k + k_chunk] @ weight[k : k + k_chunk] for k in range(0, x.shape[1], k_chunk))

    def largest_first(a, b):
        return a

    tensors["out"][:] = tiled(tensors["x"], tensors["w"], 64, 128)
    tensors["order"][:] = merge(tensors["out"], largest_first)
"""


def test_a_parameter_that_a_function_inside_a_golden_does_not_use(tmp_path: Path):
    """Bug: of pull request 391's script nothing was said; its golden has a function inside that ignores a chunk size.

    What a function takes that is handed on is not its own to decide.
    """
    script = tmp_path / "head.py"
    script.write_text(GOLDEN)
    (finding,) = lint.script(script)
    assert (finding.kind, finding.severity, finding.line) == ("unused-name", "hint", 3)
    assert "'tiled' takes 'vocab_chunk'" in finding.what
