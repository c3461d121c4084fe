"""Save, and see: a kernel's file is watched, and each save is run, compared with its golden and shown.

Read in this order: `subject` (what is developed: a stage's version, or a kernel of a file), `judge` (one run, as plain
numbers and figures), `server` (the processes in which saves run), `session` (files watched, saves sent to the server,
what came of them), `history` (what is kept of them), `terminal` (`workbook watch`). The notebook's view is in
helpers.widgets.live.
"""
