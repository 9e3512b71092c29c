"""`python -m gfkeras` is the command `gfkeras`."""

import sys

from gfkeras.cli import main

if __name__ == "__main__":
    sys.exit(main())
