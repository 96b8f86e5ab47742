"""Starting and stopping: the port answers at once, is handed over without a gap, and is never taken twice."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from modules.domain.errors import CannotStart
from modules.server import instance, share
from modules.server.splash import Splash, tls_context
from modules.settings.flags import DEFAULT_PORT, Flags, paths

ROOT = Path(__file__).resolve().parents[2]

HANDOVER = """
import sys, threading, time
from modules.server.instance import bind
from modules.server.splash import Splash, tls_context
from modules.settings.flags import Flags
tls = tls_context(*sys.argv[1:]) if sys.argv[1:] else None
sock = bind(Flags(port=0))
splash = Splash(sock, tls)
splash.start()
print(sock.getsockname()[1], flush=True)
import asyncio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from modules.server.guard import Guard, guard_config
from modules.server.serve import serve
app = FastAPI()

@app.get("/internal/ping")
def ping():
    return {"ready": True}

@app.get("/stream")
async def stream():
    async def forever():
        while True:
            yield b": ka\\n\\n"
            await asyncio.sleep(0.1)
    return StreamingResponse(forever())

splash.stop()
time.sleep(0.3)
say = lambda text: lambda: print(text, flush=True)
serve(Guard(app, guard_config(Flags(), None)), sock, tls=tls, on_ready=say("ready"), on_stop=say("stopped"))
print("end", flush=True)
"""


def get(port: int, path: str = "/", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    return reply.status, reply.read().decode()


@pytest.fixture
def splash():
    sock = instance.bind(Flags(port=0))
    page = Splash(sock)
    page.start()
    yield SimpleNamespace(page=page, sock=sock, port=sock.getsockname()[1])
    page.stop()
    sock.close()


def test_the_splash_page_says_what_is_loading(splash):
    splash.page.say("Loading <gradio>")
    status, page = get(splash.port, Accept="text/html")
    assert status == 503
    assert "Loading &lt;gradio&gt;" in page and "<gradio>" not in page
    assert "http-equiv" in page  # without scripts it reloads itself
    assert json.loads(get(splash.port, "/internal/ping")[1]) == {
        "ready": False,
        "text": "Loading <gradio>",
        "detail": "diffusion-webui is still starting.",
    }


def test_programs_are_told_to_come_back(splash):
    connection = http.client.HTTPConnection("127.0.0.1", splash.port, timeout=10)
    connection.request("POST", "/sdapi/v1/txt2img", body=b"x" * 200_000)
    reply = connection.getresponse()
    assert reply.status == 503
    assert reply.getheader("retry-after") == "1"
    assert json.loads(reply.read())["ready"] is False


def test_silent_connections_do_not_block_it(splash):
    silent = [socket.create_connection(("127.0.0.1", splash.port), 10) for _ in range(20)]
    assert get(splash.port, "/internal/ping")[0] == 200
    for connection in silent:
        connection.close()


def test_hundreds_of_askers_at_once(splash):
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(get(splash.port, "/internal/ping")[0])) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40


def test_handing_over_and_stopping_without_a_refused_connection(tmp_path: Path):
    server = subprocess.Popen([sys.executable, "-c", HANDOVER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stderr is not None
    port = int(server.stdout.readline())
    states: list[bool] = []
    while not states or not states[-1]:
        # a connection that the splash page had accepted may be reset; a refused one would be another error
        with contextlib.suppress(ConnectionResetError, http.client.RemoteDisconnected):
            states.append(json.loads(get(port, "/internal/ping")[1])["ready"])
    assert states[0] is False
    assert server.stdout.readline() == "ready\n"
    stream = socket.create_connection(("127.0.0.1", port), 10)
    stream.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert stream.recv(10)
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0  # although the stream is still open
    assert server.stdout.read() == "stopped\nend\n"
    assert server.stderr.read() == ""
    stream.close()
    server.stdout.close()
    server.stderr.close()


def test_one_instance_a_folder(tmp_path: Path):
    where = paths(Flags(data_dir=tmp_path))
    first = instance.acquire(where)
    first.announce("http://127.0.0.1:7999")
    with pytest.raises(CannotStart, match=r"http://127\.0\.0\.1:7999 \(process \d+\).*--data-dir"):
        instance.acquire(where)
    instance.acquire(paths(Flags(data_dir=tmp_path / "other"))).release()
    first.release()
    second = instance.acquire(where)
    second.announce("http://127.0.0.1:8000")
    with pytest.raises(CannotStart, match="8000"):
        instance.acquire(where)
    second.release()


def test_a_killed_instance_leaves_no_lock(tmp_path: Path):
    code = f"""
import time, pathlib
from modules.server.instance import acquire
from modules.settings.flags import Flags, paths
held = acquire(paths(Flags(data_dir=pathlib.Path({str(tmp_path)!r}))))
print("held", flush=True)
time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(CannotStart, match="already runs"):
        instance.acquire(paths(Flags(data_dir=tmp_path)))
    other.kill()
    other.wait()
    other.stdout.close()
    instance.acquire(paths(Flags(data_dir=tmp_path))).release()


