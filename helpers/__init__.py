"""Everything around the kernels: interpret mode, platforms, stages, the `workbook` command, figures.

Importing this package imports nothing else, so that `workbook doctor` works where half of it is missing.
"""
