"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path, mode: str = "w") -> Iterator[Any]:
    """A file to write to, text (UTF-8) or, with "wb", bytes. It becomes `path` at the end; what raises leaves `path` as
    it was.

    It is written beside `path`, under a name of this process, and renamed.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
