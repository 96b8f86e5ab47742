"""Nobody without the password sees anything but the login page, and guessing it is slow."""

from __future__ import annotations

import base64
import hmac

import httpx
import pytest

from modules.domain.errors import CannotStart
from modules.server.guard import Guard
from modules.server.login import Accounts, Login, accounts, login_for
from modules.server.serve import startup_lines
from modules.settings.flags import Flags, parse
from tests.server.doors import Clock, client, guarded, make_app

pytestmark = pytest.mark.anyio

USERS = (("ann", "pass:wörd"), ("bob", "second"))
READS = ("/", "/gradio_api/file=x", "/picture", "/internal/jobs/stream", "/docs", "/openapi.json", "/config", "/loginx", "/login/x")
EVERY = [
    *(("GET", path) for path in READS),
    ("POST", "/sdapi/v1/interrupt"),
    ("POST", "/gradio_api/upload"),
    *((method, "/any") for method in ("DELETE", "HEAD", "OPTIONS")),
]


def door(clock: Clock | None = None, **more) -> tuple[Guard, object]:
    app = make_app()
    return guarded(app, users=more.pop("users", USERS), clock=clock, **more), app


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


async def log_in(http: httpx.AsyncClient, name: str = "ann", password: str = "pass:wörd", **form: str) -> httpx.Response:
    return await http.post("/login", data={"username": name, "password": password, **form})


@pytest.mark.parametrize(("method", "path"), EVERY)
async def test_nothing_without_a_login(method: str, path: str):
    guard, app = door()
    async with client(guard) as http:
        for headers in (
            {},
            {"Authorization": "Basic bm9ib2R5OmF0IGFsbA=="},
            {"Authorization": "Bearer x"},
            {"Authorization": "Basic wörd".encode("latin-1")},
            {"Authorization": "Basic bm9ib2R5OmF0IGFsb"},
            {"Cookie": "webui-session-7860=x"},
        ):
            reply = await http.request(method, path, headers=headers)
            assert reply.status_code == 401
            assert "ann" not in reply.text and "the page" not in reply.text
    assert app.state.effects == 0


async def test_a_person_is_led_to_the_form_and_back():
    guard, _ = door()
    async with client(guard) as http:
        seen = {"Accept": "text/html,*/*", "Sec-Fetch-Dest": "document"}
        reply = await http.get("/any?tab=2&x=ä b", headers=seen)
        assert reply.status_code == 303
        form = await http.get(reply.headers["location"], headers=seen)
        assert form.status_code == 200
        assert 'name="password"' in form.text and "<script" not in form.text
        target = form.text.split('name="next" value="')[1].split('"')[0].replace("&amp;", "&")
        reply = await log_in(http, next=target)
        assert (reply.status_code, reply.headers["location"]) == (303, "/any?tab=2&x=%C3%A4%20b")
        assert (await http.get(reply.headers["location"])).json() == {"user": "ann"}


async def test_the_cookie_is_for_this_server_alone():
    guard, _ = door()
    guard.allow_host("abc.gradio.live")
    async with client(guard) as http:
        cookie = (await log_in(http)).headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie and "Secure" not in cookie
        assert len(cookie.split("=")[1].split(";")[0]) >= 22  # 128 bits in base64
    async with client(guard, base="https://abc.gradio.live") as http:
        assert "Secure" in (await log_in(http)).headers["set-cookie"]


async def test_odd_cookies_of_other_programs_do_no_harm():
    guard, _ = door()
    async with client(guard) as http:
        token = (await log_in(http)).headers["set-cookie"].split(";")[0]
    async with client(guard) as http:
        assert (await http.get("/any", headers={"Cookie": f'a="b; {{json:1}}; {token}; z'})).json() == {"user": "ann"}


async def test_basic_for_programs():
    guard, _ = door()
    async with client(guard) as http:
        assert (await http.post("/sdapi/v1/interrupt", headers=basic("bob", "second"))).json() == {"user": "bob"}
        assert (await http.get("/any", headers=basic("ann", "pass:wörd"))).json() == {"user": "ann"}
        assert (await http.get("/any", headers=basic("ann", "second"))).status_code == 401
        assert "basic" in (await http.post("/any")).headers["www-authenticate"].lower()
        # a page's script must not make the browser ask
        assert (
            "www-authenticate" not in (await http.post("/any", headers={"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"})).headers
        )


async def test_an_authorization_header_means_nothing_without_a_login():
    async with client(guarded(make_app())) as http:
        assert (await http.get("/any", headers={"Authorization": "Basic !"})).json() == {"user": ""}


async def test_api_auth_closes_the_api_only():
    guard, _ = door(users=(), api=(("bot", "key"),))
    async with client(guard) as http:
        assert (await http.get("/")).status_code == 200
        assert (await http.post("/sdapi/v1/interrupt")).status_code == 401
        assert (await http.post("/sdapi/v1/interrupt", headers=basic("bot", "key"))).json() == {"user": "bot"}
    guard, _ = door(api=(("bot", "key"),))
    async with client(guard) as http:
        assert (await http.get("/any", headers=basic("bot", "key"))).status_code == 401
        assert (await http.post("/sdapi/v1/interrupt", headers=basic("bot", "key"))).status_code == 200
        assert (await http.post("/sdapi/v1/interrupt", headers=basic("bob", "second"))).status_code == 200


