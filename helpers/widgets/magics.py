"""What `%load_ext helpers` adds to a notebook: `%live`, `%%kernel` and `%%puzzle`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from helpers.errors import InputError
from helpers.files import whole
from helpers.puzzles.imported import imported


@magics_class
class Workbook(Magics):
    """The workbook's magics."""

    @line_magic
    def live(self, line: str) -> Any:
        """`%live STAGE.VERSION` or `%live FILE.py:KERNEL`: see helpers.widgets.live.live."""
        from helpers.widgets.live import live

        if not line.strip():
            raise InputError("%live wants STAGE, STAGE.VERSION, FILE.py or FILE.py:KERNEL")
        return live(line.strip())

    @cell_magic
    def kernel(self, line: str, cell: str) -> None:
        """`%%kernel FILE.py`: write the cell to a file, import it, and have its names in the notebook."""
        file = Path(line.strip())
        if file.suffix != ".py" or not file.stem.isidentifier():
            raise InputError(f"%%kernel wants a Python file, such as %%kernel mine.py, not {line.strip()!r}")
        if not file.resolve().parent.is_dir():
            raise InputError(f"%%kernel {file}: there is no folder {file.resolve().parent}")
        with whole(file) as out:
            out.write(cell)
        module = imported(file, file.stem)
        self.shell.user_ns.update({n: v for n, v in vars(module).items() if not n.startswith("_")})

    @cell_magic
    def puzzle(self, line: str, cell: str) -> Any:
        """`%%puzzle NAME`: check the cell as the answer to a puzzle, and keep it; see helpers.puzzles."""
        from helpers.widgets.puzzle_view import judged

        if not line.strip():
            raise InputError("%%puzzle wants the name of a puzzle, such as %%puzzle copy_tile")
        return judged(line.strip(), cell)


def load(shell: InteractiveShell) -> None:
    """Add the magics to a shell."""
    shell.register_magics(Workbook)
