"""What the assembler and g++ print, read back. The texts are of their form, shortened and in other words."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.toolchain import refusals

UNIT = """module {
  func.func @rows(%arg0: !pto.ptr<f32>) {
    pto.tload ins(%0) outs(%1) loc("k.py":20:9)
    pto.tadd ins(%1, %2) outs(%3) loc("k.py":21:9)
    pto.tadd ins(%3, %2) outs(%4) loc("k.py":22:9)
  } loc("k.py":18:5)
  func.func @other(%arg0: !pto.ptr<f32>) {
    pto.tadd ins(%1, %2) outs(%3) loc("k.py":40:9)
  }
}
"""
CODE = """#include <pto/pto-inst.hpp>
static __aicore__ void rows(__gm__ float* v1) {
  TLOAD(v2, v1);
  TADD(v3, v2, v2);
  TADD<Tile<float, 8>>(v4, v3, v2);
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("ptoas/rows.pto", UNIT), ("kernels/aiv/rows.cpp", CODE), ("report/codegen_errors.txt", "")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def said(folder: Path, *blocks: tuple[str, str]) -> list[refusals.Diagnostic]:
    text = ("\n" + "=" * 72 + "\n").join(f"  [{name}]\n{said}" for name, said in blocks)
    (folder / refusals.REPORT).write_text(f"some functions failed\n  Function | Error\n\n{text}")
    return refusals.assembler(folder)


def test_the_line_that_the_assembler_names(folder: Path):
    one, two = said(
        folder,
        ("rows", "ptoas compilation failed: /a/k.py:21:9: error: 'pto.tadd' op rows of 4 bytes\n    t = pl.add(u, v)\n"
         "        ^\n/a/k.py:21:9: note: see the operation"),
        ("other", 'ptoas compilation failed: loc("/a/k.py":40:9): error: too narrow'),
    )  # fmt: skip
    assert one == refusals.Diagnostic("rows", "'pto.tadd' op rows of 4 bytes", ("/a/k.py", 21, 9))
    assert two == refusals.Diagnostic("other", "too narrow", ("/a/k.py", 40, 9))


def test_an_error_without_a_line_gets_that_of_its_task(folder: Path):
    (one,) = said(folder, ("rows", "ptoas compilation failed: Error: Pass execution failed."))
    assert one == refusals.Diagnostic("rows", "Pass execution failed.", ("k.py", 20, 9))


def test_an_error_in_the_assemblers_own_input_gets_the_line_of_its_task(folder: Path):
    (one,) = said(folder, ("rows", "ptoas compilation failed: /out/rows.pto:3:7: error: expected a tile"))
    assert one == refusals.Diagnostic("rows", "expected a tile", ("k.py", 20, 9))


def test_what_the_compilers_own_code_generation_says_is_none_of_the_assemblers(folder: Path):
    assert said(folder, ("rows", "no code for this operation")) == []
    (folder / refusals.REPORT).unlink()
    assert refusals.assembler(folder) == []


def gpp(folder: Path, row: int) -> str:
    file = folder / "kernels/aiv/rows.cpp"
    return (
        f"Kernel compilation failed with exit code 1:\nIn file included from {file}:1:\n"
        f"TAdd.hpp: In instantiation of 'void TADD(...)':\n{file}:{row}:7:   required from here\n"
        "TAdd.hpp:33:5: error: static assertion failed: a part of a tile\n   33 | static_assert(...)\n"
        "TAdd.hpp:40:5: error: and more\n"
    )


@pytest.mark.parametrize(("row", "line"), [(4, 21), (5, 22)])
def test_the_operation_that_the_headers_lack(folder: Path, row: int, line: int):
    assert refusals.cpp(gpp(folder, row)) == refusals.Unbuilt(
        "rows", "TADD", "static assertion failed: a part of a tile", ("k.py", line, 9)
    )


def test_a_line_of_the_code_that_calls_no_operation(folder: Path):
    assert refusals.cpp(gpp(folder, 2)) == refusals.Unbuilt(
        "rows", None, "static assertion failed: a part of a tile", None
    )


def test_a_message_of_another_kind_is_no_refusal(folder: Path):
    assert refusals.cpp("task 3 failed on core 5") is None
    assert refusals.cpp("Kernel compilation failed with exit code 1:\ng++: out of memory") is None


def test_a_forgotten_return_is_said_in_plain_words():
    said = refusals.forgotten_return("Internal error: function 'inc' has no ReturnStmt but declares 1 return type(s)")
    assert said == "'inc' ends without a return: PyPTO cannot compile it"
    said = refusals.forgotten_return("ForStmt iter_args at index 0 is not an IterArg after mutation [k.py:33:9]")
    assert said.startswith("the kernel ends without a return")
    assert refusals.forgotten_return("Vec buffer usage exceeds the limit") is None
