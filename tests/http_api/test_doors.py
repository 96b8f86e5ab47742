"""Who may use the API: everybody on this machine, nobody without the login elsewhere, and what `--api-auth` adds."""

from __future__ import annotations

import base64

import httpx
import pytest

from modules.settings.flags import parse
from tests.http_api.front import Front
from tests.server.doors import client, guarded

pytestmark = pytest.mark.anyio

API = ("/sdapi/v1/samplers", "/sdapi/v1/loras", "/api/v1/jobs")
EVIL = {"Origin": "https://evil.example"}


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("path", API)
@pytest.mark.parametrize("headers", [{}, {"Authorization": ""}, {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}])
async def test_without_a_login_any_header_will_do(shared: Front, path: str, headers: dict[str, str]):
    async with client(guarded(shared.app)) as http:
        assert (await http.get(path, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", API)
async def test_api_auth_is_asked_for_on_every_route_of_the_api(shared: Front, path: str):
    async with client(guarded(shared.app, api=(("bob", "secret"),))) as http:
        refused = await http.get(path)
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Basic")
        assert (await http.get(path, headers=basic("bob:wrong"))).status_code == 401
        assert (await http.get(path, headers=basic("bob:secret"))).status_code == 200
        assert (await http.get("/docs")).status_code == 200


@pytest.mark.parametrize("path", [*API, "/docs", "/openapi.json", "/internal/sysinfo", "/internal/pending-tasks"])
async def test_a_login_of_the_page_holds_for_all_of_it(shared: Front, path: str):
    async with client(guarded(shared.app, users=(("ann", "secret"),))) as http:
        assert (await http.get(path)).status_code == 401
        assert (await http.get(path, headers=basic("ann:secret"))).status_code == 200


@pytest.mark.parametrize("path", ["/sdapi/v1/interrupt", "/sdapi/v1/unload-checkpoint", "/api/v1/jobs", "/sdapi/v1/options"])
async def test_other_web_pages_can_not_use_it(shared: Front, path: str):
    async with client(guarded(shared.app)) as http:
        assert (await http.post(path, headers=EVIL, json={"txt2img": {"prompt": "draw"}})).status_code == 403
        assert (await http.post(path, headers={"Host": "evil.example"}, json={})).status_code == 421


STRANGERS = (
    EVIL,
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8000"},
    {"Host": "rebind.example"},
    {"Sec-Fetch-Site": "CROSS-SITE"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
)


async def test_no_route_is_open_to_other_pages(shared: Front):
    """Every route that there is, so that one that comes later is looked at too."""
    jobs = len(shared.context.queue.list(limit=1000))
    async with client(guarded(shared.app)) as http:
        for path, verbs in shared.app.openapi()["paths"].items():
            for verb in verbs:
                for headers in STRANGERS:
                    reply = await http.request(verb, path, headers=headers, json={"prompt": "draw"} if verb == "post" else None)
                    assert reply.status_code in (403, 421), (verb, path, headers)
    assert len(shared.context.queue.list(limit=1000)) == jobs


async def test_a_request_that_is_too_large_is_refused(shared: Front):
    async with client(guarded(shared.app, max_body=1 << 10, max_upload=1 << 20)) as http:
        reply: httpx.Response = await http.post("/sdapi/v1/img2img", json={"init_images": ["A" * (2 << 20)]})
        assert reply.status_code == 413


def test_the_flags():
    flags = parse(["--api", "--api-auth", "bob:secret,eve:other", "--nowebui", "--api-server-stop"], {})
    assert flags.api_auth == (("bob", "secret"), ("eve", "other")) and flags.nowebui and flags.api_server_stop
    assert not parse([], {}).api_server_stop
