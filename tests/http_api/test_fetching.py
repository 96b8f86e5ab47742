"""Pictures by address: refused unless the host says otherwise, and then never from this machine or its network."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.http_api import safe_fetch
from modules.http_api.errors import Refusal
from modules.http_api.safe_fetch import fetch
from tests.http_api.front import front, picture

FILE = base64.b64decode(picture())


class Listener:
    """A web server that gives `answer` to everybody and counts who came."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.0 200 OK\r\nContent-Type: image/png\r\n\r\n" + FILE
        self.visits: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.visits.append(connection.recv(4096))
                connection.sendall(self.answer)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


SPELLINGS = (
    *("127.0.0.1", "localhost", "LOCALHOST", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1."),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fe80::1%25lo]", "[fd00::1]"),
    *("10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
    *("user@127.0.0.1", "example.com@127.0.0.1", "[64:ff9b::7f00:1]"),
)


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_a_local_address_is_connected_to(monkeypatch: pytest.MonkeyPatch, host: str):
    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        raise AssertionError(f"connected to {address}")  # no OSError, which would become a Refusal

    monkeypatch.setattr(safe_fetch.socket, "create_connection", connect)
    with pytest.raises(Refusal):
        fetch(f"http://{host}:8099/x.png", forbid_local=True)


def test_the_address_that_was_checked_is_the_one_that_is_used(listener: Listener, monkeypatch: pytest.MonkeyPatch):
    """A name that is public when it is looked up and local a moment later."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise TimeoutError

    monkeypatch.setattr(safe_fetch.socket, "create_connection", connect)
    with pytest.raises(Refusal):
        fetch("http://rebind.example/x.png", forbid_local=True, resolve=resolve)
    assert asked == ["rebind.example"] and connected == [("93.184.216.34", 80)] and listener.visits == []


def test_a_name_with_one_local_address_among_public_ones_is_refused():
    with pytest.raises(Refusal, match="local"):
        fetch("http://mixed.example/", forbid_local=True, resolve=lambda host, port: ["93.184.216.34", "127.0.0.1"])


def test_a_file_arrives_where_the_host_allows_it(listener: Listener):
    assert fetch(f"http://127.0.0.1:{listener.port}/a%20b.png?x=1", forbid_local=False) == FILE
    assert listener.visits[0].startswith(b"GET /a%20b.png?x=1 HTTP/1.0\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("place", ["http://127.0.0.1:{port}/", "http://169.254.169.254/", "file:///etc/passwd", "gopher://x/"])
def test_redirects_are_looked_at_too(listener: Listener, monkeypatch: pytest.MonkeyPatch, place: str):
    listener.answer = f"HTTP/1.0 302 Found\r\nLocation: {place.format(port=listener.port)}\r\n\r\n".encode()
    real = socket.create_connection

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        assert address == ("93.184.216.34", 80), address
        return real(("127.0.0.1", listener.port), timeout)

    monkeypatch.setattr(safe_fetch.socket, "create_connection", connect)
    with pytest.raises(Refusal):
        fetch(
            "http://public.example/",
            forbid_local=True,
            resolve=lambda host, port: ["93.184.216.34"] if host == "public.example" else [host],
        )
    assert len(listener.visits) == 1


def test_endless_and_broken_answers_end(listener: Listener, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(safe_fetch, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(safe_fetch, "SECONDS", 20.0)
    heads = (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (2 << 20), b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0 404 Not Found\r\n\r\n", b"y" * 200_000)
    for answer in (*heads, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 999\r\n\r\nx"):
        listener.answer = answer
        with pytest.raises(Refusal):
            fetch(f"http://127.0.0.1:{listener.port}/", forbid_local=False)


def test_the_setting_is_the_hosts(tmp_path: Path, listener: Listener):
    url = f"http://127.0.0.1:{listener.port}/x.png"
    body = {"prompt": "draw", "steps": 2, "init_images": [url]}
    with front(tmp_path) as made:
        assert made.post("img2img", body, 422)["detail"] == "Requests not allowed"
        assert "at the machine itself" in made.post("options", {"api_enable_requests": True}, 422)["detail"]
        made.context.settings.update({"api_enable_requests": True}, host=True)
        assert made.post("img2img", body, 422)["detail"] == "Request to local resource not allowed"
        assert made.post("png-info", {"image": url}, 422)["detail"] == "Request to local resource not allowed"
        assert listener.visits == []
        made.context.settings.update({"api_forbid_local_requests": False}, host=True)
        assert made.post("img2img", body)["images"] and len(listener.visits) == 1
