"""A relay that fails on request, in a process of its own, for tests of programs that read event streams.

    from wire_rawsse.testing import Fault, RelayProcess

    with RelayProcess(heartbeat=1.0) as relay, relay.client() as client:
        slot = client.allocate()
        ...                                         # start the program under test on relay.url + slot.path + "/stream"
        client.misbehave(Fault("silent", "stream"))  # the stream goes silent; its connection stays open
        client.wait_until("injected", 1)            # the fault has happened
        client.normal()

Public are the names in `__all__`. The other modules of this package may change at any time:

`faults`      the faults that can be asked for: values, no I/O
`connection`  a server connection that can be held, cut and reset at any byte
`injector`    how each fault is injected into a connection
`control`     the control port
`server`      the relay of `wire_rawsse.relay` with these four
`client`      a small blocking client of the relay and of its control port
`process`     the relay in a process of its own, as a context manager

`client`, `faults` and `process` import no asyncio, so that a program that measures pays for none.
"""

from wire_rawsse.testing.client import Posted, RelayClient, Slot
from wire_rawsse.testing.faults import Fault
from wire_rawsse.testing.process import RelayProcess

__all__ = ["Fault", "Posted", "RelayClient", "RelayProcess", "Slot"]
