"""The work of the commands, as functions: plain arguments in, a result object out.

`gfkeras.tasks.evaluate.evaluate` does what `gfkeras evaluate` does, and so on: one module for
each command. Results are dataclasses whose `to_json()` gives what the command writes for
`--json`. Long tasks call `progress(stage, done, total)`; nothing here prints.
"""
