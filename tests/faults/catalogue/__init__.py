"""The faults, by name. Each module has a tuple `FAULTS`; a module that is added is named here."""

from __future__ import annotations

from tests.faults.catalogue import addresses, endings, links, machine, paths, proxies, relays, resolvers, silence, storm
from tests.faults.catalogue.base import Fault

_MODULES = (silence, links, relays, endings, resolvers, addresses, paths, proxies, machine, storm)
FAULTS: dict[str, type[Fault]] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
"""In the order in which the tables show them."""
