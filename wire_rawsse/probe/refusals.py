"""The meaning of an answer that is no event stream, and the thing to change."""

from __future__ import annotations

from typing import Final

from wire_rawsse.probe.finding import Finding
from wire_rawsse.probe.measurements import Head, HopFacts, Measurements

_CHANGES: Final = {
    204: "nothing, if the server means it: 204 tells clients to stop; otherwise give another URL",
    200: "give the URL of an event stream: what is there answers, and has no stream",
    400: "correct the URL's path and query, or the header fields: the server does not understand the request",
    403: "give a token (or client certificate) that permits this stream",
    404: "correct the path of the URL: the server has no such stream",
    405: "use the method that the server expects, with --method",
    406: "have the server offer text/event-stream for this path",
    410: "give the URL of a stream that exists: this one was removed",
    421: "use the host name that the server expects in the URL",
    426: "use a server or path that speaks HTTP/1.1",
    500: "look at the server's log: its program failed",
    502: "start or repair the application: the proxy before it cannot reach it",
    503: "wait until the server is in service again, or start the application",
    504: "repair the application, or raise the proxy's time-out: the proxy waited in vain for an answer",
}


def of_refusal(found: Measurements, hop: HopFacts) -> Finding:
    """The finding for a response head that is no event stream."""
    head = hop.head
    assert head is not None
    if head.status == 200 and head.coding and not head.html:
        return Finding(
            "broken",
            "compressed",
            head.error,
            "switch compression off for text/event-stream on the server or proxy (nginx: gzip off; for this path)",
        )
    if head.html and (head.status == 200 or head.status == 511) and len(found.hops) > 1:
        return Finding(
            "broken",
            "login-page",
            f"instead of a stream came a web page, after a redirect from {found.hops[-2].url} to {hop.url}: "
            "the login of a network (captive portal) or of a single sign-on",
            "log in to this network with a browser; if the server itself wants a login, give it a token (--token-file)",
        )
    if head.html and head.status in (200, 511):
        return Finding(
            "broken",
            "web-page",
            f"{head.error}. It is a web page: a wrong path, or the login of this network (captive portal)",
            "correct the path of the URL; in a guest network, log in with a browser first",
        )
    if head.status == 200:
        return Finding(
            "broken",
            "not-a-stream",
            head.error,
            "correct the path of the URL, or have the server send Content-Type: text/event-stream",
        )
    if head.status in (400, 426) and _wants_websocket(head):
        return Finding(
            "broken",
            "websocket",
            f"{head.error}. A WebSocket server answers there",
            "give the URL of an event stream: WebSocket is another protocol",
        )
    if head.status == 401:
        change = "give a token that is valid now, with --token-file (or an Authorization line in a --headers-file)"
        return Finding("broken", "status-401", head.error, change)
    if head.status == 407:
        change = f"give the proxy its credentials: {hop.proxy.variable}=http://user:password@{hop.proxy.proxy}"
        return Finding("broken", "proxy-credentials", head.error, change)
    if head.status == 429:
        wait = f" ({head.retry_after} seconds or at that time)" if head.retry_after else ""
        return Finding(
            "broken",
            "status-429",
            head.error,
            f"wait as long as the server asks{wait}, and have fewer clients connect",
        )
    nearest = 500 if head.status >= 500 else 400 if head.status >= 400 else 200
    change = _CHANGES.get(head.status, _CHANGES[nearest])
    if hop.proxy.proxy and hop.url.startswith("http:"):
        # The proxy forwards the request, and may be the one that answers.
        change += f"; or look at the proxy {hop.proxy.proxy} (set by {hop.proxy.variable}), if that is what refuses"
    return Finding("broken", f"status-{head.status}", head.error, change)


def _wants_websocket(head: Head) -> bool:
    upgrade = any(name == "upgrade" and "websocket" in value.lower() for name, value in head.fields)
    return upgrade or "websocket" in head.error.lower()
