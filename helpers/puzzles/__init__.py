"""Puzzles: kernels that the reader writes. Which there are, the stub of each, the check of an answer, and progress.

Read `found` (which there are), `stub_text` (what the reader gets), `verdict` (the check), `kept_progress`
(what is kept).
"""
