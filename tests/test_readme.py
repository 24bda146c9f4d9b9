"""The README's promises: each snippet runs, the picture is the table's, and the pasted lines are there."""

from __future__ import annotations

import gc
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.phases_picture import picture
from wire_rawsse.testing import RelayProcess
from wire_rawsse.testing.client import RelayClient

README = (Path(__file__).parent.parent / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


class Enough(Exception):
    """Ends a snippet that would run for ever."""


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"snippet {n}" for n in range(1, len(SNIPPETS) + 1)])
def test_each_snippet_hears_what_is_posted(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with RelayProcess() as relay, RelayClient(relay.url) as client:
        slot = client.allocate()
        told: list[Any] = []
        posters: list[threading.Timer] = []

        def pull(*event: str) -> None:
            """The daemon's own work: it has the events that were posted, in the end."""
            told.append(event or client.pull(slot))
            if event or told[-1]:
                raise Enough
            if not posters:
                posters.append(threading.Timer(0.05, client_for_posting.post, (slot, {"hello": "world"})))
                posters[0].start()

        with RelayClient(relay.url) as client_for_posting:
            if "handle(" in snippet:
                posters.append(threading.Timer(0.3, client_for_posting.post, (slot, {"hello": "world"})))
                posters[0].start()
            names = {
                "url": f"{relay.url}/v1/events/{slot.slot_id}/stream",
                "token": slot.slot_token,
                "pull": pull,
                "handle": pull,
            }
            with pytest.raises(Enough):
                exec(compile(snippet, "README.md", "exec"), names)
            for poster in posters:
                poster.join()
        assert "hello" in str(told[-1])
    gc.collect()  # An exception that leaves trio is in a cycle with the frames that it went through.


def test_the_picture_of_the_phases_is_drawn_from_the_table() -> None:
    drawn = re.search(r"<!-- phases -->\n```mermaid\n(.*?)\n```", README, re.DOTALL)
    assert drawn is not None
    assert drawn[1] == picture(), "paste what `python -m tests.phases_picture` prints"


def test_the_pasted_lines_are_where_ci_looks_for_them() -> None:
    for mark in ("run line", "test line"):
        found = re.search(rf"<!-- {mark} -->\n```sh\n(.*)\n```", README)
        assert found is not None and "\n" not in found[1]
