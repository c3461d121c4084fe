"""Interpret mode: genuine `pypto.language` kernels, unchanged, on a CPU.

ARCHITECTURE.md, at the top of the repository, says what each room holds, and which way arguments and tasks go through
them. Read `pypto.language` (what `import pypto.language` gives without PyPTO), `source.texts` and `source.source` (a
kernel's text), `lowering.lower` (kernel to Python), `machine.machine` and `ops.common` (what that Python calls),
`values.lanes` and `machine.batches` (many blocks at once), `trace.trace` and `trace.depend` (what a run leaves behind).
"""
