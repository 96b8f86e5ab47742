"""Cards of LoRAs and textual inversions: what the routes tell and serve, and what a click does to the prompt."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Page, expect

from modules.bootstrap import build
from modules.gradio_ui.routes.networks import network_routes
from modules.settings.flags import parse, paths
from tests.browser import fill, value_of
from tests.tiny_models import tiny_model
from tests.tiny_networks import lora_tensors, write_embedding, write_lora
from tests.webui_process import WebUI


def write_files(data: Path) -> None:
    """Three LoRAs, two of one name, one embedding, and some pictures beside them."""
    loras, embeddings = data / "models" / "Lora", data / "embeddings"
    tensors = lora_tensors(tiny_model())
    for name in ("ink", "a/twin", "b/twin", "odd: name"):
        write_lora(loras, name, tensors)
    (loras / "<img src=x onerror=alert(1)>.safetensors").write_bytes(b"x")
    write_embedding(embeddings, "my-style", tensors[next(iter(tensors))])
    Image.new("RGB", (8, 8), "red").save(loras / "ink.png")
    Image.new("RGB", (8, 8), "blue").save(loras / "ink.preview.png")
    (loras / "secret.txt").write_text("no")


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    write_files(tmp_path)
    flags = parse(["--data-dir", str(tmp_path)], {})
    context, _ = build(flags, paths(flags))
    app = FastAPI()
    app.include_router(network_routes(context))
    return TestClient(app)


def test_the_routes_tell_what_there_is(client: TestClient) -> None:
    cards = {card["name"]: card for card in client.get("/internal/networks/loras").json()["cards"]}
    assert cards["ink.safetensors"]["insert"] == "<lora:ink:1>"
    assert cards["a/twin.safetensors"]["insert"] == "<lora:a/twin:1>" and cards["a/twin.safetensors"]["label"] == "twin"
    assert cards["odd: name.safetensors"]["insert"] == ""
    assert [card["insert"] for card in client.get("/internal/networks/embeddings").json()["cards"]] == ["my-style", "starter-taxi"]
    assert client.get("/internal/networks/others").status_code == 404


def test_previews_are_served_by_name_and_nothing_else_is(client: TestClient) -> None:
    url = next(card["preview"] for card in client.get("/internal/networks/loras").json()["cards"] if card["label"] == "ink")
    answer = client.get(f"/{url}")
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content[:8] == b"\x89PNG\r\n\x1a\n"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (0, 0, 255)
    for name in ("secret.txt", "../embeddings/my-style.safetensors", "a/twin.safetensors", "", "/etc/passwd", "ink.png"):
        assert client.get("/internal/networks/loras/preview", params={"name": name}).status_code == 404, name


def test_new_files_show_after_a_refresh(client: TestClient, tmp_path: Path) -> None:
    write_lora(tmp_path / "models" / "Lora", "new", lora_tensors(tiny_model()))
    before = len(client.get("/internal/networks/loras").json()["cards"])
    assert client.post("/internal/networks/refresh").json() == {"loras": before + 1, "embeddings": 2}
    assert len(client.get("/internal/networks/loras").json()["cards"]) == before + 1


@pytest.mark.browser
def test_a_click_puts_a_card_into_the_prompt_and_another_takes_it_out(page: Page, webui: WebUI) -> None:
    write_files(webui.data)
    fill(page, "txt2img_prompt", "a cat")
    page.get_by_role("tab", name="Lora").first.click()
    panel = page.locator(".network-cards[data-kind=loras]")
    panel.locator(".cards-refresh").click()
    # five of its own and the program's
    expect(panel.locator(".cards-grid button")).to_have_count(6)
    panel.locator(".cards-search").fill("ink")
    card = panel.locator(".cards-grid button")
    expect(card).to_have_count(1)
    card.click()
    assert value_of(page, "txt2img_prompt") == "a cat <lora:ink:1>"
    expect(card).to_have_attribute("aria-pressed", "true")
    fill(page, "txt2img_prompt", "a <lora:ink:0.35> cat")
    card.click()
    assert value_of(page, "txt2img_prompt") == "a cat"
    page.locator("#txt2img_neg_prompt textarea").fill("fog")
    page.get_by_role("tab", name="Textual Inversion").first.click()
    page.locator(".network-cards[data-kind=embeddings] .cards-grid button", has_text="my-style").click()
    assert value_of(page, "txt2img_neg_prompt") == "fog my-style"
    page.get_by_role("tab", name="Generation").first.click()
    expect(page.locator("#txt2img_steps")).to_be_visible()
