"""No web page of another site, no rebound name and no oversized body gets past the door; people, programs and proxies do."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Mapping

import httpx
import pytest

from modules.server.guard import Guard, guard_config
from modules.server.hosts import HostRules, is_same_origin, split_host
from modules.settings.flags import Flags
from tests.server.doors import client, guarded, make_app, served

pytestmark = pytest.mark.anyio

HERE = "http://127.0.0.1:7860"
EVIL = "https://evil.example"

BAD = {
    "evil origin": {"Origin": EVIL},
    "null origin": {"Origin": "null"},
    "other port of this machine": {"Origin": "http://127.0.0.1:9999", "Sec-Fetch-Site": "same-site"},
    "rebound name": {"Host": "evil.example:7860", "Origin": "http://evil.example:7860", "Sec-Fetch-Site": "same-origin"},
    "lan name": {"Host": "192.168.1.5:7860", "Origin": EVIL},
    "::1 and evil": {"Host": "[::1]:7860", "Origin": EVIL},
    "no host": {"Host": ""},
    "cross-site in capitals": {"Sec-Fetch-Site": "CROSS-SITE"},
    "same-site": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    "subdomain trick": {"Origin": "http://127.0.0.1:7860.evil.example"},
    "user info trick": {"Origin": "http://127.0.0.1:7860@evil.example"},
    "file page": {"Origin": "file://"},
    "form of another site": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
}
GOOD = {
    "same origin": {"Origin": HERE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
    "curl": {},
    "localhost": {"Host": "localhost:7860", "Origin": "http://localhost:7860"},
    "named proxy with tls": {"Host": "sd.example", "Origin": "https://sd.example", "Sec-Fetch-Site": "same-origin"},
}
PROXY = HostRules(names=frozenset({"sd.example"}))
CHANGES = [
    ("POST", "/sdapi/v1/interrupt"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/json"),
    ("PUT", "/any"),
    ("DELETE", "/any"),
    ("PATCH", "/any"),
]


async def ask(guard: Guard, method: str, path: str, headers: Mapping[str, str], **more) -> httpx.Response:
    async with client(guard) as http:
        return await http.request(method, path, headers=headers, **more)


@pytest.mark.parametrize("headers", BAD.values(), ids=BAD)
@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_no_other_page_changes_anything(method: str, path: str, headers: dict[str, str]):
    app = make_app()
    reply = await ask(guarded(app, hosts=PROXY), method, path, headers, json={})
    assert 400 <= reply.status_code < 500
    assert reply.json()["detail"]
    assert app.state.effects == 0


@pytest.mark.parametrize("headers", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_ours_do(method: str, path: str, headers: dict[str, str]):
    app = make_app()
    reply = await ask(guarded(app, hosts=PROXY), method, path, headers, json={})
    assert reply.status_code == 200
    assert app.state.effects == 1


@pytest.mark.parametrize("headers", [BAD[name] for name in BAD if name != "form of another site"])
async def test_no_other_page_reads_either(headers: dict[str, str]):
    app = make_app()
    reply = await ask(guarded(app), "GET", "/any", headers)
    assert 400 <= reply.status_code < 500
    assert app.state.effects == 0


async def test_people_arrive_by_links():
    arriving = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Referer": EVIL}
    assert (await ask(guarded(make_app()), "GET", "/", arriving)).status_code == 200
    framed = {**arriving, "Sec-Fetch-Dest": "iframe"}
    assert (await ask(guarded(make_app()), "GET", "/", framed)).status_code == 403


async def test_the_refusals_say_what_to_do():
    app = make_app()
    assert "--host-header" in (await ask(guarded(app), "GET", "/", {"Host": "box.lan"})).json()["detail"]
    assert "--cors-allow-origins" in (await ask(guarded(app), "POST", "/any", {"Origin": EVIL})).json()["detail"]
    assert (await ask(guarded(app), "GET", "/", {"Host": "box.lan"})).status_code == 421


@pytest.mark.parametrize(
    ("host", "alone", "listening"),
    [
        ("localhost", True, True),
        ("127.0.0.1:1", True, True),
        ("127.8.8.8", True, True),
        ("[::1]:7860", True, True),
        ("192.168.1.5:7860", False, True),
        ("[fe80::1]:7860", False, True),
        ("evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("0.0.0.0:7860", False, True),
        ("local host", False, False),
        ("localhost:7860:1", False, False),
        ("localhost/", False, False),
    ],
)
def test_which_names_are_ours(host: str, alone: bool, listening: bool):
    assert guard_config(Flags(), None).hosts.admits(host) is alone
    assert guard_config(Flags(listen=True), None).hosts.admits(host) is listening


def test_a_listening_server_knows_its_own_name_and_the_named_ones():
    rules = guard_config(Flags(listen=True, host_names=("sd.example",)), None).hosts
    assert rules.admits(socket.gethostname())
    assert rules.admits("SD.example:443")
    assert not guard_config(Flags(), None).hosts.admits("sd.example")


def test_origins_are_compared_with_their_ports():
    assert is_same_origin("https://sd.example", "sd.example")
    assert is_same_origin("https://sd.example", "sd.example:443")
    assert is_same_origin("http://[::1]:7860", "[::1]:7860")
    assert not is_same_origin("http://sd.example", "sd.example:443")
    assert not is_same_origin("ftp://sd.example", "sd.example")
    assert split_host("[::1]:80") == ("::1", 80)


async def test_a_tunnel_name_is_added_while_running():
    guard = guarded(make_app())
    asked = {"Host": "abc.gradio.live", "Origin": "https://abc.gradio.live"}
    assert (await ask(guard, "POST", "/any", asked)).status_code == 421
    guard.allow_host("ABC.gradio.live")
    assert (await ask(guard, "POST", "/any", asked)).status_code == 200


async def test_allowed_origins_may_call_and_read():
    app = make_app()
    guard = guarded(app, origins=frozenset({"https://friend.example"}))
    friend = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    reply = await ask(guard, "POST", "/any", friend)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == "https://friend.example"
    preflight = {**friend, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, authorization"}
    reply = await ask(guard, "OPTIONS", "/any", preflight)
    assert reply.status_code == 204
    assert "authorization" in reply.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    assert (await ask(guard, "OPTIONS", "/any", {**preflight, "Origin": EVIL})).status_code == 403
    assert app.state.effects == 1


async def test_the_app_cannot_open_itself_to_others():
    reply = await ask(guarded(make_app()), "GET", "/open", {})
    assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert "server" not in reply.headers


@pytest.mark.parametrize("path", ["/", "/any", "/missing", "/picture", "/gradio_api/file=x.html"])
async def test_every_answer_is_armoured(path: str):
    reply = await ask(guarded(make_app()), "GET", path, {})
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-frame-options"] == "SAMEORIGIN"
    assert reply.headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors" in reply.headers["content-security-policy"]


async def test_files_are_sandboxed_and_the_page_is_not():
    guard = guarded(make_app())
    for path in ("/gradio_api/file=x.html", "/picture"):
        assert (await ask(guard, "GET", path, {})).headers["content-security-policy"].startswith("sandbox")
    assert "sandbox" not in (await ask(guard, "GET", "/", {})).headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://169.254.169.254/latest",
        "/gradio_api/file=HTTPS://example.com/x.png",
        "/gradio_api/file=http%3A//127.0.0.1/",
        "/gradio_api/file=//127.0.0.1/x",
        "/gradio_api/file=%20http://x",
        "/gradio_api/file/ftp://x",
        "/file=http://127.0.0.1:22",
        "/gradio_api/proxy=https://example.com",
        "/gradio_api/vibe-edit/",
        "/gradio_api/dev/reload",
        "/monitoring",
    ],
)
async def test_nothing_is_fetched_for_anybody(path: str):
    app = make_app()
    assert (await ask(guarded(app), "GET", path, {})).status_code == 403
    assert app.state.effects == 0


async def test_a_local_file_of_gradio_still_passes():
    assert (await ask(guarded(make_app()), "GET", "/gradio_api/file=/tmp/gradio/x.png", {})).status_code == 200


async def test_announced_and_unannounced_bodies_are_limited():
    app = make_app()
    guard = guarded(app, max_body=1 << 20, max_upload=2 << 20)

    async def chunks(count: int):
        for _ in range(count):
            yield b"x" * 65536

    async with client(guard) as http:
        assert (await http.post("/gradio_api/upload", content=b"x" * (2 << 20))).json() == {"size": 2 << 20}
        assert (await http.post("/gradio_api/upload", content=b"x" * ((2 << 20) + 1))).status_code == 413
        assert (await http.post("/sdapi/v1/img2img", content=b"x" * (2 << 20))).status_code != 413
        assert (await http.post("/sdapi/v1/img2img", content=b"x" * ((2 << 20) + 1))).status_code == 413
        assert (await http.post("/gradio_api/upload", content=chunks(32))).json() == {"size": 2 << 20}
        assert (await http.post("/gradio_api/upload", content=chunks(33))).status_code == 413
        assert (await http.post("/json", content=chunks(17), headers={"Content-Type": "application/json"})).status_code == 413
        assert (await http.post("/any", content=b"x", headers={"Content-Length": "-1"})).status_code == 413
    assert app.state.effects == 2


def test_a_refused_request_keeps_its_connection():
    with served(guarded(make_app())) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/any", body=b"x" * 100_000, headers={"Origin": EVIL})
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 403
        first = connection.sock
        connection.request("POST", "/any")
        assert connection.getresponse().status == 200
        assert connection.sock is first


def test_a_body_that_is_too_large_gets_its_answer_over_a_real_connection():
    with served(guarded(make_app(), max_body=1 << 20)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/any", body=b"x" * (3 << 20))
        assert connection.getresponse().status == 413
        connection.close()
        connection.request(
            "POST", "/json", body=(b"x" * 65536 for _ in range(48)), headers={"Content-Type": "application/json"}, encode_chunked=True
        )
        assert connection.getresponse().status == 413


def test_two_hosts_and_no_host_are_refused():
    with served(guarded(make_app())) as port:
        for lines in (b"Host: localhost\r\nHost: evil.example\r\n", b""):
            with socket.create_connection(("127.0.0.1", port), 10) as raw:
                raw.sendall(b"POST /any HTTP/1.0\r\n" + lines + b"\r\n")
                assert raw.recv(100).split(b" ")[1] == b"400"


async def test_websockets_pass_the_same_door():
    reached: list[str] = []

    async def app(scope, receive, send):
        reached.append(scope["state"]["viewer"].name)

    async def knock(guard: Guard, origin: bytes) -> list[dict]:
        sent: list[dict] = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"127.0.0.1:7860"), (b"origin", origin)]
        await guard({"type": "websocket", "path": "/ws", "headers": headers, "query_string": b""}, receive, send)
        return sent

    assert (await knock(guarded(app), EVIL.encode()))[0]["code"] == 1008
    assert (await knock(guarded(app, users=(("ann", "pw"),)), HERE.encode()))[0]["code"] == 1008
    assert reached == []
    assert await knock(guarded(app), HERE.encode()) == []
    assert reached == [""]


async def test_a_failing_app_still_fails_as_itself():
    async def app(scope, receive, send):
        await receive()
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await ask(guarded(app), "POST", "/", {}, content=b"x")


async def test_lifespan_reaches_the_app():
    seen: list[str] = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await guarded(app)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


async def test_streams_pass_at_once():
    with served(guarded(make_app())) as port:

        def first_line() -> bytes:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/internal/jobs/stream")
            line = connection.getresponse().readline()
            connection.close()
            return line

        assert await asyncio.to_thread(first_line) == b": ka\n"
