"""stream_state.json as OpenMetrics text (OpenMetrics 1.0), for Prometheus and for node_exporter's textfile collector.

That collector reads the older text format (0.0.4), which knows fewer types. So only gauges and counters are used, and
every line means the same in both; the older one takes the counters for untyped values.

A file that is missing, stale or wrong gives `wire_rawsse_status` 2 and nothing else: old numbers would be taken for
present ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from wire_rawsse.state import NEAREST_FIRST
from wire_rawsse.wire.status import Status, seconds_of

_Labels = tuple[tuple[str, str], ...]


class _Family(NamedTuple):
    kind: Literal["gauge", "counter"]
    unit: str
    help: str


_FAMILIES: Final = {
    "status": _Family("gauge", "", "The exit status of `wire-rawsse status`: 0 connected, 1 degraded, 2 unknown."),
    "state_age_seconds": _Family("gauge", "seconds", "Seconds since stream_state.json was written."),
    "endpoint_state": _Family("gauge", "", "1 for the state that the endpoint is in, 0 for the other states."),
    "endpoint_silence_seconds": _Family(
        "gauge", "seconds", "Seconds from the last received byte to the moment stream_state.json was written."
    ),
    "endpoint_last_event_timestamp_seconds": _Family("gauge", "seconds", "When an event was last received."),
    "endpoint_heartbeat_seconds": _Family("gauge", "seconds", "The learned period of the server's heartbeat."),
    "endpoint_read_limit_seconds": _Family("gauge", "seconds", "Seconds of silence that end the connection."),
    "endpoint_wakes": _Family("counter", "", "Wakes given."),
    "endpoint_early_wakes": _Family("counter", "", "Wakes given for the length of a TLS record."),
    "endpoint_spurious_wakes": _Family("counter", "", "Of the early wakes, those for a record without a data line."),
    "endpoint_events": _Family("counter", "", "Receptions with an event; events received together count once."),
    "endpoint_reconnects": _Family("counter", "", "Ended connections by cause: an error's class, end or restart."),
    "runs": _Family("counter", "", "Runs of the daemon's command that were started."),
    "run_failures": _Family("counter", "", "Runs of the daemon's command that failed or could not be started."),
    "run_failures_in_row": _Family("gauge", "", "Failed runs since the last one that succeeded."),
    "run_overdue": _Family("gauge", "", "1 while a run takes longer than --exec-timeout."),
    "last_run_timestamp_seconds": _Family("gauge", "seconds", "When the last run was started."),
}

_COPIED: Final = {
    "heartbeat": "endpoint_heartbeat_seconds",
    "read_limit": "endpoint_read_limit_seconds",
    "wakes": "endpoint_wakes",
    "events": "endpoint_events",
    "early_wakes": "endpoint_early_wakes",
    "spurious_wakes": "endpoint_spurious_wakes",
}
"""Keys of an endpoint that are metrics as they are."""


def openmetrics(statuses: Iterable[tuple[str, Status]]) -> str:
    """The text for these files, by path. Ends with `# EOF`."""
    samples: dict[str, list[tuple[_Labels, float]]] = {name: [] for name in _FAMILIES}
    for path, status in statuses:
        file = (("file", path),)
        samples["status"].append((file, status.exit_code))
        document = status.facts["document"]
        if document is None or status.facts["reason"] is not None:
            continue
        samples["state_age_seconds"].append((file, status.facts["age"]))
        for name, labels, value in [*_of_work(document), *_of_endpoints(document)]:
            samples[name].append((file + labels, value))
    lines = [line for name, found in samples.items() if found for line in _family(name, found)]
    return "\n".join([*lines, "# EOF", ""])


def _of_work(document: Mapping[str, Any]) -> Iterator[tuple[str, _Labels, float]]:
    if document.get("runs") is None:
        return
    yield "runs", (), document["runs"]
    yield "run_failures", (), document.get("failed_runs") or 0
    yield "run_failures_in_row", (), document.get("failures_in_row") or 0
    yield "run_overdue", (), bool(document.get("run_overdue"))
    if (began := seconds_of(document.get("last_run_at"))) is not None:
        yield "last_run_timestamp_seconds", (), began


def _of_endpoints(document: Mapping[str, Any]) -> Iterator[tuple[str, _Labels, float]]:
    written = seconds_of(document["ts"]) or 0.0
    # wire's own subscriber has one endpoint and no list: there the document itself is the endpoint.
    for number, one in enumerate(document.get("endpoints") or [document]):
        # Two slots of one relay may have URLs that are cut to the same text, so the place is a label as well.
        endpoint: _Labels = (("endpoint", str(number)), ("url", one.get("relay") or ""))
        for state in NEAREST_FIRST:
            yield "endpoint_state", (*endpoint, ("state", state)), state == one["state"]
        if (last_byte := seconds_of(one.get("last_byte_at"))) is not None:
            yield "endpoint_silence_seconds", endpoint, max(0.0, round(written - last_byte, 3))
        if (last_event := seconds_of(one.get("last_event_at"))) is not None:
            yield "endpoint_last_event_timestamp_seconds", endpoint, last_event
        for key, name in _COPIED.items():
            if one.get(key) is not None:
                yield name, endpoint, one[key]
        for cause, count in sorted((one.get("ends") or {}).items()):
            yield "endpoint_reconnects", (*endpoint, ("cause", cause)), count


def _family(name: str, samples: Iterable[tuple[_Labels, float]]) -> Iterator[str]:
    kind, unit, text = _FAMILIES[name]
    name = f"wire_rawsse_{name}"
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(of)}"' for label, of in labels)
        yield f"{name}{'_total' if kind == 'counter' else ''}{{{written}}} {value + 0}"


def _escaped(text: str) -> str:
    # A lone surrogate cannot be UTF-8, which the format requires.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
