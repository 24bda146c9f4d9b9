"""No descriptor left (EMFILE), at every moment at which one is needed: a state and a retry, never an exception.

Each case is a process of its own, with a limit (RLIMIT_NOFILE) that leaves it no number. `ssl`, `certifi` and `logging`
are files too: what is loaded only when it is needed may be needed just then.
"""

from __future__ import annotations

import sys

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import PATIENCE, InThread, run_script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit to set")

PRELUDE = """
import os, resource, sys, time
from wire_rawsse import Backoff, EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
url, ca = sys.argv[1:]
QUICK = Backoff(initial=0.05, maximum=0.05, healthy_after=0.05)

def none_left(but=0):
    # No number is given away any more, or only the next few.
    limit = 3
    if but:
        limit = os.dup(0)
        os.close(limit)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit + but, most))

def enough():
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

def went_wrong():
    end = time.monotonic() + 10
    while subscriber.state.last_error is None:
        assert subscriber.wait(0.01) is False
        assert time.monotonic() < end, subscriber.state
    return subscriber.state.last_error
"""

CASES = {
    "the first wait": """
subscriber = StreamSubscriber(url, tls=ca)
none_left()
assert subscriber.wait(0) is False
began = time.monotonic()
assert subscriber.wait(0.2) is False
assert time.monotonic() - began >= 0.2
assert time.monotonic() - 10 < subscriber.deadline() <= time.monotonic() + 0.05
try:
    subscriber.fileno()
except OSError:
    pass
else:
    raise AssertionError("there is no descriptor to give")
enough()
assert subscriber.wait(20)
assert subscriber.fileno() >= 0
""",
    "the first few descriptors": """
for spare in (1, 2, 3, 4):
    subscriber = StreamSubscriber(url, tls=ca, backoff=QUICK)
    none_left(but=spare)
    woken = subscriber.wait(0.06)
    enough()
    assert woken or subscriber.wait(20)
    subscriber.close()
""",
    "asyncio": """
import asyncio
from wire_rawsse.aio import AsyncEventSource, AsyncStreamSubscriber
async def main():
    global subscriber
    subscriber, source = AsyncStreamSubscriber(url, tls=ca, backoff=QUICK), AsyncEventSource(url, tls=ca, backoff=QUICK)
    none_left()
    assert await subscriber.wait(0) is False
    assert await subscriber.wait(0.2) is False
    assert await source.next(0.1) is None
    enough()
    assert await subscriber.wait(20)
    assert await source.next_item(20)
    subscriber.close()
    source.close()
asyncio.run(main())
""",
    "a thread that starts": """
import wire_rawsse.hosts.thread
wake = WakeChannel()
none_left()
thread = spawn_stream_subscriber(wake, StreamSubscriber(url, tls=ca))
subscriber = thread.subscriber
assert wake.wait(0.2) is False
assert thread.is_alive()
enough()
assert wake.wait(20)
thread.stop()
assert not thread.is_alive()
none_left()
another = spawn_stream_subscriber(wake, StreamSubscriber(url, tls=ca))
time.sleep(0.02)
another.stop()
assert not another.is_alive()
""",
    "the first connection": """
subscriber = StreamSubscriber(url, tls=ca, backoff=QUICK)
subscriber.fileno()
none_left()
told = went_wrong()
enough()
assert subscriber.wait(20), told
""",
    "the first connection, with everything loaded": """
import logging, ssl, certifi
subscriber = StreamSubscriber(url, tls=ca, backoff=QUICK)
subscriber.fileno()
if ca:
    from wire_rawsse.transport.contexts import context_for
    context_for(ca)
none_left()
assert "Too many open files" in went_wrong(), subscriber.state
enough()
assert subscriber.wait(20)
""",
    "a later connection": """
import logging
subscriber = StreamSubscriber(url, tls=ca, backoff=QUICK)
assert subscriber.wait(20)
none_left()
subscriber.restart()
assert "Too many open files" in went_wrong(), subscriber.state
while subscriber.wait(0):
    pass
enough()
assert subscriber.wait(20)
""",
    "a source": """
source = EventSource(url, tls=ca, backoff=QUICK)
none_left()
assert source.next(0.2) is None
enough()
assert type(next(source.items())).__name__ == "Opened"
source.close()
subscriber = StreamSubscriber(url)
""",
    "the default trust": """
subscriber = StreamSubscriber(url, backoff=QUICK)
if ca:  # A certifi of the test's own, whose only root is the server's.
    import shutil, ssl
    home = os.path.join(os.path.dirname(ca), "packages")
    os.makedirs(f"{home}/certifi", exist_ok=True)
    open(f"{home}/certifi/__init__.py", "w").close()
    shutil.copy(ca, f"{home}/certifi/cacert.pem")
    sys.path.insert(0, home)
    ssl.create_default_context()
subscriber.fileno()
none_left()
told = went_wrong()
enough()
assert subscriber.wait(20), subscriber.state.last_error
""",
}


@pytest.mark.parametrize("case", CASES)
def test_no_descriptor_left(serve: Serve, ca_file: str, tls: bool, case: str) -> None:
    server = serve(tls=tls)
    hold = InThread(server.peer)
    run_script(f"{PRELUDE}{CASES[case]}\nsubscriber.close()\n", server.url, ca_file)
    hold.result(PATIENCE)
