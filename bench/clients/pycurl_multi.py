"""Peer: pycurl's multi interface driven by the main thread's own epoll, as libcurl's `multi_socket` wants it.

It needs no thread and has a timeout of the daemon's own.
"""

import select
from time import monotonic_ns

import pycurl

from bench.clients._probe import Probe, run
from bench.clients.pycurl_easy import easy, tune


def body(probe: Probe) -> None:
    epoll = select.epoll()
    chunks: list[bytes] = []

    def interest(what: int, fd: int, multi: object, data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            epoll.unregister(fd)
            return
        wanted = (select.EPOLLIN if what & pycurl.POLL_IN else 0) | (select.EPOLLOUT if what & pycurl.POLL_OUT else 0)
        try:
            epoll.modify(fd, wanted)
        except FileNotFoundError:
            epoll.register(fd, wanted)

    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_SOCKETFUNCTION, interest)
    handles = [easy(probe, url) for url in probe.urls]
    for curl in handles:
        tune(curl)
        curl.setopt(pycurl.WRITEFUNCTION, chunks.append)
        multi.add_handle(curl)
    multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
    while True:
        timeout = multi.timeout()
        ready = epoll.poll(5.0 if timeout < 0 else min(5.0, timeout / 1000))
        for fd, _ in ready:
            multi.socket_action(fd, 0)
        if not ready:
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if chunks:
            probe.woken(monotonic_ns())
            chunks.clear()


if __name__ == "__main__":
    run("wake", body)
