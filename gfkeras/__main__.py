"""Entry point of `python -m gfkeras`, which is the same as `gfkeras`."""

import sys

from gfkeras.cli import main

if __name__ == "__main__":
    sys.exit(main())
