"""The doors of the whole program as it really starts: with Gradio, the page's routes and a socket behind them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.webui_process import WebUI

pytestmark = pytest.mark.slow

CANARY = "canary-3f81c2"
EVIL = "https://evil.example"
BAD = {
    "evil origin": {"Origin": EVIL},
    "null origin": {"Origin": "null"},
    "another port": {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
    "rebound name": {"Host": "evil.example", "Origin": "http://evil.example"},
    "cross-site": {"Sec-Fetch-Site": "CROSS-SITE"},
}
CHANGES = [
    ("/gradio_api/run/predict", {"json": {"fn_index": 0, "data": []}}),
    ("/gradio_api/queue/join", {"json": {"fn_index": 0, "data": [], "session_hash": "x"}}),
    ("/gradio_api/upload", {"files": {"files": ("x.png", b"x")}}),
    ("/gradio_api/reset", {"json": {}}),
    ("/internal/jobs/clear", {}),
    ("/internal/jobs/x/interrupt", {}),
    ("/internal/jobs/x/cancel", {}),
]


@pytest.fixture(scope="module")
def open_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    data = tmp_path_factory.mktemp("open")
    (data / "secret.txt").write_text(CANARY)
    (data / "outputs").mkdir()
    (data / "outputs" / "secret.txt").write_text(CANARY)
    (data / "config.yaml").write_text(f"# {CANARY}\n")
    program = WebUI(data).start()
    yield program
    program.stop()


@pytest.fixture(scope="module")
def listening_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    program = WebUI(tmp_path_factory.mktemp("listening"), ("--listen",)).start(ready=False)
    program.wait_for_log("Log in as")
    yield program
    program.stop()


@pytest.mark.parametrize("headers", BAD.values(), ids=BAD)
@pytest.mark.parametrize(("path", "body"), CHANGES, ids=[path for path, _ in CHANGES])
def test_no_other_page_drives_it(open_program: WebUI, path: str, body: dict, headers: dict[str, str]):
    reply = httpx.post(open_program.url + path, headers=headers, timeout=20, **body)
    assert reply.status_code in (403, 421)
    assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_our_page_does(open_program: WebUI):
    reply = httpx.post(f"{open_program.url}/internal/jobs/clear", headers={"Origin": open_program.url, "Sec-Fetch-Site": "same-origin"})
    assert reply.status_code == 200


def test_the_page_is_armoured(open_program: WebUI):
    reply = httpx.get(f"{open_program.url}/", headers={"Accept": "text/html"}, timeout=20)
    assert reply.status_code == 200
    assert "gradio_config" in reply.text
    policy = reply.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy and "connect-src 'self'" in policy
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_no_event_reads_files_for_anybody(open_program: WebUI):
    """A mounted Gradio lets any event with a file input read any file, unless it believes to have been launched."""
    config = httpx.get(f"{open_program.url}/config", timeout=20).json()
    takes_files = {part["id"] for part in config["components"] if part["type"] in ("image", "file", "gallery", "uploadbutton")}
    asked = 0
    with httpx.Client(base_url=open_program.url, timeout=60) as http:
        for event in config["dependencies"]:
            names = ("secret.txt", "config.yaml", "outputs/secret.txt") if takes_files & set(event["inputs"]) else ("secret.txt",)
            for name in names:
                file = {"path": str(open_program.data / name), "meta": {"_type": "gradio.FileData"}}
                call = {"fn_index": event["id"], "data": [file] * len(event["inputs"]), "session_hash": "x"}
                assert CANARY not in http.post("/gradio_api/run/predict", json=call).text
                asked += 1
    assert takes_files and asked >= len(config["dependencies"]) > 10
    cached = open_program.data / "cache" / "tmp"
    assert not [path for path in cached.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "spelling", ["{}", "//{}", "../../../../../{}", "%2e%2e/%2e%2e/{}", "..%5c..%5c{}", "./{}", "{}%00.png", "{}/.", "file://{}"]
)
@pytest.mark.parametrize(
    "prefix", ["/gradio_api/file=", "/gradio_api/file/", "/file=", "/internal/images/", "/internal/thumbs/", "/assets/", "/static/", "/"]
)
def test_no_address_reads_files(open_program: WebUI, prefix: str, spelling: str):
    for name in ("secret.txt", "config.yaml", "outputs/secret.txt", "db/jobs.sqlite"):
        path = str(open_program.data / name)
        target = prefix + spelling.format(path.lstrip("/") if spelling.startswith(".") else path)
        host, port = open_program.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 20) as raw:  # a client library would tidy the path up
            raw.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 ")
        assert CANARY.encode() not in answer and b"SQLite format" not in answer


def test_an_upload_has_an_end(open_program: WebUI):
    reply = httpx.post(
        f"{open_program.url}/internal/tokens", content=b"x" * (33 << 20), headers={"Content-Type": "application/json"}, timeout=60
    )
    assert reply.status_code == 413


def test_a_second_instance_and_a_taken_port_are_told(open_program: WebUI, tmp_path):
    second = WebUI(open_program.data)
    second.log = tmp_path / "second.log"
    assert second.run_to_its_end() == 2
    assert open_program.url in second.log.read_text() and "Traceback" not in second.log.read_text()
    third = WebUI(tmp_path / "third", ("--port", open_program.url.rpartition(":")[2]))
    assert third.run_to_its_end() == 2
    assert "is taken" in third.log.read_text() and "Traceback" not in third.log.read_text()


def test_the_api_stands_beside_the_page(open_program: WebUI):
    with httpx.Client(base_url=open_program.url, timeout=20, headers={"Authorization": ""}) as http:
        assert http.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
        assert http.get("/api/v1/jobs").json() == {"jobs": []}
        assert "/sdapi/v1/txt2img" in http.get("/docs").text and "/sdapi/v1/txt2img" in http.get("/openapi.json").json()["paths"]
        assert "gradio_config" in http.get("/").text and CANARY not in http.get("/internal/sysinfo").text


PATHS = [
    "/",
    "/sdapi/v1/options",
    "/api/v1/jobs",
    "/internal/sysinfo",
    "/config",
    "/gradio_api/info",
    "/gradio_api/startup-events",
    "/theme.css",
    "/internal/ping",
    "/internal/jobs",
    "/internal/page.js",
    "/docs",
    "/openapi.json",
    "/manifest.json",
    "/gradio_api/heartbeat/x",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_listening_server_shows_nothing_without_its_login(listening_program: WebUI, path: str):
    assert httpx.get(listening_program.url + path, timeout=20).status_code == 401
    assert httpx.post(listening_program.url + path, timeout=20).status_code == 401


def test_the_made_up_login_opens_it(listening_program: WebUI):
    found = re.search(r"Log in as {2}(\S+) {2}with the password {2}(\S+)", listening_program.log.read_text())
    assert found is not None
    with httpx.Client(base_url=listening_program.url, timeout=30) as http:
        assert http.post("/login", data={"username": found[1], "password": "wrong"}).status_code == 401
        assert http.post("/login", data={"username": found[1], "password": found[2]}).status_code == 303
        assert "gradio_config" in http.get("/").text
        assert found[2] not in http.get("/config").text
