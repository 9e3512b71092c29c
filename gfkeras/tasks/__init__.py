"""The work of the commands, for Python: plain arguments in, result objects out.

`gfkeras.tasks.compare.compare` does what `gfkeras compare` does, and so on: each command has the
module of its name. A result has the numbers as attributes and `to_json()`, the content of
`--json FILE`. Nothing is printed; long tasks report progress to a function.
"""
