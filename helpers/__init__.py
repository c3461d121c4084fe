"""Everything around the kernels: interpret mode, platforms, stages, the `workbook` command, figures.

Importing this package imports nothing else, so that `workbook doctor` works where half of it is missing.
"""

from helpers import threads  # noqa: F401 - before torch


def load_ipython_extension(shell: object) -> None:
    """`%load_ext helpers`."""
    from helpers.widgets import magics

    magics.load(shell)
