"""The list of words that opens while a prompt is typed: what the route offers, and what keys and clicks make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect

from modules.bootstrap import build
from modules.gradio_ui.routes.completions import completion_routes
from modules.settings.flags import parse, paths
from tests.browser import fill, reload_page
from tests.webui_process import WebUI

TAGS = 'long_hair,0,4350743,"/lh,longhair"\nhatsune_miku_(append),4,1234,\n^_^,0,300000,"closed_eyes_smile"\n'


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    for name, text in {"tags/danbooru.csv": TAGS, "wildcards/beasts/wild.txt": "fox", "wildcards/hat.txt": "top hat"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    flags = parse(["--data-dir", str(tmp_path)], {})
    context, _ = build(flags, paths(flags))
    app = FastAPI()
    app.include_router(completion_routes(context))
    app.state.context = context
    return TestClient(app)


def offered(client: TestClient, before: str) -> tuple[int, list[dict[str, Any]]]:
    answer = client.post("/internal/completions", json={"before": before}).json()
    return answer["length"], answer["words"]


def test_what_there_is_is_offered(client: TestClient) -> None:
    length, words = offered(client, "a photo of an umbr")
    assert (length, words) == (4, [{"label": "umbrella", "insert": "umbrella", "detail": ""}])
    assert [word["insert"] for word in offered(client, "a cat <li")[1]] == ["<lora:starter-line-art:1>"]
    assert {"label": "starter-taxi", "insert": "starter-taxi", "detail": "embedding"} in offered(client, "start")[1]
    assert offered(client, "a __") == (
        2,
        [
            {"label": "beasts/wild", "insert": "__beasts/wild__", "detail": "wildcard"},
            {"label": "hat", "insert": "__hat__", "detail": "wildcard"},
        ],
    )
    assert offered(client, "a cat, xyzzy") == (0, [])


def test_tags_are_written_as_prompts_want_them(client: TestClient) -> None:
    assert offered(client, "1girl, long h") == (6, [{"label": "long hair", "insert": "long hair, ", "detail": "4.4M"}])
    assert offered(client, "/lh")[1] == [{"label": "long hair", "insert": "long hair, ", "detail": "/lh → 4.4M"}]
    assert offered(client, "miku")[1][0]["insert"] == r"hatsune miku \(append\), "
    assert offered(client, "closed")[1][0]["insert"] == "^_^, "
    client.app.state.context.settings.update({"tac_replaceUnderscores": False})  # pyright: ignore[reportAttributeAccessIssue, reportFunctionMemberAccess]
    assert offered(client, "long_h")[1][0]["insert"] == "long_hair, "


def test_a_hundred_thousand_tags_are_looked_through_while_one_types(client: TestClient, tmp_path: Path) -> None:
    lines = (f"{a}{b}_{n},0,{n}" for n in range(200) for a in ("sky", "tree", "hat", "long", "cat") for b in "abcdefghijklmnopqrst" * 5)
    (tmp_path / "tags" / "many.csv").write_text("\n".join(lines))
    first = time.monotonic()
    offered(client, "zz")
    began = time.monotonic()
    for letters in ("ha", "hata", "nothing of this kind"):
        offered(client, letters)
    assert time.monotonic() - began < 20 and began - first < 60, "it hangs"


@pytest.fixture
def typing(page: Page, webui: WebUI) -> Iterator[Page]:
    folder = webui.data / "tags"
    folder.mkdir(exist_ok=True)
    (folder / "mine.txt").write_text("oil on canvas\n<b>bold</b>\n")
    fill(page, "txt2img_prompt", "")
    page.locator("#txt2img_prompt textarea").click()
    yield page
    (folder / "mine.txt").unlink()


def prompt(page: Page) -> Any:
    return page.locator("#txt2img_prompt textarea")


@pytest.mark.browser
def test_keys_and_clicks_take_a_word(typing: Page) -> None:
    options = typing.locator("#completions li")
    typing.keyboard.type("a red umbr", delay=20)
    expect(options).to_have_text(["umbrella"])
    typing.keyboard.press("Tab")
    expect(prompt(typing)).to_have_value("a red umbrella")
    expect(typing.locator("#completions")).to_be_hidden()
    typing.keyboard.press("Control+z")
    expect(prompt(typing)).to_have_value("a red umbr")

    fill(typing, "txt2img_prompt", "")
    prompt(typing).click()
    typing.keyboard.type("ca", delay=20)
    expect(options.nth(1)).to_be_visible()
    assert typing.locator("#completions li[aria-selected=true]").count() == 0, "Enter is a new line as long as nothing was chosen"
    typing.keyboard.press("ArrowDown")
    typing.keyboard.press("ArrowDown")
    second = options.nth(1)
    expect(second).to_have_attribute("aria-selected", "true")
    expect(prompt(typing)).to_have_attribute("aria-activedescendant", "completion_1")
    word = second.inner_text().strip()
    typing.keyboard.press("Enter")
    expect(prompt(typing)).to_have_value(word)

    typing.keyboard.type(", oil", delay=20)
    expect(options).to_have_text(["oil on canvastag"])
    options.first.click()
    expect(prompt(typing)).to_have_value(f"{word}, oil on canvas, ")
    expect(prompt(typing)).to_be_focused()
    typing.keyboard.type("bold", delay=20)
    expect(options).to_have_text(["<b>bold</b>tag"])
    assert typing.locator("#completions b").count() == 0


@pytest.mark.browser
def test_escape_closes_the_list_and_nothing_else(typing: Page) -> None:
    typing.keyboard.type("a cat <line", delay=20)
    shown = typing.locator("#completions")
    expect(shown.locator("li").first).to_contain_text("starter-line-art")
    box, area = shown.bounding_box(), prompt(typing).bounding_box()
    assert box and area and area["x"] < box["x"] < area["x"] + 200 and area["y"] < box["y"] < area["y"] + area["height"] + 8
    typing.keyboard.press("Escape")
    expect(shown).to_be_hidden()
    expect(prompt(typing)).to_have_value("a cat <line")
    typing.keyboard.press("Enter")
    expect(prompt(typing)).to_have_value("a cat <line\n")


@pytest.mark.browser
def test_it_can_be_switched_off(typing: Page, webui: WebUI) -> None:
    def switch(on: bool) -> None:
        httpx.post(f"{webui.url}/sdapi/v1/options", json={"tac_active": on}, timeout=60).raise_for_status()

    switch(False)
    try:
        reload_page(typing)
        prompt(typing).click()
        typing.keyboard.type("umbr", delay=20)
        typing.wait_for_timeout(800)
        assert typing.locator("#completions").count() == 0
    finally:
        switch(True)
