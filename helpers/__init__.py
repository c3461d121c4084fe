"""Everything around the kernels: interpret mode, platforms, stages, the `workbook` command, figures.

Importing this package imports nothing else, so that `workbook doctor` works where half of it is missing.
"""

import os

# Torch's threads spin while they wait for each other, which on a busy machine costs more than the work. This must be
# said before torch is first imported, and is only a default.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def load_ipython_extension(shell: object) -> None:
    """`%load_ext helpers`."""
    from helpers.widgets import magics

    magics.load(shell)
