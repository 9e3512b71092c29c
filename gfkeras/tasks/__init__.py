"""The commands of `gfkeras` as Python functions.

There is one module per command: `gfkeras.tasks.evaluate.evaluate` does the work of
`gfkeras evaluate`. A function takes plain arguments and returns a dataclass. Its `to_json()`
returns the content of the `--json` file. Nothing here prints. Long tasks call
`progress(stage, done, total)` instead.
"""
