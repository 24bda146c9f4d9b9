"""stream_state.json as metrics: read back by Prometheus' own parsers and by node_exporter."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client import parser as text_parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from tests.conftest import missing
from tests.support.ports import free_port
from wire_rawsse.wire.metrics import openmetrics
from wire_rawsse.wire.state_file import SCHEMA, rfc3339
from wire_rawsse.wire.status import Status, assess

NOW = 1767225600.0


def document(**changes: Any) -> dict[str, Any]:
    well = {
        "relay": 'http://a/"quoted"\\',
        "state": "connected",
        "last_event_at": rfc3339(NOW - 20),
        "last_byte_at": rfc3339(NOW - 12.5),
        "reconnect_count": 3,
        "wakes": 7,
        "events": 4,
        "ends": {"ReadTimeout": 2, "end": 1},
        "heartbeat": 30.0,
        "read_limit": 47.0,
    }
    down = {"relay": "http://b", "state": "error", "last_event_at": None, "reconnect_count": 0}
    return {
        "schema": SCHEMA,
        "ts": rfc3339(NOW - 10),
        "state": "connected",
        "last_event_at": None,
        "reconnect_count": 3,
        "pid": 1,
        "runs": 12,
        "failed_runs": 5,
        "failures_in_row": 1,
        "run_overdue": False,
        "last_run_at": rfc3339(NOW - 11),
        "endpoints": [well, down],
        **changes,
    }


def judged(**changes: Any) -> Status:
    return assess(document(**changes), NOW, lambda pid: True)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels (without the file) to value."""
    found = {}
    for sample in read(text):
        labels = sorted((key, value) for key, value in sample.labels.items() if key != "file")
        found[sample.name, tuple(labels)] = sample.value
    return found


def read(text: str, parser: Any = openmetrics_parser) -> list[Any]:
    """All samples, as one of the two parsers finds them."""
    return [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]


def test_what_it_holds() -> None:
    found = samples(openmetrics([("/state.json", judged())]))
    first = (("endpoint", "0"), ("url", 'http://a/"quoted"\\'))

    def of(name: str, *labels: tuple[str, str]) -> float:
        return found[f"wire_rawsse_{name}", tuple(sorted(labels))]

    assert of("status") == 1
    assert of("state_age_seconds") == 10
    assert of("endpoint_state", *first, ("state", "connected")) == 1
    assert of("endpoint_state", *first, ("state", "error")) == 0
    assert of("endpoint_state", ("endpoint", "1"), ("url", "http://b"), ("state", "error")) == 1
    assert of("endpoint_silence_seconds", *first) == 2.5
    assert of("endpoint_last_event_timestamp_seconds", *first) == NOW - 20
    assert of("endpoint_heartbeat_seconds", *first) == 30
    assert of("endpoint_read_limit_seconds", *first) == 47
    assert of("endpoint_wakes_total", *first) == 7
    assert of("endpoint_events_total", *first) == 4
    assert of("endpoint_reconnects_total", *first, ("cause", "ReadTimeout")) == 2
    assert of("endpoint_reconnects_total", *first, ("cause", "end")) == 1
    assert (of("runs_total"), of("run_failures_total"), of("run_failures_in_row"), of("run_overdue")) == (12, 5, 1, 0)
    assert of("last_run_timestamp_seconds") == NOW - 11


def test_old_numbers_are_not_given() -> None:
    for status in (
        judged(ts=rfc3339(NOW - 7000)),
        assess(document(), NOW, lambda pid: False),
        assess(None, NOW, lambda pid: False),
    ):
        assert {name for name, _ in samples(openmetrics([("f", status)]))} == {"wire_rawsse_status"}


def test_wires_own_file_has_metrics_too() -> None:
    own = {key: document()[key] for key in ("schema", "ts", "state", "last_event_at", "reconnect_count")}
    found = samples(openmetrics([("f", assess(own, NOW, lambda pid: True))]))
    assert found["wire_rawsse_endpoint_state", (("endpoint", "0"), ("state", "connected"), ("url", ""))] == 1
    assert ("wire_rawsse_runs_total", ()) not in found


def test_several_files() -> None:
    text = openmetrics([("a", judged()), ('b"\n\\\udcff', judged(runs=99))])
    values = {sample.labels["file"]: sample.value for sample in read(text) if sample.name == "wire_rawsse_runs_total"}
    assert values == {"a": 12, 'b"\n\\\\udcff': 99}
    assert text.count("# TYPE wire_rawsse_runs counter\n") == 1


def test_the_older_text_format_reads_it_too() -> None:
    text = openmetrics([("f", judged())])
    new, old = (
        {(one.name, *sorted(one.labels.items())): one.value for one in read(text, parser)}
        for parser in (openmetrics_parser, text_parser)
    )
    assert new == old


def test_promtool_reads_it() -> None:
    promtool = shutil.which("promtool") or missing("needs promtool: apt-get install prometheus")
    text = openmetrics([("f", judged()), ("g", judged())])
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    # The format of promtool has a counter's TYPE and HELP with its suffix, so it misses them. Nothing else is wrong.
    wrong = [line for line in done.stderr.splitlines() if not re.search(r"_total no help text$", line)]
    assert wrong == []
    done = subprocess.run([promtool, "check", "metrics"], input="a{ 1\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1  # So the above would have told.


def test_node_exporter_passes_it_on(tmp_path: Path) -> None:
    names = ("prometheus-node-exporter", "node_exporter")
    exporter = next(filter(None, map(shutil.which, names)), None)
    if exporter is None:
        missing("needs node_exporter: apt-get install prometheus-node-exporter")
    (tmp_path / "wire.prom").write_text(openmetrics([("/state.json", judged())]))
    address = f"127.0.0.1:{free_port()}"
    arguments = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={tmp_path}"]
    process = subprocess.Popen([exporter, *arguments, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL)
    try:
        text = scraped(f"http://{address}/metrics", process)
    finally:
        process.kill()
        process.wait()
    assert "node_textfile_scrape_error 0" in text
    assert 'wire_rawsse_runs_total{file="/state.json"} 12' in text
    assert (
        'wire_rawsse_endpoint_silence_seconds{endpoint="0",file="/state.json",url="http://a/\\"quoted\\"\\\\"} 2.5'
        in text
    )


def scraped(url: str, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 20
    while True:
        assert process.poll() is None, "node_exporter has ended"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
