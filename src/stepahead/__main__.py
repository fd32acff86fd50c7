"""`python -m stepahead`."""

import sys

from stepahead.cli import main

if __name__ == "__main__":
    sys.exit(main())
