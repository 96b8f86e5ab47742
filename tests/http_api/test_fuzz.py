"""No request makes a server error, and every answer is what the schema says. The cases are drawn from the program's own OpenAPI schema."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.http_api.mount import mount_api
from modules.settings.flags import Flags
from tests.http_api.front import Front, front
from tests.http_api.schema_cases import TEXTS, mismatches, values
from tests.jobs.house import paths_in

EXAMPLES = 40
NOT_HERE = ("interrogate", "create/", "train/")
"""Routes that may answer 501: what they are for is not in this program."""


def schema() -> dict[str, Any]:
    """The schema does not depend on what stands behind the routes."""
    return mount_api(FastAPI(), None, Flags()).openapi()


SCHEMA = schema()
ROUTES = [(path, verb) for path, verbs in SCHEMA["paths"].items() for verb in verbs]
KNOWN = SCHEMA["components"]["schemas"]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with front(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


def body_of(route: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "requestBody" not in route:
        return st.none()
    return values(route["requestBody"]["content"]["application/json"]["schema"], KNOWN)


def small(body: Any) -> Any:
    """Few steps and pictures, so that what is valid is quickly done."""
    if not isinstance(body, dict):
        return body
    limits = {"steps": 3, "n_iter": 2, "batch_size": 2}
    cut = {name: min(body[name], most) for name, most in limits.items() if isinstance(body.get(name), int)}
    return {name: small(value) for name, value in body.items()} | ({"steps": 2} if "prompt" in body else {}) | cut


@pytest.mark.parametrize(("path", "verb"), ROUTES, ids=lambda part: str(part).strip("/"))
def test_no_input_is_a_server_error(fuzzed: Front, path: str, verb: str):
    route = SCHEMA["paths"][path][verb]
    queries = {item["name"]: values(item["schema"], KNOWN).map(str) for item in route.get("parameters", ()) if item["in"] == "query"}
    seen: Counter[int] = Counter()
    examples = EXAMPLES if queries or "requestBody" in route else 3

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(body=body_of(route), query=st.fixed_dictionaries({}, optional=queries), place=TEXTS)
    def check(body: Any, query: dict[str, str], place: str) -> None:
        url = path.replace("{job_id}", quoted(place)).replace("{image_id}", quoted(place))
        try:
            content = json.dumps(small(body)).encode() if "requestBody" in route else b""
            params = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
        except ValueError:
            return  # a number too long to be written
        reply = fuzzed.client.request(verb, url, content=content, params=params, headers={"Content-Type": "application/json"})
        seen[reply.status_code] += 1
        allowed = reply.status_code < 500 or (reply.status_code == 501 and any(name in path for name in NOT_HERE))
        assert allowed, (body, reply.text[:500])
        check_schema(route, reply)

    check()
    assert any(status < 300 or status == 501 for status in seen) or "{" in path, f"nothing was ever valid: {seen}"


BROKEN = (b"", b"{", b"\xff\xfe", b"\xd3?", b'"\\ud800"', b"[" * 5000, b"1" * 5000, b'{"prompt": "\xe6"}', b"null", b"NaN")


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_bodies_that_are_no_json(fuzzed: Front, content: bytes):
    for path, verb in ROUTES:
        if "requestBody" in SCHEMA["paths"][path][verb]:
            reply = fuzzed.client.request(verb, path, content=content, headers={"Content-Type": "application/json"})
            assert 400 <= reply.status_code < 500 and set(reply.json()) == {"error", "detail", "body", "errors"}
    reply = fuzzed.client.post("/sdapi/v1/txt2img", content=b'{"prompt": "draw"}', headers={"Content-Type": "text/plain"})
    assert reply.status_code == 422


def quoted(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum() and letter.isascii()) or "x"


def check_schema(route: dict[str, Any], reply: Any) -> None:
    """The body is what the schema says for this status. 404 and 405 of a path that no route answers are Starlette's own."""
    if not reply.headers.get("content-type", "").startswith("application/json"):
        return
    described = route["responses"]
    status = str(reply.status_code)
    content = described.get(status, described.get("4XX", {})).get("content", {}).get("application/json", {})
    problems = list(mismatches(reply.json(), content.get("schema", {}), KNOWN))
    assert not problems, (status, problems, reply.text[:300])


def test_nothing_outside_the_programs_own_folders_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever names and paths a request is full of."""
    inside, home = tmp_path / "data", tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    absolute = str(home / "evil.png")
    with front(inside) as made:
        for text in ("../../evil.png", "../../../../evil.png", absolute, "..\\evil", "a/../../../../../b", "~/evil"):
            names = dict.fromkeys(("prompt", "negative_prompt", "force_task_id", "hr_upscaler", "hr_checkpoint_name"), text)
            made.client.post("/sdapi/v1/txt2img", json={**names, "steps": 1})
            patterns = ("samples_filename_pattern", "directories_filename_pattern")
            overrides = {**dict.fromkeys(patterns, text + "[prompt]"), "outdir_samples": text}
            body = {"prompt": text, "steps": 1, "save_images": True, "override_settings": overrides}
            assert made.client.post("/sdapi/v1/txt2img", json=body).status_code in (200, 422)
            made.client.post("/sdapi/v1/options", json=overrides)
            made.draw(prompt=text, save_images=True)
        assert list(inside.rglob("*.png"))
    paths = paths_in(inside)
    ours = (paths.outputs, paths.state, paths.data / "cache")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    settings = [path for path in files if path.parent == inside and path.suffix in (".yaml", ".txt", ".csv")]
    assert not [path for path in files if not any(path.is_relative_to(folder) for folder in ours) and path not in settings]
