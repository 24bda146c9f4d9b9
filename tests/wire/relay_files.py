"""Shared by the tests of relay.json: endpoints, and the file that names them."""

from __future__ import annotations

import json

from wire_rawsse.wire.relay_json import Endpoint

TOKEN = "s3cr3t-0123456789abcdef"
"""No text may ever repeat a part of it."""

FLAT = {"relay_url": "https://flat.example", "slot_id": "f1", "slot_token": TOKEN}
ONE = {"relay_url": "https://relay.example", "slot_id": "a1", "slot_token": TOKEN, "scope": "federation"}
TWO = {"relay_url": "http://127.0.0.1:8770", "slot_id": "b2", "slot_token": TOKEN + "2", "scope": "local"}
FIRST = Endpoint("https://relay.example", "a1", TOKEN, "federation")
SECOND = Endpoint("http://127.0.0.1:8770", "b2", TOKEN + "2", "local")


def file_of(own: object) -> bytes:
    return json.dumps({"self": own, "peers": {"x": {"slot_token": "peer-s3cr3t"}}}).encode()
