"""Interpret mode: genuine `pypto.language` kernels, unchanged, on a CPU.

Read in this order: `language` (what `import pypto.language` gives without PyPTO), `source` (a kernel's text),
`rules` (what the language allows), `lower` and `lowering` (kernel to Python), `machine` (`gm`, `onchip`, `launch`) and
`ops` (what that Python calls), `lanes` and `batches` (many blocks at once), `trace` (what a run leaves behind),
`depend` (which task waits for which).
"""
