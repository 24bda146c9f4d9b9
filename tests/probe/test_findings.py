"""The table of findings: measurements in, the code and the severity out, and a change for each that needs one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.probe.support import healthy, life
from wire_rawsse.probe.findings import findings
from wire_rawsse.probe.measurements import (
    Attempt,
    Certificate,
    Cross,
    HopFacts,
    Life,
    Measurements,
    Name,
    ProxySetting,
    Replay,
    StreamFacts,
    Tcp,
    TlsFacts,
)
from wire_rawsse.probe.report import as_json, as_text, status_of

DAY = 86400.0
NOW = 1.8e9
Change = Callable[[Measurements], object]


def hop(found: Measurements) -> HopFacts:
    return found.hops[-1]


def failed(step: str, failure: str, error: str = "it failed", **more: object) -> Change:
    """The only address fails in this step."""

    def change(found: Measurements) -> None:
        hop(found).head = found.stream = None
        hop(found).attempts = [Attempt("192.0.2.1:443", failed_in=step, failure=failure, error=error, **more)]  # type: ignore[arg-type]

    return change


def bad_certificate(fault: str, *chain: Certificate) -> Change:
    return failed("tls", "certificate", tls=TlsFacts(fault=fault, chain=list(chain)))  # type: ignore[arg-type]


def both(*changes: Change) -> Change:
    def change(found: Measurements) -> None:
        for one in changes:
            one(found)

    return change


def cross(**values: str) -> Change:
    return lambda found: setattr(found, "cross", Cross(**values))  # type: ignore[arg-type]


def head(**values: object) -> Change:
    def change(found: Measurements) -> None:
        assert hop(found).head is not None
        hop(found).head = replace(hop(found).head, **values)  # type: ignore[type-var]
        if values.get("error"):
            found.stream = None

    return change


def lives(*given: Life, **stream: object) -> Change:
    return lambda found: setattr(found, "stream", StreamFacts(lives=list(given), **stream))  # type: ignore[arg-type]


def own(**changes: object) -> Certificate:
    values = {"subject": "relay.example", "issuer": "R11", "names": ["relay.example"], "not_before": NOW - 60 * DAY}
    return Certificate(**{**values, "not_after": NOW + 60 * DAY, **changes})  # type: ignore[arg-type]


def tcp(**changes: float) -> Tcp:
    values = dict.fromkeys(Tcp.__annotations__, 0)
    return Tcp(**{**values, "segments_sent": 20, **changes})  # type: ignore[arg-type]


def set_hop(**values: object) -> Change:
    def change(found: Measurements) -> None:
        for name, value in values.items():
            setattr(hop(found), name, value)

    return change


def redirected(to: str, **values: object) -> Change:
    def change(found: Measurements) -> None:
        found.hops.insert(0, HopFacts("http://relay.example/stream", redirect=to))
        head(**values)(found)

    return change


SILENT = life(until=16.5)
STOPPED = life(1.0, 2.0, 3.0, 4.0, until=16.5)
TABLE: list[tuple[str, str, Change]] = [
    # Before a response.
    ("broken", "setting", lambda found: setattr(found, "error", "the CA file cannot be used")),
    ("broken", "proxy-setting", both(failed("", ""), set_hop(attempts=[], proxy=ProxySetting(error="socks5")))),
    ("broken", "name", both(failed("", ""), set_hop(attempts=[], name=Name("relay.example", 0.1, error="unknown")))),
    (
        "broken",
        "name-timeout",
        both(failed("", ""), set_hop(attempts=[], name=Name("relay.example", error="no answer", timed_out=True))),
    ),
    ("broken", "refused", failed("tcp", "refused")),
    ("broken", "no-answer", failed("tcp", "timeout")),
    ("broken", "unreachable", failed("tcp", "unreachable")),
    ("broken", "proxy-refuses", failed("tunnel", "refused", "the proxy p:1 refused a tunnel: 403")),
    (
        "broken",
        "proxy-credentials",
        failed("tunnel", "refused", "the proxy p:1 refused a tunnel: 407 Auth; it offers Basic"),
    ),
    ("broken", "proxy", failed("tunnel", "timeout")),
    ("broken", "certificate-expired", bad_certificate("expired", own(not_after=NOW - DAY))),
    ("broken", "certificate-early", bad_certificate("early", own(not_before=NOW + DAY))),
    ("broken", "certificate-name", bad_certificate("name", own())),
    ("broken", "certificate-self-signed", bad_certificate("issuer", own(self_issued=True))),
    ("broken", "certificate-issuer", bad_certificate("issuer", own())),
    ("broken", "certificate-issuer", bad_certificate("issuer", own(), own())),
    ("broken", "certificate-issuer", bad_certificate("issuer")),
    ("broken", "certificate", bad_certificate("other", own())),
    ("broken", "certificate-expired", bad_certificate("expired")),
    ("broken", "not-tls", failed("tls", "protocol", "the peer does not speak TLS there; is it an http:// URL?")),
    ("broken", "tls", failed("tls", "closed")),
    ("broken", "tls-alert", failed("tls", "alert", "the server requires a client certificate, and none was sent")),
    ("broken", "tls-timeout", failed("tls", "timeout")),
    ("broken", "tls-timeout", both(failed("tls", "timeout"), cross(small_segments="did not help"))),
    ("broken", "mtu", both(failed("tls", "timeout"), cross(small_segments="helped"))),
    ("broken", "mtu", both(failed("head", "timeout"), cross(small_segments="helped", other_path="answered"))),
    ("broken", "flaky", both(failed("tls", "timeout"), cross(repeated="helped", small_segments="helped"))),
    ("broken", "flaky", both(failed("head", "timeout"), cross(repeated="helped", small_segments="did not help"))),
    ("broken", "loss", failed("head", "timeout", info=tcp(unacknowledged=1, retransmissions=3))),
    ("broken", "no-head", failed("head", "timeout")),
    ("broken", "no-head", both(failed("head", "timeout"), cross(other_path="silent", small_segments="did not help"))),
    ("broken", "head-held", both(failed("head", "timeout"), cross(other_path="answered", other_server="nginx"))),
    ("broken", "head-stalls", failed("head", "timeout", got=53)),
    ("broken", "not-http", failed("head", "protocol")),
    ("broken", "head-too-large", failed("head", "protocol", "the response head is longer than 65536 bytes")),
    ("broken", "closed", failed("head", "closed")),
    ("broken", "tls-alert", failed("head", "alert")),
    # Answers that are no stream.
    ("broken", "status-206", head(status=206, error="206")),
    ("broken", "status-300", head(status=300, error="300")),
    ("broken", "status-401", head(status=401, error="401")),
    ("broken", "status-403", head(status=403, error="403")),
    ("broken", "status-404", head(status=404, error="404")),
    ("broken", "status-418", head(status=418, error="418")),
    ("broken", "status-429", head(status=429, error="429", retry_after="30")),
    ("broken", "status-502", head(status=502, error="502")),
    ("broken", "status-599", head(status=599, error="599")),
    ("broken", "proxy-credentials", head(status=407, error="407")),
    ("broken", "web-page", head(html=True, error="text/html")),
    ("broken", "login-page", redirected("https://login.example/", html=True, error="text/html")),
    ("broken", "not-a-stream", head(error="application/json")),
    ("broken", "compressed", head(coding="gzip", error="gzip")),
    ("broken", "redirect", lambda found: setattr(found, "redirect_error", "from https to http; refused")),
    (
        "broken",
        "slow-redirects",
        both(
            redirected("https://relay.example/stream"),
            failed("head", "timeout"),
            lambda found: setattr(hop(found), "began", 17.0),
        ),
    ),
    (
        "broken",
        "no-head",
        both(redirected("https://relay.example/stream"), failed("head", "timeout")),
    ),
    # Streams.
    ("broken", "malformed", lives(life(1.0, end="malformed", error="a bad chunk"))),
    ("broken", "too-large", lives(life(1.0, end="too large", error="too large"))),
    ("broken", "broken", lives(life(1.0, end="other", error="no route"))),
    ("broken", "idle-cut", lives(life(until=5.1, end="cut"), life(until=5.2, end="reset"))),
    ("broken", "idle-cut", lives(life(until=5.1, end="clean"))),
    ("doubtful", "ends", lives(life(1.0, 2.0, 3.0, until=3.2, end="clean"))),
    ("broken", "cut", lives(life(1.0, 2.0, 3.0, until=3.2, end="cut"))),
    ("doubtful", "reconnect", lives(*healthy().stream.lives, refused="503")),  # type: ignore[union-attr]
    ("doubtful", "silent", lives(SILENT, alive="answered")),
    ("broken", "path-dead", lives(SILENT, alive="unanswered")),
    ("broken", "path-reset", lives(SILENT, alive="reset")),
    ("broken", "framing-drips", lives(SILENT, stray=16)),
    ("broken", "wedged", lives(STOPPED, alive="answered")),
    ("broken", "mtu", lives(STOPPED, alive="answered", info=tcp(out_of_order=4))),
    ("doubtful", "loss", lives(*healthy().stream.lives, info=tcp(retransmissions=5))),  # type: ignore[union-attr]
    ("doubtful", "loss", lives(*healthy().stream.lives, info=tcp(out_of_order=9))),  # type: ignore[union-attr]
    ("doubtful", "fixed-length", head(framing="length")),
    ("doubtful", "cached", head(age="17")),
    ("doubtful", "clock", head(skew=-90.0, held=None)),
    ("doubtful", "head-held", head(held=8.0)),
    ("doubtful", "no-replay", lambda found: setattr(found, "replay", Replay("ignores"))),
    ("doubtful", "no-replay", lambda found: setattr(found, "replay", Replay("nothing"))),
    ("doubtful", "no-replay", lambda found: setattr(found, "replay", Replay("refused", error="400"))),
    ("broken", "response-clock", lambda found: setattr(found, "clocks", (10.0, 0.02, 75.0))),
    ("doubtful", "slow-head", lambda found: setattr(found, "clocks", (10.0, 0.05, 75.0))),
    ("broken", "read-clock", lambda found: setattr(found, "clocks", (10.0, 15.0, 0.9))),
    ("doubtful", "slow-heartbeat", lambda found: setattr(found, "clocks", (10.0, 15.0, 1.9))),
    ("doubtful", "cleartext", lambda found: found.__dict__.update(credentials=True, tls=False)),
    (
        "doubtful",
        "dead-address",
        lambda found: hop(found).attempts.append(Attempt("192.0.2.2:443", failed_in="tcp", failure="timeout")),
    ),
    (
        "doubtful",
        "certificate-soon",
        set_hop(attempts=[Attempt("a", tls=TlsFacts(0.1, verified=True, chain=[own(not_after=NOW + DAY)]))]),
    ),
    ("doubtful", "slow-name", set_hop(name=Name("relay.example", 3.0, ["192.0.2.1:443"]))),
]


@pytest.mark.parametrize(("severity", "code", "change"), TABLE, ids=[f"{n}-{row[1]}" for n, row in enumerate(TABLE)])
def test_each_is_named_and_says_what_to_change(severity: str, code: str, change: Change) -> None:
    found = healthy()
    change(found)
    result = findings(found)
    assert result, "nothing was found"
    assert (result[0].severity, result[0].code) == (severity, code), result
    assert result[0].change and result[0].text
    status = {"broken": 2, "doubtful": 1}[severity]
    assert status_of(result) == status
    text = as_text(found, result)
    assert text.startswith(f"{severity.upper():<9} {result[0].text}\nchange    {result[0].change}\n")
    assert as_json(found, result)["change"] == result[0].change


def test_a_healthy_stream_has_none() -> None:
    found = healthy()
    assert findings(found) == []
    assert as_text(found, []).startswith("WELL      an event stream, with a heartbeat every 1 s;")
    assert as_json(found, [])["change"] is None


NOTES: list[tuple[str, Change]] = [
    (
        "no-route",
        lambda found: hop(found).attempts.append(Attempt("[::1]:443", failed_in="tcp", failure="unreachable")),
    ),
    ("not-there", lambda found: hop(found).attempts.append(Attempt("[::1]:443", failed_in="tcp", failure="refused"))),
    (
        "redirected",
        lambda found: found.hops.insert(0, HopFacts("http://relay.example/", redirect="https://relay.example/")),
    ),
    ("no-ids", lambda found: found.stream.__dict__.update(events=3)),
]


@pytest.mark.parametrize(("code", "change"), NOTES, ids=[row[0] for row in NOTES])
def test_a_note_is_no_fault(code: str, change: Change) -> None:
    found = healthy()
    change(found)
    result = findings(found)
    assert [(one.severity, one.code) for one in result] == [("note", code)]
    assert status_of(result) == 0
    assert as_text(found, result).startswith("WELL")


def test_a_long_probe_does_not_ask_for_a_longer_one() -> None:
    found = replace(healthy(), seconds=120.0)
    lives(life(until=119.0), alive="answered")(found)
    [result] = [one for one in findings(found) if one.code == "silent"]
    assert "--for" not in result.change and "comment line" in result.change


def test_lines_are_folded_for_a_terminal_behind_their_labels() -> None:
    found = healthy()
    lives(STOPPED, alive="answered")(found)
    folded = as_text(found, findings(found), 60)
    assert max(map(len, folded.splitlines())) < 60
    assert " ".join(folded.split()) == " ".join(as_text(found, findings(found)).split())


def test_the_default_read_clock_bears_a_heartbeat_of_30_s() -> None:
    found = replace(healthy(), seconds=95.0)
    lives(life(30.1, 60.1, 90.2, until=94.0))(found)
    assert findings(found) == []


def test_what_buffers_is_looked_for_in_the_head() -> None:
    found = healthy()
    head(held=8.0, fields=[("server", "nginx/1.22.1"), ("via", "1.1 varnish")])(found)
    [result] = findings(found)
    assert "server: nginx/1.22.1, via: 1.1 varnish" in result.text and "proxy_buffering off" in result.change
    head(fields=[("x-accel-buffering", "no")])(found)
    [result] = findings(found)
    assert "no nginx" in result.change and "proxy_buffering" not in result.change


def test_the_worst_comes_first() -> None:
    found = healthy()
    both(head(skew=90.0), lives(STOPPED, alive="answered"))(found)
    assert [one.code for one in findings(found)] == ["wedged", "clock"]


def test_the_attempt_that_got_furthest_is_named() -> None:
    found = healthy()
    failed("tcp", "refused")(found)
    hop(found).attempts.append(Attempt("192.0.2.2:443", failed_in="head", failure="closed", error="closed"))
    assert [one.code for one in findings(found)] == ["closed"]


def test_the_expired_certificate_of_an_issuer_is_named() -> None:
    found = healthy()
    bad_certificate("expired", own(), own(subject="Intermediate X", not_after=NOW - 3 * DAY))(found)
    [result] = findings(found)
    assert "Intermediate X" in result.text and "3 days ago" in result.text


def test_a_certificate_that_expired_is_named_with_its_date() -> None:
    found = healthy()
    bad_certificate("expired", own(not_after=NOW - 29 * DAY))(found)
    [result] = findings(found)
    assert result.text == "the certificate of relay.example expired on 2026-12-17 08:00 UTC, 29 days ago"


@pytest.mark.parametrize(("status", "change"), [(206, "URL of an event stream"), (418, "does not understand")])
def test_a_success_is_not_taken_for_a_refusal(status: int, change: str) -> None:
    found = healthy()
    head(status=status, error="what it said")(found)
    assert change in findings(found)[0].change


def test_the_advised_heartbeat_is_shorter_than_the_silence_that_was_too_long() -> None:
    found = healthy()
    lives(life(until=7.0, end="cut"))(found)
    assert "every 3.5 s;" in findings(found)[0].change
    lives(life(until=80.0, end="cut"))(found)
    assert "every 15 s;" in findings(found)[0].change
