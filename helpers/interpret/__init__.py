"""Interpret mode: genuine `pypto.language` kernels, unchanged, on a CPU.

Read in this order: `language` (what `import pypto.language` gives without PyPTO), `source` (a kernel's text),
`rules` (what the language allows), `lower` (kernel to Python), `machine` and `ops` (what that Python calls),
`lanes` (many blocks at once), `trace` (what a run leaves behind).
"""
