"""Bugs for the fuzzer to find: each is a slip of a hand in shipped code, which the invariant of a target has to catch.

They are found twice. The committed corpus has to break on each (`test_planted`), so that an invariant that has become
blind, or a corpus from which too much was thrown away, does not go unnoticed. And a fuzzer that knows nothing but the
seeds has to find each too: `python -m tests.fuzz TARGET --plant WORDS` says after how many inputs it did.
"""

from __future__ import annotations

from typing import Final

from tests.simulation.planting import Plant, plant

SHIPPED: Final = "us, and shipped until a fuzzer found it"

PLANTS: Final[dict[str, list[Plant]]] = {
    "events": [
        plant(
            "a CR at the end of a feed is forgotten",
            "protocol.sse:_Stream._as_lf",
            'self._after_cr = piece.endswith(b"\\r")',
            "self._after_cr = False",
        ),
        plant("an id that holds a NUL is taken", "protocol.sse:_Stream._set_id", 'if b"\\0" not in value:', "if True:"),
        plant(
            "a type outlives its block",
            "protocol.sse:EventParser._interpret",
            '                self._type = ""\n                size = 0\n',
            "                size = 0\n",
        ),
        plant(
            "what looks like a whole event is one, though a block is open",
            "protocol.sse:EventParser.feed",
            "if self._between and data[:6]",
            "if self._ready and data[:6]",
        ),
        plant(
            "a line that is opened by itself opens no block",
            "protocol.sse:EventParser.feed",
            "self._between = False",
            "pass",
        ),
        plant(
            "the open line does not count towards the limit while it grows",
            "protocol.sse:EventParser.feed",
            "if len(line) > self._room:",
            "if False:",
        ),
        plant(
            "what begins and ends as an event is one",
            "protocol.sse:EventParser.feed",
            "if _LF not in value:",
            "if True:",
        ),
        plant(
            "what looks like one-line events is never looked at closely",
            "protocol.sse:EventParser._read",
            'if "\\n" not in "".join(values):',
            "if True:",
        ),
        plant(
            "an id that waits for its blank line is forgotten by the wakes",
            "protocol.sse:WakeParser._read",
            "if metadata or self._id != self.last_event_id:",
            "if metadata:",
        ),
        plant(
            "an id that waits for its blank line is forgotten where an event comes first",
            "protocol.sse:WakeParser.feed",
            "self._id == self.last_event_id\n",
            "True\n",
        ),
        plant(
            "what begins and ends as an event is one for the wakes",
            "protocol.sse:WakeParser.feed",
            'and data.find(b"\\n") == len(data) - 2',
            "",
        ),
        plant(
            "line ends do not count towards the limit",
            "protocol.sse:EventParser._interpret",
            "            size += len(line) + 1\n",
            "            size += len(line)\n",
        ),
    ],
    "exchange": [
        plant(
            "whether a head is too long depends on the reads",
            "protocol.http:Exchange.head",
            "allowed = data[: HEAD_BYTES - self._head_bytes]",
            "allowed = data",
        ),
        plant(
            "what comes with the head is lost",
            "protocol.http:Exchange.head",
            "self._behind_head = self.rest() + data[len(allowed) :]",
            "pass",
        ),
        plant(
            "an echoed secret is quoted",
            "protocol.http:Exchange.head",
            "got: {self._secrets.quote(self._first)}",
            "got: {self._first[:80]!r}",
        ),
        plant(
            "a secret in what are no chunks is quoted",
            "protocol.http:Exchange.body",
            "shown = self._secrets.quote(read)",
            "shown = read[:80]",
        ),
        plant(
            "a body that was cut short has ended",
            "protocol.http:Exchange._plain_body",
            "raise TruncatedError(_CUT_SHORT) from None",
            "return",
        ),
        plant(
            "a 204 has chunks",
            "protocol.http:Exchange._next_head",
            "has_body = self._h11.their_state is h11.SEND_BODY and event.status_code not in (204, 304)",
            "has_body = True",
            by=SHIPPED,
        ),
        plant(
            "behind an interim response any version will do",
            "protocol.http:Exchange._next_head",
            'event.http_version[:1] != b"1"',
            "False",
            by=SHIPPED,
        ),
        plant(
            "what is coded is accepted",
            "protocol.http:check_event_stream",
            "if coding is not None:",
            "if False:",
        ),
        plant(
            "credentials follow to another origin",
            "protocol.redirect:follow",
            "hop.credentials and same",
            "hop.credentials",
        ),
        plant(
            "a redirect leads out of TLS",
            "protocol.redirect:follow",
            'if hop.url.scheme == "https" and url.scheme == "http":',
            "if False:",
        ),
        plant("a step up is no step", "protocol.url:_without_dots", "del kept[-1:]", "pass"),
    ],
    "relay_json": [
        plant(
            "a bad token is quoted",
            "wire.relay_json:_endpoint",
            'f"{where}.slot_token: expected visible',
            'f"{where}.slot_token: {slot_token!r}: expected visible',
        ),
        plant(
            "of two entries for a stream the last one counts",
            "wire.relay_json:_usable",
            "first = found.setdefault(stream_url(endpoint), endpoint)",
            "first = found[stream_url(endpoint)] = endpoint",
        ),
        plant(
            "a slot may be several segments",
            "wire.relay_json:stream_url",
            "_encoded(endpoint.slot_id)",
            "_encoded(endpoint.slot_id, b'/')",
        ),
        plant(
            "a slot may lead upwards",
            "wire.relay_json:stream_url",
            'if endpoint.slot_id in ("", ".", ".."):',
            'if endpoint.slot_id == "":',
        ),
        plant(
            "a user name is taken beside the token",
            "wire.relay_json:_endpoint",
            "if url.authorization is not None:",
            "if False:",
        ),
        plant(
            "an empty list of endpoints hides the flat triple",
            "wire.relay_json:_endpoints",
            "if entries:",
            "if entries is not None:",
        ),
    ],
    "urls": [
        plant("controls are let in", "protocol.url:parse_url", "if not _CONTROLS.isdisjoint(text):", "if False:"),
        plant(
            "the host begins at the first @",
            "protocol.url:parse_url",
            'userinfo, _, place = authority.rpartition("@")',
            'userinfo, _, place = authority.partition("@") if "@" in authority else ("", "", authority)',
        ),
        plant("port 0 is a port", "protocol.url:_host_and_port", "0 < int(port) < 65536", "int(port) < 65536"),
        plant(
            "the name of an interface loses its case",
            "protocol.url:_host_and_port",
            "address.lower() + mark[:1] + zone",
            "(address + mark[:1] + zone).lower()",
            by=SHIPPED,
        ),
        plant(
            "a path is sent as it came",
            "protocol.url:_ascii",
            "if _SENT_AS_IS.issuperset(target):",
            "if True:",
        ),
        plant(
            "NO_PROXY takes the end of a name for a subdomain",
            "protocol.proxy:_excepted",
            'host.endswith("." + name)',
            "host.endswith(name)",
        ),
        plant(
            "a CGI program's HTTP_PROXY is followed",
            "protocol.proxy:_names",
            'if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ:',
            "if False:",
        ),
        plant(
            "an empty variable does not count",
            "protocol.proxy:_names",
            "[name for name in pair if name in environ][:1]",
            "[name for name in pair if environ.get(name)][:1]",
        ),
        plant(
            "a proxy of no known kind is repeated",
            "protocol.proxy:_parse",
            'if len(scheme[1]) <= len("socks5h") else "an unknown kind"',
            "",
            by=SHIPPED,
        ),
    ],
    "requests": [
        plant(
            "a value may hold controls",
            "protocol.request:check_value",
            "if not _BAD_IN_VALUE.isdisjoint(value):",
            "if False:",
        ),
        plant(
            "the connection's own fields may be given",
            "protocol.request:check_headers",
            "if encoded.lower() in _OURS_ALONE:",
            "if False:",
        ),
        plant(
            "an id is sent whatever it holds",
            "protocol.request:compose",
            "if last_event_id and can_carry(last_event_id):",
            "if last_event_id and last_event_id.isprintable():",
        ),
        plant(
            "our fields stand beside the caller's",
            "protocol.request:compose",
            "overridden = {name.lower() for name, _ in given}",
            "overridden = {name for name, _ in given}",
        ),
        plant(
            "a method need only begin well",
            "protocol.request:check_method",
            "_is_token(encoded)",
            "_is_token(encoded[:1])",
        ),
    ],
    "chunks": [
        plant(
            "a read that ends as a chunk does is one, whatever its size says",
            "protocol.chunked:ChunkedBody.whole",
            "int(size, 16) == len(rest) - 2",
            "int(size, 16)",
        ),
        plant(
            "a size may be spelled as Python spells it",
            "protocol.chunked:ChunkedBody.whole",
            "size.isalnum() and size[0] != _ZERO",
            "size",
        ),
        plant(
            "in the middle of a chunk another one may come",
            "protocol.chunked:ChunkedBody.whole",
            "if self._state == _SIZE and not self._line:",
            "if not self._line:",
        ),
        plant(
            "a chunk need not end where its size says",
            "protocol.chunked:_whole_chunks",
            'if not size or data[end : end + 2] != b"\\r\\n":',
            "if not size:",
        ),
        plant(
            "a line need not end with CR",
            "protocol.chunked:ChunkedBody._take_line",
            'if not line.endswith(b"\\r"):',
            "if False:",
        ),
        plant(
            "the first trailer is the last",
            "protocol.chunked:ChunkedBody._interpret",
            "self.ended = not line",
            "self.ended = True",
        ),
        plant(
            "the beginning of a line that was cut is forgotten",
            "protocol.chunked:ChunkedBody._take_line",
            "            self._line = line\n",
            "            self._line = line[-1:]\n",
        ),
        plant(
            "a long line is refused only where it was cut",
            "protocol.chunked:ChunkedBody._take_line",
            "if len(line) > LONGEST_LINE + 1:",
            "if end < 0 and len(line) > LONGEST_LINE + 1:",
        ),
    ],
    "wakes": [
        plant(
            "the wake that is owed before a failure is lost",
            "connection:_read",
            "if news and not receive.woke_early:",
            "if news and not receive.woke_early and intake.failure is None:",
        ),
        plant(
            "of the pieces of a read only the last can wake",
            "connection:Intake._take_all",
            "if self._sink.feed(piece):\n                self.event = True\n",
            "self.event = self._sink.feed(piece)\n",
        ),
        plant("what the hint misses wakes nobody", "wake_streams:WakeSink.feed", "return news", "return False"),
        plant(
            "the sink forgets the last event ID",
            "wake_streams:WakeSink.feed",
            "self.last_event_id = parser.last_event_id",
            "pass",
        ),
        plant("a stream goes on behind its end", "connection:_read", "if exchange.ended:", "if False:"),
    ],
    "secrets": [
        plant("escapes are not undone", "redact:_readings", "2 * _NESTED + 1", "1"),
        plant("one escape of another is not undone", "redact:_readings", "2 * _NESTED + 1", "2"),
        plant("what is derived is not masked", "redact:_Forms.__init__", "left = _MOST_DERIVED", "left = 0"),
        plant(
            "only what is unescaped to the end is searched",
            "redact:Secrets._masked",
            "in _readings(text):",
            "in list(_readings(text))[-1:]:",
        ),
    ],
    "dates": [
        plant(
            "months are counted from zero", "policy:_moment", "_MONTHS.index(month) + 1", "_MONTHS.index(month) or 1"
        ),
        plant(
            "a moment that has passed is waited for backwards",
            "policy:retry_after",
            "return max(0.0, _moment(value, wall) - wall)",
            "return _moment(value, wall) - wall",
        ),
        plant(
            "a server may ask for years",
            "policy:decide",
            "min(retry_after(error.retry_after, wall), LONGEST_WISH)",
            "retry_after(error.retry_after, wall)",
        ),
        plant(
            "who never gives up gives up",
            "policy:decide",
            "if permanent and not persistent:",
            "if permanent:",
        ),
    ],
    "state_json": [
        plant(
            "a relay that is null is printed",
            "wire.status:_details",
            'if one.get("relay") else []',
            'if "relay" in one else []',
            by=SHIPPED,
        ),
        plant("a dead writer is believed", "wire.status:_stale", "if there is False:", "if False:"),
        plant("a stamp from the future is believed", "wire.status:_stale", "if age < -STALE_AFTER:", "if False:"),
        plant(
            "what a file holds gets to the terminal",
            "wire.status:_printable",
            'return "".join(character if character.isprintable() else "." for character in cut)',
            "return cut",
        ),
        plant("true is a number", "wire.status:_is_count", "type(value) is int", "isinstance(value, int)"),
    ],
    "growth": [
        plant(
            "each segment of a path copies those before it",
            "protocol.url:_without_dots",
            "kept.append(segment)",
            "kept = [*kept, segment]",
        ),
        plant(
            "each endpoint is compared with those before it",
            "wire.relay_json:_usable",
            "found.setdefault(stream_url(endpoint), endpoint)",
            "next((one for place, one in found.items() if place == stream_url(endpoint)), None)"
            " or found.setdefault(stream_url(endpoint), endpoint)",
        ),
        plant(
            "the end of a quoted string is looked for from each quote",
            "protocol.http:_essence",
            "re.findall(_ELEMENT,",
            "re.findall(_ELEMENT.replace('\"?)+', '\")+'),",
        ),
        plant(
            "a reconnection time of any length is a number",
            "protocol.sse:_Stream._set_retry",
            "if len(digits) <= 16 else MAX_RETRY_MS",
            "if True else MAX_RETRY_MS",
        ),
    ],
}

ENDLESS: Final[dict[str, list[Plant]]] = {
    "chunks": [
        plant(
            "the way of nearly every read goes no further",
            "protocol.chunked:_whole_chunks",
            "        position = end + 2\n",
            "",
        ),
    ],
}
"""What only a search finds, as it interrupts what takes too long (`slow`); an ordinary test would hang."""


def by_words(name: str, words: str) -> Plant:
    """The target's plant whose name holds these words. Raises `LookupError` where there is none, or more than one."""
    found = [one for one in [*PLANTS[name], *ENDLESS.get(name, [])] if words in one.name]
    if len(found) != 1:
        raise LookupError(f"{len(found)} plants of {name} have {words!r} in their name")
    return found[0]
