"""The probe before servers and proxies that do one thing wrong each."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.probe.support import probe
from tests.support.fixtures import Serve
from tests.support.ports import CLOSED
from tests.support.proxy import forward
from tests.support.server import CHUNKED, OPEN, Peer, Step, answer, chunk, cut, drip, pause, request, send, stall

BEAT = drip(chunk(b": ping\n\n"), 0.2)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"


def event(number: int, **more: object) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (number, json.dumps({"number": number, **more}).encode())


def test_a_redirect_is_followed_and_noted(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), BEAT])
    front = serve([request, send(answer("302 Found", f"Location: {server.url}"))])
    found = probe(front.url, home=home)
    assert (found.status, found.codes) == (0, ["redirected"]), found.told
    assert [hop["url"] for hop in found.measured["hops"]] == [front.url, server.url]


def test_a_captive_portal_that_redirects(serve: Serve, home: Path) -> None:
    portal = serve([request, send(answer("200 OK", "Content-Type: text/html", body=b"<title>Log in</title>"))])
    server = serve([request, send(answer("302 Found", f"Location: {portal.url}"))])
    found = probe(server.url, home=home)
    assert found.first["code"] == "login-page" and found.status == 2, found.told
    assert portal.url in found.first["text"] and "browser" in found.first["change"]


def test_a_captive_portal_that_answers_itself(serve: Serve, home: Path) -> None:
    server = serve([request, send(answer("200 OK", "Content-Type: text/html", body=b"<title>Log in</title>"))])
    found = probe(server.url, home=home)
    assert found.first["code"] == "web-page", found.told
    assert "Log in" in found.first["text"]


def test_a_redirect_in_circles(serve: Serve, home: Path) -> None:
    server = serve([request, send(answer("302 Found", "Location: /stream"))])
    found = probe(server.url, home=home)
    assert found.first["code"] == "redirect" and found.status == 2, found.told


def test_compression_that_nobody_asked_for(serve: Serve, home: Path) -> None:
    head = OPEN.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    server = serve([request, send(head + gzip.compress(b"data: x\n\n")), stall])
    assert probe(server.url, home=home).first["code"] == "compressed"


def test_the_reason_of_a_refusal_is_told_without_our_token(serve: Serve, home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cr3t-token-4711-abcdef")
    token.chmod(0o600)
    body = b'{"error": "token s3cr3t-token-4711-abcdef has expired"}'
    server = serve([request, send(answer("401 Unauthorized", "Content-Type: application/json", body=body))])
    found = probe(server.url, "--token-file", str(token), home=home)
    assert found.first["code"] == "status-401" and "has expired" in found.first["text"], found.told
    assert "4711" not in json.dumps(found.report)


@pytest.mark.parametrize(("ahead", "word"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_wrong(ahead: int, word: str, serve: Serve, home: Path) -> None:
    def head(peer: Peer) -> None:
        peer.sock.sendall(STREAM + f"Date: {formatdate(time.time() + ahead, usegmt=True)}\r\n\r\n".encode())

    server = serve([request, head, BEAT])
    found = probe(server.url, home=home)
    assert (found.status, found.codes) == (1, ["clock"]), found.told
    assert word in found.first["text"]


def test_last_event_id_that_is_ignored(serve: Serve, home: Path) -> None:
    everything = chunk(event(1)) + chunk(event(2)) + chunk(event(3))
    server = serve([request, send(CHUNKED + everything), BEAT])
    found = probe(server.url, home=home)
    assert (found.status, found.codes) == (1, ["no-replay"]), found.told
    assert "ignores" in found.first["text"]
    assert [asked.get("Last-Event-ID") for asked in server.asked] == [None, "1"]


def test_last_event_id_without_an_answer(serve: Serve, home: Path) -> None:
    first = [request, send(CHUNKED + chunk(event(1)) + chunk(event(2))), BEAT]
    server = serve(first, [request, send(CHUNKED), BEAT])
    found = probe(server.url, home=home)
    assert found.codes == ["no-replay"] and "did not bring" in found.first["text"], found.told


def test_a_server_that_resumes(serve: Serve, home: Path) -> None:
    first = [request, send(CHUNKED + chunk(event(1)) + chunk(event(2))), BEAT]
    server = serve(first, [request, send(CHUNKED + chunk(event(2))), BEAT])
    found = probe(server.url, home=home)
    assert (found.status, found.codes) == (0, []), found.told
    assert found.measured["replay"]["result"] == "resumes"


def test_a_request_with_a_body_is_sent_once(serve: Serve, home: Path, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b'{"stream": true}')
    server = serve([request, send(CHUNKED + chunk(event(1)) + chunk(event(2)) + b"0\r\n\r\n")])
    probe(server.url, "--data-file", str(body), home=home)
    assert [asked.method for asked in server.asked] == ["POST"]


def cut_when_idle(seconds: float, target: Callable[[], int]) -> Step:
    """A proxy that ends connections on which nothing has moved for so long."""

    def step(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", target())) as origin:
            peer.sock.settimeout(seconds)
            origin.settimeout(seconds)
            origin.sendall(peer.receive_until(b"\r\n\r\n"))
            try:
                while data := origin.recv(65536):
                    peer.sock.sendall(data)
            except TimeoutError:
                pass
        peer.sock.settimeout(None)
        peer.sock.shutdown(socket.SHUT_RDWR)
        peer.close()

    return step


def test_a_proxy_that_cuts_idle_streams_is_found_with_its_time(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED + chunk(b": hello\n\n")), stall])
    proxy = serve([cut_when_idle(1.2, lambda: server.port)])
    found = probe(proxy.url, home=home, seconds=6)
    assert found.first["code"] == "idle-cut" and found.status == 2, found.told
    silences = [life["stopped"] - life["arrivals"][-1][0] for life in found.measured["stream"]["lives"][:2]]
    assert min(silences) >= 1.1, silences
    assert "times" in found.first["text"]


def test_a_reconnect_that_is_refused(serve: Serve, home: Path) -> None:
    first = [request, send(CHUNKED + chunk(b": hello\n\n")), pause(0.5), cut]
    server = serve(first, [request, send(answer("503 Service Unavailable", body=b"one at a time"))])
    found = probe(server.url, home=home)
    assert found.codes[:2] == ["cut", "reconnect"] and "one at a time" in found.told, found.told


def test_one_of_several_backends_hangs(serve: Serve, home: Path) -> None:
    server = serve([request, stall], [request, send(CHUNKED), BEAT])
    found = probe(server.url, home=home, seconds=4)
    assert (found.status, found.codes) == (2, ["flaky"]), found.told


def test_a_silent_stream_is_doubtful(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), stall])
    found = probe(server.url, home=home)
    assert (found.status, found.codes) == (1, ["silent"]), found.told
    assert found.measured["stream"]["alive"] == "answered"


def buffering(size: int, pieces: Callable[[int], bytes], every: float) -> Step:
    """Events made one by one, and let out only when `size` bytes of them have come together."""

    def step(peer: Peer) -> None:
        held = b""
        for number in itertools.count(1):
            held += pieces(number)
            while len(held) >= size:
                peer.sock.sendall(chunk(held[:size]))
                held = held[size:]
            if peer.server.closing.wait(every):
                return

    return step


def test_events_with_times_that_are_held_back(serve: Serve, home: Path) -> None:
    def made(number: int) -> bytes:
        return event(number, at=time.time(), text="x" * 100)

    server = serve([request, send(CHUNKED), buffering(2000, made, 0.1)])
    found = probe(server.url, home=home, seconds=6)
    assert found.first["code"] == "buffered" and found.status == 2, found.told
    assert "time stamps" in found.first["text"]


def test_heartbeats_that_are_held_back(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), buffering(80, lambda number: b": ping %6d\n\n" % number, 0.1)])
    found = probe(server.url, home=home, seconds=5)
    assert found.first["code"] == "buffered" and found.status == 2, found.told


def test_a_cached_response(serve: Serve, home: Path) -> None:
    server = serve([request, send(STREAM + b"Age: 17\r\n\r\n"), BEAT])
    assert probe(server.url, home=home).codes == ["cached"]


def test_a_head_that_comes_with_the_first_event(serve: Serve, home: Path) -> None:
    server = serve([request, pause(1.0), send(CHUNKED), BEAT])
    found = probe(server.url, "--response-timeout", "0.5", home=home)
    assert found.first["code"] == "response-clock", found.told


def test_nothing_listens(home: Path) -> None:
    found = probe(f"http://127.0.0.1:{CLOSED}/", home=home)
    assert (found.status, found.codes) == (2, ["refused"])


def test_a_name_that_does_not_exist(home: Path) -> None:
    found = probe("http://no-such-host.invalid/", home=home, seconds=8)
    assert found.first["code"] in ("name", "name-timeout") and found.status == 2


@pytest.mark.parametrize(
    "said",
    [
        answer("426 Upgrade Required", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        answer("400 Bad Request", "Content-Type: text/plain", body=b"Failed to open a WebSocket connection"),
    ],
    ids=["field", "text"],
)
def test_a_websocket_server(said: bytes, serve: Serve, home: Path) -> None:
    found = probe(serve([request, send(said)]).url, home=home)
    assert (found.status, found.first["code"]) == (2, "websocket"), found.told


def test_a_forward_proxy_that_refuses(serve: Serve, home: Path) -> None:
    proxy = serve([request, send(answer("403 Forbidden", "Server: squid"))])
    place = proxy.url.partition("://")[2].partition("/")[0]
    found = probe("http://relay.example/", home=home, environ={"http_proxy": f"http://{place}"})
    assert found.first["code"] == "status-403", found.told
    assert f"look at the proxy {place} (set by http_proxy)" in found.first["change"]


def test_a_unix_socket_that_cannot_be(home: Path) -> None:
    found = probe(f"unix:///{'a' * 200}?path=/", home=home)
    assert "at most 107 bytes" in found.first["text"], found.told
    assert found.first["change"] == "correct the path of the socket in the URL"


def test_a_unix_socket(home: Path, serve: Serve, socket_path: str) -> None:
    serve([request, send(CHUNKED), BEAT], path=socket_path)
    found = probe(f"unix://{socket_path}", home=home)
    assert (found.status, found.codes) == (0, []), found.told


def test_a_server_for_another_protocol(serve: Serve, home: Path) -> None:
    server = serve([send(b"SSH-2.0-OpenSSH_9.6\r\n"), stall])
    found = probe(server.url, home=home)
    assert found.first["code"] == "not-http" and "SSH" in found.first["text"], found.told


class TestProxies:
    def test_the_proxy_in_force_and_its_variable_are_told(self, serve: Serve, home: Path) -> None:
        server = serve([request, send(CHUNKED), BEAT])
        proxy = serve([forward])
        found = probe(server.url, home=home, environ={"ALL_PROXY": f"http://{proxy.place}"})
        assert (found.status, found.codes) == (0, []), found.told
        assert found.measured["hops"][0]["proxy"] == {
            "proxy": proxy.place,
            "variable": "ALL_PROXY",
            "excepted_by": "",
            "error": "",
        }

    def test_an_exception_is_told_with_its_variable(self, serve: Serve, home: Path) -> None:
        server = serve([request, send(CHUNKED), BEAT])
        found = probe(server.url, home=home, environ={"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"})
        assert found.status == 0, found.told
        setting = found.measured["hops"][0]["proxy"]
        assert (setting["proxy"], setting["variable"], setting["excepted_by"]) == ("", "http_proxy", "no_proxy")

    def test_a_proxy_that_refuses_connect(self, serve: Serve, home: Path) -> None:
        proxy = serve([request, send(answer("403 Forbidden"))])
        environ = {"HTTPS_PROXY": f"http://{proxy.place}"}
        found = probe("https://relay.example/stream", home=home, environ=environ)
        assert (found.status, found.codes) == (2, ["proxy-refuses"]), found.told
        assert "HTTPS_PROXY" in found.first["change"] and "relay.example" in found.first["change"]

    def test_a_proxy_that_wants_credentials(self, serve: Serve, home: Path) -> None:
        proxy = serve([request, send(answer("407 Authentication Required", "Proxy-Authenticate: Basic"))])
        environ = {"HTTPS_PROXY": f"http://{proxy.place}"}
        found = probe("https://relay.example/stream", home=home, environ=environ)
        assert (found.status, found.codes) == (2, ["proxy-credentials"]), found.told

    def test_a_proxy_that_is_not_there(self, home: Path) -> None:
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{CLOSED}"}
        found = probe("https://relay.example/stream", home=home, environ=environ)
        assert found.first["code"] == "refused" and "proxy" in found.first["change"], found.told

    def test_a_proxy_of_a_kind_that_is_not_spoken(self, home: Path) -> None:
        found = probe("https://relay.example/", home=home, environ={"ALL_PROXY": "socks5://127.0.0.1:1080"})
        assert (found.status, found.codes) == (2, ["proxy-setting"]), found.told

    def test_the_password_of_a_proxy_is_never_shown(self, serve: Serve, home: Path) -> None:
        body = b"who is user:hunter2-hunter2?"
        proxy = serve([request, send(answer("403 user:hunter2-hunter2 may not", body=body))])
        environ = {"HTTPS_PROXY": f"http://user:hunter2-hunter2@{proxy.place}"}
        found = probe("https://relay.example/stream", home=home, environ=environ)
        assert found.first["code"] == "proxy-refuses" and "hunter2" not in json.dumps(found.report)


def test_the_time_is_bounded_whatever_hangs(serve: Serve, home: Path) -> None:
    """`--for` bounds the whole; the delay of a busy machine is not judged here, only that it ends."""
    hanging = serve([stall])
    done = threading.Event()
    ended: list[int] = []

    def run() -> None:
        ended.append(probe(hanging.url, home=home, seconds=2).status)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert done.wait(60)
    thread.join()
    assert ended == [2]
