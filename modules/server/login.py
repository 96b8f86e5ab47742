"""Who somebody is: sessions by cookie for the page, HTTP Basic for programs, and the accounts of the command line.

One door over everything: the page, its files and the API. It knows nothing of what lies behind. Sessions live in memory, so a restart
asks for the password again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from modules.domain.errors import CannotStart
from modules.server.asgi import RawHeaders, answer, answer_sentence, drain, header, headers, read_body, wants_page
from modules.server.login_page import POLICY, login_page, logout_page
from modules.server.throttle import Throttle

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from modules.settings.flags import Flags, Users

SESSION_SECONDS = 14 * 24 * 3600
MAX_SESSIONS = 1000
MAX_FORM = 8192
API = ("/sdapi/", "/api/", "/mcp")
"""What programs use: Basic is asked for there, and `--api-auth` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who may come in: `page` users everywhere, `api` users at the HTTP API only. `generated` is the pair to print, if one was made up."""

    page: Users = ()
    api: Users = ()
    generated: tuple[str, str] | None = None


def accounts(flags: Flags) -> Accounts:
    """The accounts of the command line. A server that others can reach gets a made-up one when none is given.

    Raises `CannotStart` with --no-generated-login: it is never open to others without a password.
    """
    if flags.gradio_auth or not flags.exposed:
        return Accounts(page=flags.gradio_auth, api=flags.api_auth)
    if not flags.generated_login:
        raise CannotStart(
            "Others could reach this server, and it has no login. Give one with --gradio-auth USER:PASSWORD or --gradio-auth-path FILE, "
            "or leave out --no-generated-login to have one made up."
        )
    made_up = ("user", secrets.token_urlsafe(16))
    return Accounts(page=(made_up,), api=flags.api_auth, generated=made_up)


def login_for(who: Accounts, port: int) -> Login | None:
    """The login for these accounts, None when there are none. `port` keeps the cookies of two servers on one machine apart."""
    return Login(who, cookie=f"webui-session-{port}") if who.page or who.api else None


class Login:
    """Lets requests in or answers them. Not thread-safe: it is used from the server's event loop only."""

    def __init__(self, who: Accounts, *, cookie: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._page = tuple((name, self._digest(name, password)) for name, password in who.page)
        self._api = tuple((name, self._digest(name, password)) for name, password in who.api)
        self._cookie = cookie
        self._clock = clock
        self._throttle = Throttle(clock)
        self._sessions: dict[bytes, tuple[str, float]] = {}

    async def admit(self, scope: Scope, receive: Receive, send: Send, *, tunnelled: bool = False) -> str | None:
        """The user's name ("" when this path needs no login), or None after having answered the request.

        `tunnelled` says that the request came through the public tunnel: it is https there, and its guesses count apart.
        """
        path, method = scope["path"], scope["method"]
        address = _address(scope, tunnelled)
        if self._page and path.rstrip("/") == "/login":
            if method == "POST":
                await self._log_in(scope, receive, send, address, secure=tunnelled or scope.get("scheme") == "https")
            else:
                await drain(receive)
                await _send_page(send, 200, login_page(_local_path(_query(scope, "next"))))
            return None
        user = self.session_user(scope)
        if user and path.rstrip("/") == "/logout":
            await drain(receive)
            await self._log_out(scope, send, user)
            return None
        is_api = path.startswith(API)
        if user is None and self._needs_login(is_api):
            return await self._by_basic(scope, receive, send, address, is_api)
        return user or ""

    def session_user(self, scope: Scope) -> str | None:
        """The user of the session cookie; None without a valid one, "" when the page has no login."""
        if not self._page:
            return None if scope["path"].startswith(API) else ""
        token = self._token(scope)
        session = self._sessions.get(_hashed(token)) if token else None
        if session is None or session[1] < self._clock():
            return None
        return session[0]

    def _needs_login(self, is_api: bool) -> bool:
        return bool(self._page or (is_api and self._api))

    async def _by_basic(self, scope: Scope, receive: Receive, send: Send, address: str, is_api: bool) -> str | None:
        pair = _basic(header(scope, b"authorization"))
        if pair is None:
            await self._ask(scope, receive, send, is_api)
            return None
        wait = self._throttle.wait(address)
        users = (*self._page, *self._api) if is_api else self._page
        name = None if wait else self._known(users, *pair)
        if name is not None:
            self._throttle.succeeded(address)
            return name
        await drain(receive)
        if wait:
            await answer_sentence(send, 429, f"Too many wrong passwords. Try again in {wait} s.", [_retry(wait)])
        else:
            self._throttle.failed(address)
            await answer_sentence(send, 401, "Wrong user name or password.")
        return None

    async def _ask(self, scope: Scope, receive: Receive, send: Send, is_api: bool) -> None:
        await drain(receive)
        if wants_page(scope) and not is_api:
            back = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
            target = b"/login" if back == "/" else b"/login?next=" + quote(back, safe="/").encode()
            await answer(send, 303, b"", b"text/plain", [(b"location", target)])
            return
        # Asking a page's own script for Basic would make the browser pop up its password box.
        is_program = not header(scope, b"sec-fetch-mode")
        extra = [(b"www-authenticate", b'Basic realm="diffusion-webui", charset="UTF-8"')] if is_program else []
        await answer_sentence(send, 401, "Please log in.", extra)

    async def _log_in(self, scope: Scope, receive: Receive, send: Send, address: str, *, secure: bool) -> None:
        body = await read_body(receive, MAX_FORM)
        if body is None:
            await answer_sentence(send, 413, "That is no login form.", [(b"connection", b"close")])
            return
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        name, password, target = (form.get(key, [""])[0] for key in ("username", "password", "next"))
        target = _local_path(target)
        wait = self._throttle.wait(address)
        if wait:
            await _send_page(send, 429, login_page(target, f"Too many wrong passwords. Try again in {wait} seconds."), [_retry(wait)])
            return
        user = self._known(self._page, name, password)
        if user is None:
            self._throttle.failed(address)
            await _send_page(send, 401, login_page(target, "Wrong user name or password."))
            return
        self._throttle.succeeded(address)
        token = self._open_session(user)
        cookie = f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={SESSION_SECONDS}{'; Secure' if secure else ''}"
        location = quote(target, safe="/?&=%+,;:@~!$'()*").encode()
        await answer(send, 303, b"", b"text/plain", [(b"location", location), (b"set-cookie", cookie.encode())])

    async def _log_out(self, scope: Scope, send: Send, user: str) -> None:
        if scope["method"] != "POST":
            await _send_page(send, 200, logout_page(user))
            return
        self._sessions.pop(_hashed(self._token(scope)), None)
        gone = f"{self._cookie}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0".encode()
        await answer(send, 303, b"", b"text/plain", [(b"location", b"/login"), (b"set-cookie", gone)])

    def _open_session(self, user: str) -> str:
        now = self._clock()
        for key in [key for key, (_, until) in self._sessions.items() if until < now]:
            del self._sessions[key]
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        token = secrets.token_urlsafe(32)
        self._sessions[_hashed(token)] = (user, now + SESSION_SECONDS)
        return token

    def _known(self, users: tuple[tuple[str, bytes], ...], name: str, password: str) -> str | None:
        """The user of this pair. Every account is compared, so the time tells neither which name nor which letter was wrong."""
        given = self._digest(name, password)
        found: str | None = None
        for user, digest in users:
            if hmac.compare_digest(digest, given):
                found = user
        return found

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.new(self._key, f"{name}\0{password}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()

    def _token(self, scope: Scope) -> str:
        # Not http.cookies: that one gives up at the first odd cookie, and other programs on this host may have set one.
        for part in "; ".join(headers(scope, b"cookie")).split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._cookie:
                return value
        return ""


def _basic(text: str) -> tuple[str, str] | None:
    """(name, password) of an Authorization header; None when it is of another kind or broken, which is as good as none."""
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _address(scope: Scope, tunnelled: bool) -> str:
    client = scope.get("client")
    return ("tunnel " if tunnelled else "") + (str(client[0]) if client else "unknown")


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _query(scope: Scope, name: str) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get(name, [""])[0]


def _local_path(text: str) -> str:
    """`text` when it is a path on this server, else "/": a login must not send anybody elsewhere."""
    plain = text.isprintable() and text.startswith("/") and not text.startswith(("//", "/\\")) and not text.startswith("/login")
    return text if plain else "/"


def _retry(wait: int) -> tuple[bytes, bytes]:
    return b"retry-after", str(wait).encode()


async def _send_page(send: Send, status: int, page: bytes, extra: RawHeaders = ()) -> None:
    await answer(send, status, page, b"text/html; charset=utf-8", [(b"content-security-policy", POLICY), *extra])
