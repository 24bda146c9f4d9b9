"""The logger `wire_rawsse`. `logging` is loaded only when there is something to say: it is larger than we are."""

from __future__ import annotations

import sys


def warn(text: str) -> None:
    """Something went wrong, and what is done about it. `text` holds no secret."""
    import logging

    logging.getLogger("wire_rawsse").warning("%s", text)


def tell(text: str) -> None:
    """Something went as it should: said only where the program has loaded `logging` for itself."""
    if "logging" in sys.modules:
        import logging

        logging.getLogger("wire_rawsse").info("%s", text)
