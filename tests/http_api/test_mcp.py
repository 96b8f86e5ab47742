"""/mcp: an assistant connects, sees the tools, draws, and reads what went wrong. Not there without its flag."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from modules.settings.flags import Flags
from tests.http_api.front import Front, front
from tests.server.doors import client, guarded


@pytest.fixture(scope="module")
def mcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("mcp"), flags=Flags(mcp=True)) as made:
        yield made


def send(made: Front, method: str, status: int = 200, **params: Any) -> dict[str, Any]:
    reply = made.client.post("/mcp", json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    assert reply.status_code == status, reply.text
    message = reply.json()
    assert message["jsonrpc"] == "2.0" and message["id"] == 7
    return message


def call(made: Front, name: str, **arguments: Any) -> dict[str, Any]:
    return send(made, "tools/call", name=name, arguments=arguments)["result"]


def test_the_handshake(mcp: Front):
    result = send(mcp, "initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={"name": "t", "version": "1"})["result"]
    assert result["protocolVersion"] == "2025-03-26" and "tools" in result["capabilities"]
    assert send(mcp, "initialize", protocolVersion="1999-01-01")["result"]["protocolVersion"] == "2025-06-18"
    assert mcp.client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
    assert send(mcp, "ping")["result"] == {}
    tools = {tool["name"]: tool for tool in send(mcp, "tools/list")["result"]["tools"]}
    assert set(tools) == {"generate_image", "upscale_image", "list_models", "get_job"}
    assert tools["generate_image"]["inputSchema"]["required"] == ["prompt"] and tools["generate_image"]["description"]


def test_drawing(mcp: Front):
    result = call(mcp, "generate_image", prompt="draw", steps=2, width=64, height=64)
    picture, text = result["content"]
    assert result["isError"] is False and picture["mimeType"] == "image/png"
    assert Image.open(io.BytesIO(base64.b64decode(picture["data"]))).size == (16, 16)
    job_id = text["text"].split("job_id: ")[1].split()[0]
    assert json.loads(call(mcp, "get_job", job_id=job_id)["content"][0]["text"])["state"] == "done"
    assert mcp.context.queue.get(job_id).source == "mcp"
    larger, text = call(mcp, "upscale_image", job_id=job_id, resize_by=3)["content"]
    assert Image.open(io.BytesIO(base64.b64decode(larger["data"]))).size == (48, 48)
    assert "Postprocess upscale by: 3, Postprocess upscaler: Lanczos" in text["text"]
    found = json.loads(call(mcp, "list_models")["content"][0]["text"])
    assert found["checkpoints"] == ["tiny.safetensors", "sub/other.ckpt"] and "Euler a" in found["samplers"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("generate_image", {}, "prompt"),
        ("generate_image", {"prompt": "draw", "steps": 0}, "steps"),
        ("generate_image", {"prompt": "draw", "colour": "red"}, "colour"),
        ("generate_image", {"prompt": "draw", "sampler": "Dream"}, "Sampler not found"),
        ("generate_image", {"prompt": "draw", "checkpoint": "nowhere"}, "nowhere"),
        ("generate_image", {"prompt": "refuse", "steps": 1}, "full"),
        ("get_job", {"job_id": "never"}, "no such job"),
        ("upscale_image", {"job_id": "never"}, "no such job"),
    ],
)
def test_what_goes_wrong_is_told_to_the_assistant(mcp: Front, name: str, arguments: dict[str, Any], words: str):
    result = call(mcp, name, **arguments)
    assert result["isError"] is True and words in result["content"][0]["text"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, -32700),
        (b"\xff", 400, -32700),
        (b"[" * 100_000, 400, -32700),
        (b"[]", 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": [], "method": "ping"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "dance\\ud800"}', 200, -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\\ud800"}}', 200, -32602),
    ],
)
def test_messages_that_are_none(mcp: Front, content: bytes, status: int, code: int):
    reply = mcp.client.post("/mcp", content=content)
    assert reply.status_code == status and reply.json()["error"]["code"] == code


@pytest.mark.anyio
async def test_it_is_behind_the_login_of_the_api(mcp: Front):
    async with client(guarded(mcp.app, api=(("bob", "secret"),))) as http:
        assert (await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})).status_code == 401


def test_there_is_no_stream_and_nothing_without_the_flag(mcp: Front, shared: Front):
    assert mcp.client.get("/mcp").status_code == 405
    assert shared.client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 404
