"""`python -m wire_rawsse.relay`: the relay alone, without faults."""

from __future__ import annotations

import sys
from typing import NoReturn

from wire_rawsse.errors import InvalidRequestError, WireRawSSEError
from wire_rawsse.relay.server import RelayOptions, add_arguments, options_from, run

_USAGE = 64
_UNAVAILABLE = 69


def main(argv: list[str]) -> int:
    """0 after SIGTERM or SIGINT, 64 for arguments that cannot be, 69 where it cannot listen (sysexits.h)."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            self.print_usage(sys.stderr)
            self.exit(_USAGE, f"{self.prog}: {message}\n")

    parser = Parser(prog="python -m wire_rawsse.relay", description="wire's relay, in memory, for development.")
    add_arguments(parser)
    namespace = parser.parse_args(argv)
    try:
        run(options_from(namespace, RelayOptions))
    except WireRawSSEError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return _USAGE if isinstance(error, InvalidRequestError) else _UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
