"""The faults, by name. Each module has a tuple `FAULTS`; a module that is added is named here."""

from __future__ import annotations

from tests.faults.catalogue import endings, relays, silence, storm
from tests.faults.catalogue.base import Fault

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault for module in (silence, relays, endings, storm) for fault in module.FAULTS
}
"""In the order in which the tables show them."""
