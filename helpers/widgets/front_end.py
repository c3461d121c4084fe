"""Whether somebody can use a widget here, and what a widget's state is kept in when its cell runs again."""

from __future__ import annotations

from IPython import get_ipython


def front_end() -> bool:
    """True when a notebook's user interface runs this cell: it names the cell in its request, which nbclient, nbval
    and the HTML pages of `make run` do not."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    return bool(shell.kernel.get_parent("shell").get("metadata", {}).get("cellId"))
