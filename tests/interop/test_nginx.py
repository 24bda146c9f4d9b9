"""Behind nginx, a TLS reverse proxy such as many a relay has: with and without buffering, and with a dead relay.

nginx's kernel and nginx itself go on answering whatever has become of the relay. So nothing below HTTP can notice, and
its own `proxy_read_timeout` is a minute after which it closes; the clocks of ours are shorter here.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.command import PATIENCE, Command
from tests.interop.support import Nginx, connected, until
from wire_rawsse import Backoff, Keepalive, StreamSubscriber, Timeouts
from wire_rawsse.testing import RelayClient, RelayProcess, Slot

pytestmark = pytest.mark.interop

READ, RESPONSE = 2.0, 1.5
HEARTBEAT = 0.3


class Behind(NamedTuple):
    nginx: Nginx
    relay: RelayProcess
    client: RelayClient
    slot: Slot
    token_file: Path
    home: Path

    @property
    def stream(self) -> str:
        return f"{self.nginx.url}{self.slot.path}/stream"

    def listen(self) -> Command:
        return Command(
            *("listen", "--json", "--all", "--cacert", self.nginx.ca, "--token-file", str(self.token_file)),
            *("--read-timeout", str(READ), "--response-timeout", str(RESPONSE), self.stream),
            home=self.home,
        )


@pytest.fixture
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Behind]:
    buffering: bool = request.param
    with ExitStack() as stack:
        relay = stack.enter_context(RelayProcess(heartbeat=HEARTBEAT))
        client = stack.enter_context(relay.client())
        nginx = stack.enter_context(Nginx(tmp_path / "nginx", relay.url, buffering=buffering))
        slot = client.allocate()
        token_file = tmp_path / "token"
        token_file.write_text(slot.slot_token)
        yield Behind(nginx, relay, client, slot, token_file, tmp_path)


def until_line(command: Command, key: str, text: str = "", *, but_not: str = "nothing") -> str:
    """The next line of `listen --json --all` that has `key`, and `text` in it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        line = command.line()
        assert but_not not in json.loads(line), line
        if key in json.loads(line) and text in line:
            return line
        assert time.monotonic() < deadline, f"no {key} with {text!r} came, but {line}"


@pytest.mark.parametrize("behind", [False], indirect=True, ids=["unbuffered"])
def test_without_buffering_a_stopped_relay_is_noticed_and_the_stream_is_repaired(behind: Behind) -> None:
    with behind.listen() as command:
        until_line(command, "opened")
        behind.client.post(behind.slot, {"event_id": "e1"})
        until_line(command, "data", "e1")
        quiet = time.monotonic()
        while time.monotonic() < quiet + 1.5 * READ:  # The heartbeats pass through, and keep it.
            until_line(command, "comment", "phyllis", but_not="closed")

        behind.relay.suspend()
        # By our own clock, and before nginx ends the connection, which it does after a minute.
        until_line(command, "closed", f"was silent for read={READ:g} s", but_not="opened")
        assert behind.nginx.reachable()
        # nginx takes the next request too, and cannot answer it.
        until_line(command, "closed", f"within response={RESPONSE:g} s", but_not="opened")

        behind.relay.resume()
        until_line(command, "opened")
        behind.client.post(behind.slot, {"event_id": "e2"})
        until_line(command, "data", "e2")


@contextmanager
def filling(behind: Behind) -> Iterator[None]:
    """Post until the block ends: enough to fill the buffers of whatever attempt is under way."""
    enough = threading.Event()

    def post() -> None:
        with behind.relay.client() as client:
            while not enough.wait(0.05):
                client.post(behind.slot, {"large": "x" * 20_000})

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("behind", [True], indirect=True, ids=["buffered"])
def test_with_buffering_the_silence_is_noticed_too(behind: Behind) -> None:
    """nginx keeps back head and events until its buffers are full. A wake cannot come early, but nothing is wedged."""
    with behind.listen() as command:
        until_line(command, "closed", f"within response={RESPONSE:g} s", but_not="opened")
        with filling(behind):
            until_line(command, "opened")
            until_line(command, "data", "large")
        until_line(command, "closed", f"was silent for read={READ:g} s")

        behind.relay.suspend()
        until_line(command, "closed", f"within response={RESPONSE:g} s")
        assert behind.nginx.reachable()


@pytest.mark.parametrize("behind", [False], indirect=True, ids=["unbuffered"])
def test_keepalive_is_answered_for_a_relay_that_is_gone(behind: Behind) -> None:
    """Probes each second, of which two may be missing: they would end the stream long before `read`. nginx answers."""
    read = 6.0
    with StreamSubscriber(
        behind.stream,
        bearer_token=behind.slot.slot_token,
        tls=behind.nginx.ca,
        timeouts=Timeouts(connect=PATIENCE, response=PATIENCE, read=read),
        keepalive=Keepalive(idle=1, interval=1, count=2),
        backoff=Backoff(initial=0.05, maximum=0.1, healthy_after=1),
    ) as listening:
        until(listening, lambda state: state.last_byte_at is not None)
        behind.relay.suspend()
        until(listening, lambda state: not connected(state))
        state = listening.state
        assert f"was silent for read={read:g} s" in (state.last_error or "")
        behind.relay.resume()
        _, wakes = until(listening, connected)
        assert wakes or listening.wait(PATIENCE)
