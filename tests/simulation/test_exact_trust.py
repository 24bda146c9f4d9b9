"""A CA file that is replaced while a daemon lives, with the shipped `context_for` and a certificate in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from tests.simulation.single import HTTPS, Single
from tests.simulation.tls import SIGNED_BY, MemoryContext
from wire_rawsse.errors import CertificateError
from wire_rawsse.transport import contexts
from wire_rawsse.transport.certificates import Place


def build(setting: contexts.Setting, places: Sequence[Place]) -> tuple[MemoryContext, int, frozenset[str]]:
    """A context made from a CA file whose content is the name of the issuer that it trusts."""
    content = Path(places[0].path).read_bytes()
    return MemoryContext(issuer=content), hash(content), frozenset()


def test_a_ca_file_that_was_replaced_is_trusted_at_the_next_attempt() -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(contexts, "_build", build):
        path = Path(folder, "ca.pem")
        path.write_bytes(b"the old one")
        scene = Single(url=HTTPS)
        assert scene.endpoint is not None
        scene.endpoint.flights = [SIGNED_BY + b"the old one"]
        second = scene.stream(HTTPS, tls=str(path))
        second.keep_journal()

        def rolled_over() -> None:
            scene.endpoint.flights = [SIGNED_BY + b"the new one"]
            for visit in list(scene.relay.visits.values()):
                visit.cut()

        def replaced() -> None:
            new = path.with_suffix(".new")
            new.write_bytes(b"the new one")
            new.replace(path)

        scene.at(20, rolled_over)
        scene.at(100, replaced)
        scene.run(19)
        assert second.phase == "streaming"
        scene.run(99)
        assert second.phase == "backing off"
        assert isinstance(second.ends[-1][1], CertificateError)
        scene.run(100 + 1.5 * 30)
        assert second.phase == "streaming"
        scene.close()