def test_a_damaged_lock_file_does_not_stop_the_sentence(tmp_path: Path):
    where = paths(Flags(data_dir=tmp_path))
    held = instance.acquire(where)
    (where.state / "instance.lock").write_bytes(b"\xff[1")
    with pytest.raises(CannotStart, match="already runs"):
        instance.acquire(where)
    held.release()


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="--data-dir"):
        instance.acquire(paths(Flags(data_dir=tmp_path / "file")))


@pytest.mark.parametrize(("name", "sentence"), [("outputs", "The folder"), ("db/jobs.sqlite-wal/x", "jobs.sqlite in db can't be used")])
def test_a_data_folder_with_something_in_the_way_is_a_sentence_and_no_traceback(tmp_path: Path, name: str, sentence: str):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("in the way")
    command = [sys.executable, "app.py", "--data-dir", str(tmp_path), "--port", "0", "--nowebui", "--use-cpu"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 2
    assert f"diffusion-webui: {sentence}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_is_said_when_asked_for_and_passed_over_otherwise():
    with instance.bind(Flags(port=0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"Port {number} is taken.*--port"):
            instance.bind(Flags(port=number))
    with instance.bind(Flags()) as first, instance.bind(Flags()) as second:
        ports = [first.getsockname()[1], second.getsockname()[1]]
    assert DEFAULT_PORT <= ports[0] < ports[1]


def test_addresses_that_are_not_ours():
    with pytest.raises(CannotStart, match=r"192\.0\.2\.1 is not an address"):
        instance.bind(Flags(server_name="192.0.2.1", port=0))


def test_the_urls_are_ones_to_click():
    with instance.bind(Flags(port=0, listen=True)) as sock:
        shown = instance.urls(Flags(listen=True), sock)
    assert shown[0].startswith("http://127.0.0.1:")
    assert not any("0.0.0.0" in url for url in shown)
    with instance.bind(Flags(port=0)) as sock:
        assert len(instance.urls(Flags(tls_certfile=Path("x")), sock)) == 1
        assert instance.urls(Flags(tls_certfile=Path("x")), sock)[0].startswith("https://")


def test_no_tunnel_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    program = tmp_path / "frpc"
    modules = {
        "gradio.networking": SimpleNamespace(setup_tunnel=lambda *_: 1 / 0),
        "gradio.tunneling": SimpleNamespace(BINARY_PATH=str(program), BINARY_URL="u", CHECKSUMS={"u": "0" * 64}),
    }
    monkeypatch.setattr(share, "importlib", SimpleNamespace(import_module=modules.__getitem__))
    said: list[str] = []
    assert share.open_tunnel(1, say=said.append) is None
    assert said[0].startswith("There is no public link: division by zero.")
    program.write_bytes(b"not frpc")
    modules["gradio.networking"] = SimpleNamespace(setup_tunnel=lambda *_: "https://x.gradio.live")
    assert share.open_tunnel(1, say=said.append) is None
    assert str(program) in said[1]
    program.unlink()
    assert share.open_tunnel(1, say=said.append) == "https://x.gradio.live"


@pytest.mark.parametrize(
    ("listening", "asked"), [("192.168.1.5", "192.168.1.5"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1")]
)
def test_the_tunnel_leads_to_where_the_server_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listening: str, asked: str):
    modules = {
        "gradio.networking": SimpleNamespace(setup_tunnel=lambda host, port, *_: f"https://{host}:{port}"),
        "gradio.tunneling": SimpleNamespace(BINARY_PATH=str(tmp_path / "frpc"), BINARY_URL="u", CHECKSUMS={}),
    }
    monkeypatch.setattr(share, "importlib", SimpleNamespace(import_module=modules.__getitem__))
    assert share.open_tunnel(7, host=listening) == f"https://{asked}:7"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    files = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-out",
        files[0],
        "-keyout",
        files[1],
    ]
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    subprocess.run(made, check=True, capture_output=True)
    return files


def test_https_from_the_first_moment(certificate: tuple[str, str]):
    sock = instance.bind(Flags(port=0))
    page = Splash(sock, tls_context(*certificate))
    page.start()
    trusting = ssl.create_default_context(cafile=certificate[0])
    connection = http.client.HTTPSConnection("localhost", sock.getsockname()[1], timeout=10, context=trusting)
    connection.request("GET", "/internal/ping")
    assert json.loads(connection.getresponse().read())["ready"] is False
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", sock.getsockname()[1]), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")  # http to an https port: no answer, and no harm
        plain.recv(100)
    connection.request("GET", "/internal/ping")
    assert connection.getresponse().status == 200
    page.stop()
    sock.close()


def test_https_after_the_handover(certificate: tuple[str, str]):
    server = subprocess.Popen([sys.executable, "-c", HANDOVER, *certificate], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    assert server.stdout.readline() == "ready\n"
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=ssl.create_default_context(cafile=certificate[0]))
    connection.request("GET", "/internal/ping", headers={"Origin": f"https://localhost:{port}"})
    assert json.loads(connection.getresponse().read()) == {"ready": True}
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    server.stdout.close()


def test_a_file_that_is_no_certificate(certificate: tuple[str, str]):
    with pytest.raises(CannotStart, match="--tls-keyfile"):
        tls_context(certificate[0], certificate[0])