async def test_the_sixth_try_in_a_minute_is_refused_even_if_right():
    clock = Clock()
    guard, _ = door(clock)
    async with client(guard) as http:
        for _ in range(5):
            assert (await log_in(http, password="no")).status_code == 401
        reply = await log_in(http)
        assert reply.status_code == 429
        assert 0 < int(reply.headers["retry-after"]) <= 60
        assert (await http.get("/any", headers=basic("ann", "pass:wörd"))).status_code == 429
        clock.now += 61
        assert (await log_in(http)).status_code == 303


async def test_other_addresses_may_still_try_until_there_are_too_many():
    clock = Clock()
    guard, _ = door(clock)
    async with client(guard, address="10.0.0.99") as http:
        assert (await log_in(http)).status_code == 303
    for number in range(6):
        async with client(guard, address=f"10.0.1.{number}") as http:
            assert [(await log_in(http, password="no")).status_code for _ in range(5)] == [401] * 5
    async with client(guard, address="10.0.2.1") as http:
        assert (await log_in(http)).status_code == 429
    async with client(guard, address="10.0.0.99") as http:  # who once knew a password is not locked out by others
        assert (await log_in(http)).status_code == 303


async def test_guesses_through_the_tunnel_do_not_lock_the_owner_out():
    guard, _ = door()
    guard.allow_host("abc.gradio.live")
    async with client(guard, base="https://abc.gradio.live", address="127.0.0.1") as http:
        for _ in range(6):
            reply = await log_in(http, password="no")
        assert reply.status_code == 429
    async with client(guard, address="127.0.0.1") as http:
        assert (await log_in(http)).status_code == 303


async def test_another_site_cannot_log_anybody_in_or_out():
    guard, _ = door()
    async with client(guard) as http:
        await log_in(http)
        for path in ("/login", "/logout"):
            assert (await http.post(path, headers={"Origin": "https://evil.example"})).status_code == 403
        assert "<button" in (await http.get("/logout")).text
        assert (await http.get("/any")).json() == {"user": "ann"}


async def test_logging_out_ends_the_session_everywhere():
    guard, _ = door()
    async with client(guard) as http:
        token = (await log_in(http)).headers["set-cookie"].split(";")[0]
        assert (await http.post("/logout")).headers["location"] == "/login"
        assert (await http.get("/any", headers={"Cookie": token})).status_code == 401


async def test_sessions_end_and_are_few():
    clock = Clock()
    guard, _ = door(clock)
    async with client(guard) as http:
        await log_in(http)
        clock.now += 15 * 24 * 3600
        assert (await http.get("/any")).status_code == 401
    async with client(guard) as first:
        await log_in(first)
        async with client(guard) as http:
            login = guard._config.login
            for _ in range(999):
                login._open_session("ann")
            await log_in(http)
            assert (await http.get("/any")).status_code == 200
        assert (await first.get("/any")).status_code == 401


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)", "", "/login"]
)
async def test_the_login_sends_nobody_elsewhere(target: str):
    guard, _ = door()
    async with client(guard) as http:
        assert (await log_in(http, next=target)).headers["location"] == "/"


async def test_user_text_is_escaped():
    guard, _ = door(users=(("<b>ann", "pw"),))
    async with client(guard) as http:
        form = await http.get("/login", params={"next": '/"><script>alert(1)</script>'})
        assert "<script" not in form.text
        await log_in(http, "<b>ann", "pw")
        assert "&lt;b&gt;ann" in (await http.get("/logout")).text


async def test_a_huge_form_is_no_login():
    guard, _ = door()
    async with client(guard) as http:
        assert (await log_in(http, password="x" * 10_000)).status_code == 413


@pytest.mark.parametrize("words", ["--listen", "--share", "--server-name 10.1.2.3", "--listen --api-auth a:b"])
def test_a_server_that_others_reach_always_has_a_login(words: str):
    flags = parse(words.split(), {})
    who = accounts(flags)
    assert who.generated == who.page[0]
    name, password = who.page[0]
    assert len(password) >= 22
    assert accounts(flags).page[0][1] != password
    assert any(name in line and password in line for line in startup_lines(["http://x"], who))
    with pytest.raises(CannotStart, match="--gradio-auth"):
        accounts(parse([*words.split(), "--no-generated-login"], {}))


def test_a_given_login_is_kept_and_not_printed():
    who = accounts(parse(["--listen", "--gradio-auth", "ann:secret"], {}))
    assert (who.page, who.generated) == ((("ann", "secret"),), None)
    assert "secret" not in " ".join(startup_lines(["http://x"], who))


def test_a_local_server_needs_none():
    assert login_for(accounts(Flags()), 7860) is None


@pytest.mark.parametrize(("name", "password"), [("user0", "right"), ("user0", "wrong"), ("user49", "right"), ("nobody", "right"), ("", "")])
def test_every_account_is_compared_whatever_is_tried(name: str, password: str, monkeypatch: pytest.MonkeyPatch):
    """A comparison that stops early tells by its time which names there are."""
    login = Login(Accounts(page=tuple((f"user{n}", "right") for n in range(50))), cookie="c")
    compared: list[int] = []
    whole = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda ours, given: compared.append(len(given)) or whole(ours, given))
    known = login._known(login._page, name, password)
    assert known == (name if name.startswith("user") and password == "right" else None)
    assert compared == [32] * 50
