"""`python -m wire_rawsse`: the same command as `wire-rawsse`."""

import sys

from wire_rawsse.cli import main

if __name__ == "__main__":
    sys.exit(main())
