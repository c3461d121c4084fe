"""What `%load_ext helpers` adds to a notebook: `%live` and `%%kernel`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from helpers.errors import InputError
from helpers.files import whole


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
        module = _imported(file)
        self.shell.user_ns.update({n: v for n, v in vars(module).items() if not n.startswith("_")})


def _imported(file: Path) -> ModuleType:
    """The file as a module of its own name, as it is now."""
    path = str(file.resolve())
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(file.stem, path)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(file.stem)
    sys.modules[file.stem] = module
    try:
        exec(compile(file.read_text(encoding="utf-8"), path, "exec"), vars(module))
    except BaseException:
        if before is None:
            del sys.modules[file.stem]
        else:
            sys.modules[file.stem] = before
        raise
    return module


def load(shell: InteractiveShell) -> None:
    """Add the magics to a shell."""
    shell.register_magics(Workbook)
