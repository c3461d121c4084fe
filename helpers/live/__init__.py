"""Save, and see: a kernel's file is watched, and each save is run, compared with its golden and shown.

Read in this order: `subject` (what is developed: a stage's version, or a kernel of a file), `judge` (one run, as
plain numbers and figures), `server` (the processes in which saves run), `holder` (the golden's side, and the runs
forked from it), `one_save` (such a run), `ahead` (what is done before a save comes), `beside` (a save that fails,
beside the latest that passed; see `helpers.inside.divergence`), `session` (files watched, saves sent to the server,
what came of them), `history` (what is kept of them), `terminal` (`workbook watch`). The notebook's view is in
helpers.widgets.live.
"""
