"""Peers: HTTP clients that have no parser of events, each read as its documentation shows: the pieces of the body as
they come.

Each function yields the pieces of one library, with the settings that make it fastest: no content decoders, no look at
the environment, no buffer that waits to be full. A variant is the library's name and `thread` or `main`.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.clients._handover import in_main, in_thread
from bench.clients._probe import Probe, run_variant

FOR_EVER: Final = 1e6
"""Seconds, for libraries that know no time-out without end."""
HEADERS: Final = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
Read = Callable[[str, "str | None", "float | None"], Iterator[object]]
"""The URL, the CA file if the default trust does not do, and the seconds of a read time-out, None for the default."""


def pyreqwest(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    from pyreqwest.client import SyncClientBuilder

    builder = SyncClientBuilder()
    if timeout is not None:
        builder = builder.read_timeout(timedelta(seconds=timeout))
    if ca:
        builder = builder.add_root_certificate_pem(Path(ca).read_bytes())
    with builder.build() as client:
        request = client.get(url).headers(HEADERS).streamed_read_buffer_limit(0)
        with request.build_streamed() as response:
            read = response.body_reader.read_chunk
            while (piece := read()) is not None:
                yield piece


def httpr(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    import httpr

    with (
        httpr.Client(ca_cert_file=ca, **_given(timeout=timeout)) as client,
        client.stream("GET", url, headers=HEADERS) as response,
    ):
        yield from response.iter_bytes()


def primp(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    import primp

    client = primp.Client(ca_cert_file=ca, **_given(timeout=timeout))
    with client.get(url, headers=HEADERS, stream=True) as response:
        while (piece := response.next()) is not None:
            yield piece


def curl_cffi(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    from curl_cffi import requests

    with requests.Session(**_given(verify=ca)) as session:
        yield from session.get(url, headers=HEADERS, stream=True, **_given(timeout=timeout)).iter_content()


def wreq(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    from wreq.blocking import Client

    read = None if timeout is None else timedelta(seconds=timeout)
    client = Client(**_given(tls_verify=ca and Path(ca), read_timeout=read))
    with client.get(url, headers=HEADERS).stream() as pieces:
        yield from pieces


def niquests(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    import niquests  # type: ignore[import-not-found]  # in an environment of its own

    with niquests.Session() as session:
        session.trust_env = False
        settings = _given(verify=ca, timeout=timeout)
        yield from session.get(url, headers=HEADERS, stream=True, **settings).iter_raw(-1)


def httpx2(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    import httpx2

    context = ssl.create_default_context(cafile=ca)
    with (
        httpx2.Client(verify=context, trust_env=False, **_given(timeout=timeout)) as client,
        client.stream("GET", url, headers=HEADERS) as response,
    ):
        yield from response.iter_raw()


def zapros(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    import zapros
    from zapros import StdNetworkHandler, SyncTransport

    transport = SyncTransport(ssl_context=ssl.create_default_context(cafile=ca))
    handler = StdNetworkHandler(transport=transport, read_timeout=timeout)
    with zapros.Client(handler=handler) as client, client.stream("GET", url, headers=HEADERS) as response:
        yield from response.iter_raw()


def urllib3(url: str, ca: str | None, timeout: float | None) -> Iterator[object]:
    import urllib3

    pool = urllib3.PoolManager(ca_certs=ca, **_given(timeout=timeout))
    response = pool.request("GET", url, headers=HEADERS, preload_content=False, decode_content=False)
    yield from response.stream(65536, decode_content=False)


def _given(**settings: object) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


LIBRARIES: Final[dict[str, Read]] = {
    read.__name__: read for read in (pyreqwest, httpr, primp, curl_cffi, wreq, niquests, httpx2, zapros, urllib3)
}


def listen(probe: Probe, *, library: str, in_its_own_thread: bool) -> None:
    run = in_thread if in_its_own_thread else in_main
    run(probe, lambda url: LIBRARIES[library](url, probe.ca, FOR_EVER))


if __name__ == "__main__":
    library, place = sys.argv[1].rsplit("_", 1)
    body = partial(listen, library=library, in_its_own_thread=place == "thread")
    run_variant({sys.argv[1]: ("wake", body)})
