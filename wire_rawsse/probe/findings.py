"""Measurements in, findings out: what is wrong with a stream, the worst first, each with the one thing to change.

Pure functions of `Measurements`. The meaning of a failure depends on the other facts: a head that never comes has four
causes, which the second opinions of `second` tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wire_rawsse.probe.finding import SEVERITIES, Finding, count, day, seconds
from wire_rawsse.probe.findings_stream import of_stream
from wire_rawsse.probe.measurements import Attempt, Certificate, HopFacts, Measurements, Step
from wire_rawsse.probe.refusals import of_refusal

_EXPIRES_SOON: Final = 14 * 86400.0
_SLOW_NAME: Final = 1.0
_LATE: Final = 0.5
"""Redirects that took a larger part of the probe are why the last URL was not answered in time."""
_LOOPBACK: Final = ("127.", "[::1]:")
"""`localhost` often has two addresses, of which a server on the same machine uses one."""
_ORDER: Final[tuple[Step, ...]] = ("", "head", "tls", "tunnel", "tcp")
"""The attempt that got furthest tells most."""
_BUFFERING: Final = (
    "switch buffering off for this path in the proxy before the server (nginx: proxy_buffering off;), or have the "
    "server send X-Accel-Buffering: no and its head at once"
)


def findings(found: Measurements) -> list[Finding]:
    """The worst first; of equal ones the one nearest to the cause. Empty: all is well."""
    return sorted(_all(found), key=lambda one: SEVERITIES.index(one.severity))


def _all(found: Measurements) -> Iterator[Finding]:
    if found.error:
        yield Finding("broken", "setting", found.error, "correct what this names, and probe again")
    if not found.hops:
        return
    hop = found.hops[-1]
    if found.redirect_error:
        yield Finding(
            "broken", "redirect", found.redirect_error, "give the final URL, or correct the redirect on the server"
        )
    if hop.proxy.error:
        yield Finding(
            "broken", "proxy-setting", hop.proxy.error, f"correct that variable, or add {_host(hop)} to NO_PROXY"
        )
    if _redirects_took_all_the_time(found, hop):
        yield Finding(
            "broken",
            "slow-redirects",
            f"{count(len(found.hops) - 1, 'redirect')} took {seconds(hop.began)}: no time was left for {hop.url}",
            "give the final URL, and look at the servers that redirect: each should answer at once",
        )
    elif hop.name is not None and hop.name.error:
        yield _of_name(hop)
    elif hop.attempts and hop.head is None and not hop.redirect and not found.redirect_error:
        yield _of_failure(found, hop, _furthest(hop))
    if hop.head is not None and hop.head.error:
        yield of_refusal(found, hop)
    yield from of_stream(found, hop)
    for each in found.hops:
        yield from _of_addresses(each)
        yield from _of_certificate(found, each)
        if each.name is not None and each.name.seconds is not None and each.name.seconds > _SLOW_NAME:
            yield Finding(
                "doubtful",
                "slow-name",
                f"looking up {each.name.host} took {seconds(each.name.seconds)}",
                "look at the name servers in /etc/resolv.conf: the first one may not answer",
            )
    if found.credentials and not found.tls and not found.loopback and not found.url.startswith("unix:"):
        yield Finding(
            "doubtful",
            "cleartext",
            "credentials go over http unencrypted",
            "use the https:// URL of the server",
        )
    if len(found.hops) > 1 and not found.redirect_error:
        yield Finding(
            "note",
            "redirected",
            f"{count(len(found.hops) - 1, 'redirect')}: the final URL saves a connection at each reconnect",
        )


def _redirects_took_all_the_time(found: Measurements, hop: HopFacts) -> bool:
    """Whether the last hop got no answer because it began so late."""
    timed_out = [one.failure == "timeout" for one in hop.attempts] or [hop.name is not None and hop.name.timed_out]
    return len(found.hops) > 1 and hop.head is None and all(timed_out) and hop.began > _LATE * found.seconds


def _host(hop: HopFacts) -> str:
    place = hop.url.partition("://")[2].partition("/")[0]
    return place.rpartition(":")[0] if place.rpartition(":")[2].isdigit() else place


def _furthest(hop: HopFacts) -> Attempt:
    return min(hop.attempts, key=lambda one: _ORDER.index(one.failed_in))


def _of_name(hop: HopFacts) -> Finding:
    assert hop.name is not None
    name = hop.name
    whose = f"the proxy's name {name.host}" if hop.proxy.proxy else f"the name {name.host}"
    if name.timed_out:
        return Finding(
            "broken",
            "name-timeout",
            f"{whose} cannot be looked up: {name.error}",
            "look at the name servers in /etc/resolv.conf: they do not answer",
        )
    where = f"in {hop.proxy.variable}" if hop.proxy.proxy else "in the URL"
    return Finding(
        "broken",
        "name",
        f"{whose} cannot be resolved: {name.error}",
        f"correct the host {where}, or add it to DNS",
    )


def _of_failure(found: Measurements, hop: HopFacts, attempt: Attempt) -> Finding:
    """No address gave an answer."""
    if attempt.failed_in == "tcp":
        return _of_tcp(hop, attempt)
    if attempt.failed_in == "tunnel":
        return _of_tunnel(hop, attempt)
    if attempt.failed_in == "tls":
        return _of_tls(found, hop, attempt)
    return _of_head(found, attempt)


def _of_tcp(hop: HopFacts, attempt: Attempt) -> Finding:
    addresses = ", ".join(one.address for one in hop.attempts[:4])
    target, setting = addresses, "in the URL"
    if hop.proxy.proxy:
        target, setting = f"the proxy {hop.proxy.proxy} ({addresses})", f"in {hop.proxy.variable}"
    kinds = {one.failure for one in hop.attempts}
    place = "path of the socket" if hop.url.startswith("unix:") else "host and port"
    if attempt.failure == "refused" or "refused" in kinds:
        return Finding(
            "broken",
            "refused",
            f"{target} refuses connections: nothing listens there",
            f"start the {'proxy' if hop.proxy.proxy else 'server'}, or correct the {place} {setting}",
        )
    if attempt.failure == "closed":
        return Finding(
            "broken",
            "closed",
            f"{target} ends each connection at once: {attempt.error}",
            f"look at the {'proxy' if hop.proxy.proxy else 'server'}, or at the firewall before it: it does not want "
            "connections from this machine",
        )
    if attempt.failure == "timeout" or "timeout" in kinds:
        return Finding(
            "broken",
            "no-answer",
            f"{target} does not answer: {attempt.error}",
            f"start that host, or let TCP to {addresses} through the firewalls between it and this machine",
        )
    return Finding(
        "broken",
        "unreachable",
        f"{target} cannot be reached: {attempt.error}",
        f"correct the {place} {setting}"
        if hop.url.startswith("unix:")
        else "correct the routes or firewall of this machine, or the host in the URL",
    )


def _of_tunnel(hop: HopFacts, attempt: Attempt) -> Finding:
    proxy, variable = hop.proxy.proxy, hop.proxy.variable
    if ": 407" in attempt.error:
        return Finding(
            "broken",
            "proxy-credentials",
            attempt.error,
            f"give the proxy its credentials: {variable}=http://user:password@{proxy}",
        )
    change = f"allow CONNECT to {_host(hop)} in the proxy {proxy} (set by {variable}), or add {_host(hop)} to NO_PROXY"
    if attempt.failure == "refused":
        return Finding("broken", "proxy-refuses", attempt.error, change)
    text = f"the proxy {proxy} opens no tunnel: {attempt.error}"
    return Finding(
        "broken", "proxy", text, f"correct {variable} if this is no http proxy, or add {_host(hop)} to NO_PROXY"
    )


def _of_tls(found: Measurements, hop: HopFacts, attempt: Attempt) -> Finding:
    if attempt.failure == "certificate":
        return _of_bad_certificate(found, hop, attempt)
    if attempt.failure == "timeout":
        lost = _by_second_opinions(found, attempt, "the TLS handshake")
        return lost or Finding(
            "broken",
            "tls-timeout",
            f"{attempt.address} accepts TCP and then does not answer: {attempt.error}"
            + ("; nor with small segments" if found.cross.small_segments == "did not help" else ""),
            "look at the server: its program hangs or is overloaded",
        )
    if attempt.failure == "alert":
        change = "look at the server's TLS settings"
        if "certificate" in attempt.error:
            change = "give a client certificate that the server accepts, with --cert and --key"
        elif "ALPN" in attempt.error:
            change = "allow HTTP/1.1 on the server or load balancer; it is the version that event streams need here"
        return Finding("broken", "tls-alert", attempt.error, change)
    if "does not speak TLS" in attempt.error:
        return Finding("broken", "not-tls", attempt.error, "use http:// in the URL, or the server's port for https")
    return Finding(
        "broken",
        "tls",
        attempt.error,
        "look at the server's log: it ended the connection during TLS; it may expect another name (SNI) or version",
    )


def _of_bad_certificate(found: Measurements, hop: HopFacts, attempt: Attempt) -> Finding:
    tls, host = attempt.tls, _host(hop)
    assert tls is not None
    own = tls.chain[0] if tls.chain else None
    if tls.fault == "expired":
        bad = next((one for one in tls.chain if one.not_after is not None and one.not_after < found.wall), own)
        when = f" on {day(bad.not_after)}" if bad is not None and bad.not_after is not None else ""
        if bad is not None and bad.not_after is not None:
            when += f", {seconds(found.wall - bad.not_after)} ago"
        which = " certificate" if bad is None or bad is own else f" certificate of the issuer {bad.subject}"
        return Finding(
            "broken",
            "certificate-expired",
            f"the{which} of {host} expired{when}",
            f"renew the certificate on the server {host}, and reload the server",
        )
    if tls.fault == "early":
        begins = f"on {day(own.not_before)}" if own is not None and own.not_before is not None else "later"
        return Finding(
            "broken",
            "certificate-early",
            f"the certificate of {host} becomes valid {begins}; this machine's clock says {day(found.wall)}",
            "set this machine's clock; if it is right, the server shows its next certificate too early",
        )
    if tls.fault == "name":
        names = ", ".join(own.names) if own is not None and own.names else "no name"
        return Finding(
            "broken",
            "certificate-name",
            f"the certificate is for {names}, and not for {host}",
            f"use one of those names in the URL, or issue the server a certificate for {host}",
        )
    if tls.fault == "issuer":
        return _of_issuer(host, tls.chain)
    return Finding("broken", "certificate", attempt.error, f"replace the certificate on the server {host}")


def _of_issuer(host: str, chain: list[Certificate]) -> Finding:
    if len(chain) == 1 and chain[0].self_issued:
        return Finding(
            "broken",
            "certificate-self-signed",
            f"the certificate of {host} is self-signed ({chain[0].subject})",
            "give that certificate with --cacert if you trust it, or have the server use one from a public CA",
        )
    if len(chain) == 1:
        return Finding(
            "broken",
            "certificate-issuer",
            f"the certificate of {host} was issued by {chain[0].issuer}, which is not trusted here, "
            "and the server sends no certificate of that issuer",
            "if it is a CA of your own, give its file with --cacert; if it is a public CA, have the server send its "
            "whole chain",
        )
    top = f" of {chain[-1].issuer}" if chain else ""
    return Finding(
        "broken",
        "certificate-issuer",
        f"the certificate of {host} leads to the CA{top}, which is not trusted here",
        "give the file of that CA with --cacert if you trust it",
    )


def _by_second_opinions(found: Measurements, attempt: Attempt, what: str) -> Finding | None:
    """Findings of further connections: a backend that hangs, or a path that loses large packets (RFC 2923)."""
    change = (
        'let ICMP "packet too big" through the firewalls on the path, or lower the MTU (or clamp the MSS) on the '
        "router, VPN or interface on the way"
    )
    if found.cross.repeated == "helped":
        return Finding(
            "broken",
            "flaky",
            f"{what} stalled on one connection and came on another, to the same address",
            "look at the server's processes, or at the backends of its load balancer: one of them hangs",
        )
    if found.cross.small_segments == "helped":
        return Finding(
            "broken",
            "mtu",
            f"{what} stalls, and succeeds with segments of 536 bytes: the path loses large packets (MTU black hole)",
            change,
        )
    info = attempt.info
    if info is not None and info.unacknowledged and info.retransmissions:
        return Finding(
            "broken",
            "loss",
            f"{what} stalls: {count(info.unacknowledged, 'segment')} of ours stayed unacknowledged after "
            f"{count(info.retransmissions, 'retransmission')}",
            "look at the network path: it broke after TCP had connected, or loses large packets",
        )
    return None


def _of_head(found: Measurements, attempt: Attempt) -> Finding:
    if attempt.failure == "timeout":
        lost = _by_second_opinions(found, attempt, "the response head")
        if lost is not None:
            return lost
        if attempt.got:
            return Finding(
                "broken",
                "head-stalls",
                f"the response head began ({count(attempt.got, 'byte')}) and did not end: {attempt.error}",
                "look at the server: it hangs while it writes the response head",
            )
        if found.cross.other_path == "answered":
            who = f" (Server: {found.cross.other_server})" if found.cross.other_server else ""
            return Finding(
                "broken",
                "head-held",
                f"{attempt.error}, although the server answers other requests{who}: a proxy holds the answer back, or "
                "the application sends its head with the first event only",
                _BUFFERING,
            )
        return Finding(
            "broken",
            "no-head",
            f"the server accepts connections and answers nothing: {attempt.error}",
            "look at the server: its program hangs or is overloaded; restart it",
        )
    if attempt.failure == "protocol":
        if attempt.error.startswith(("the response head is longer than", "the response head has more than")):
            return Finding(
                "broken", "head-too-large", attempt.error, "make the server or proxy send fewer header fields"
            )
        change = "correct the URL's port; if it is right, the server is no HTTP/1.1 server"
        return Finding("broken", "not-http", attempt.error, change)
    if attempt.failure == "alert":
        return Finding(
            "broken", "tls-alert", attempt.error, "give a client certificate that the server accepts (--cert)"
        )
    if attempt.failure == "closed":
        return Finding(
            "broken",
            "closed",
            f"the server ends the connection instead of answering: {attempt.error}",
            "look at the log of the server, or of the proxy or firewall before it: it ends the connection on purpose",
        )
    return Finding("broken", "head", attempt.error, "look at the server's log")


def _of_addresses(hop: HopFacts) -> Iterator[Finding]:
    """Addresses that fail while others work."""
    failed = [one for one in hop.attempts if one.failed_in]
    if not failed or len(failed) == len(hop.attempts):
        return
    dead: list[Attempt] = []
    for one in failed:
        if one.failure == "unreachable":
            yield Finding("note", "no-route", f"this machine has no route to {one.address}; another address works")
        elif one.failure == "refused" and one.address.startswith(_LOOPBACK):
            yield Finding("note", "not-there", f"nothing listens at {one.address}; another address works")
        else:
            dead.append(one)
    if dead:
        shown = "; ".join(f"{one.address}: {one.error}" for one in dead[:3])
        yield Finding(
            "doubtful",
            "dead-address",
            f"{len(dead)} of {len(hop.attempts)} addresses fail ({shown})",
            f"repair the server at {dead[0].address}, or remove that address from DNS",
        )


def _of_certificate(found: Measurements, hop: HopFacts) -> Iterator[Finding]:
    for attempt in hop.attempts:
        tls = attempt.tls
        if tls is None or not tls.verified or not tls.chain:
            continue
        ends = min((one.not_after for one in tls.chain if one.not_after is not None), default=None)
        if ends is not None and ends - found.wall < _EXPIRES_SOON:
            yield Finding(
                "doubtful",
                "certificate-soon",
                f"the certificate of {_host(hop)} expires on {day(ends)}, in {seconds(ends - found.wall)}",
                f"renew the certificate on the server {_host(hop)}",
            )
        return
