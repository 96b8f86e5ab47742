"""The one door around page, API and files: who may ask, how much they may send, and which headers every answer carries.

It stands outside everything else, so a route cannot forget it. It knows nothing of what the routes do. Gradio's own shield is not relied
on: it works only for a Host of localhost, and it covers neither our routes nor its upload.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modules.domain.viewers import FORWARDING, Viewer, is_at_the_machine
from modules.server.asgi import answer, answer_sentence, drain, header, headers
from modules.server.hosts import HostRules, is_same_origin, split_host
from modules.server.login import Login

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from modules.settings.flags import Flags

MAX_BODY = 32 << 20
MAX_UPLOAD = 128 << 20

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UPLOADS = (
    *("/gradio_api/upload", "/internal/png-info", "/internal/inputs"),
    # pictures as text in JSON, a third larger than their files
    *("/sdapi/v1/img2img", "/sdapi/v1/extra-", "/sdapi/v1/png-info", "/api/v1/jobs", "/mcp"),
)
_FILES = ("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/stream/", "/file=")

# Gradio fetches these addresses for whoever asks; the rest are its tools for developers.
_REMOTE_FILE = re.compile(r"/(?:gradio_api/)?file[=/]\s*(?:[a-z][a-z0-9+.-]+:|[/\\]{2})", re.IGNORECASE)
_CLOSED = re.compile(
    r"/(?:gradio_api/)?(?:proxy=|(?:undo-)?vibe-|dev/|profiling/|process_recording|custom_component/)|/monitoring", re.IGNORECASE
)

# Gradio's page is built from inline scripts and compiles the handlers of its HTML components, hence the two "unsafe" words; what the
# policy keeps is that nothing comes from, and nothing is sent to, any other place.
_PAGE_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_FILE_POLICY = b"sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
_EVERYWHERE = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_REPLACED = frozenset({b"server", *(name for name, _ in _EVERYWHERE)})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """`origins` are web pages of other places that may call this server (scheme://host[:port], lower case). Sizes are in bytes."""

    hosts: HostRules = field(default_factory=HostRules)
    origins: frozenset[str] = frozenset()
    login: Login | None = None
    max_body: int = MAX_BODY
    max_upload: int = MAX_UPLOAD


def guard_config(flags: Flags, login: Login | None) -> GuardConfig:
    """The door that the command line asks for."""
    names = {*flags.host_names}
    reachable = flags.host not in ("127.0.0.1", "::1", "localhost")
    if reachable:
        own = socket.gethostname().lower()
        names |= {own, own.split(".", 1)[0], own.split(".", 1)[0] + ".local"}
    if flags.server_name:
        names.add(flags.server_name.lower())
    rules = HostRules(names=frozenset(names), any_address=reachable)
    return GuardConfig(hosts=rules, origins=frozenset(flags.cors_origins), login=login)


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    sentence: str


class Guard:
    """ASGI middleware around the whole app. `allow_host` adds a name while it runs: the tunnel's, once it is known."""

    def __init__(self, app: ASGIApp, config: GuardConfig) -> None:
        self._app = app
        self._config = config
        self._tunnels: set[str] = set()

    def allow_host(self, name: str) -> None:
        """Answer to `name` too, as https behind a tunnel."""
        self._tunnels.add(name.lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, refusal)
            return
        send = self._with_headers(scope, send)
        if refusal is not None:
            await _refuse(receive, send, refusal)
        elif self._is_preflight(scope):
            await answer(send, 204, b"", b"text/plain", _preflight_headers(scope))
        elif await self._enter(scope, receive, send):
            await self._limited(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether the caller is let in; when not, the login has answered. Puts a `Viewer` into `request.state.viewer`."""
        login = self._config.login
        user: str | None = ""
        if login is not None:
            user = await login.admit(scope, receive, send, tunnelled=self._is_tunnelled(scope))
        if user is None:
            return False
        scope.setdefault("state", {})["viewer"] = _viewer(user, scope)
        return True

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, refusal: _Refusal | None) -> None:
        login = self._config.login
        user = "" if login is None else login.session_user(scope)
        if refusal is None and user is not None:
            scope.setdefault("state", {})["viewer"] = _viewer(user, scope)
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence[:120] if refusal else "Please log in."})

    def _is_tunnelled(self, scope: Scope) -> bool:
        split = split_host(header(scope, b"host"))
        return split is not None and split[0] in self._tunnels

    def _refusal(self, scope: Scope) -> _Refusal | None:
        hosts = headers(scope, b"host")
        if len(hosts) != 1:
            return _Refusal(400, "A request needs exactly one Host header.")
        if not self._config.hosts.admits(hosts[0], self._tunnels):
            shown = ascii(hosts[0][:100])
            return _Refusal(421, f"This server does not answer to the name {shown}. Start it with --host-header NAME if the name is yours.")
        path = scope["path"]
        if _REMOTE_FILE.match(path) or _CLOSED.match(path):
            return _Refusal(403, "This server fetches nothing for anybody, and has no developer's tools.")
        return self._origin_refusal(scope, hosts[0])

    def _origin_refusal(self, scope: Scope, host: str) -> _Refusal | None:
        origins = headers(scope, b"origin")
        if len(origins) > 1:
            return _Refusal(400, "A request has at most one Origin header.")
        if origins and origins[0].lower() in self._config.origins:
            return None
        if origins and not is_same_origin(origins[0], host):
            shown = ascii(origins[0][:100])
            return _Refusal(
                403, f"The page {shown} may not use this server. Start it with --cors-allow-origins ORIGIN if that page is yours."
            )
        if header(scope, b"sec-fetch-site").lower() in ("", "same-origin", "none") or _is_top_navigation(scope):
            return None
        return _Refusal(403, "Another web page tried to use this server.")

    def _is_preflight(self, scope: Scope) -> bool:
        asked = scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method")
        return bool(asked) and header(scope, b"origin").lower() in self._config.origins

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app with a body of at most the allowed size, whether or not its length was announced."""
        limit = self._config.max_upload if scope["path"].startswith(_UPLOADS) else self._config.max_body
        too_large = _Refusal(413, f"A request may have at most {limit >> 20} MiB.")
        announced = header(scope, b"content-length")
        if announced and (not announced.isdecimal() or int(announced) > limit):
            await _refuse(receive, send, too_large)
            return
        if scope["method"] in _SAFE and not announced and not header(scope, b"transfer-encoding"):
            await self._app(scope, receive, send)
            return
        body = _CountedBody(receive, send, limit)
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            # Whatever the app makes of a body that breaks off, the answer is ours: only its other failures go on.
            if not body.exceeded or body.started:
                raise
        if body.exceeded and not body.started:
            # A client that is still sending would lose the answer if the connection were closed on it.
            await _refuse(receive, send, too_large)

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        origin = header(scope, b"origin").lower()
        shared = origin.encode("latin-1") if origin in self._config.origins else None
        is_file = scope["path"].startswith(_FILES)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _safe_headers(message.get("headers", ()), is_file, shared)}
            await send(message)

        return send_with_headers


class _CountedBody:
    """Receive and send of one request that stop when more than `limit` bytes came in before an answer was begun."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._left = limit
        self.exceeded = False
        self.started = False

    async def receive(self) -> Message:
        if self.exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.exceeded = True
                return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self.exceeded and not self.started:
            return
        self.started = True
        await self._send(message)


def _is_top_navigation(scope: Scope) -> bool:
    """A link, bookmark or form of another site that leads the whole tab here by GET: harmless, and how people arrive."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    return header(scope, b"sec-fetch-mode").lower() == "navigate" and header(scope, b"sec-fetch-dest").lower() in ("", "document")


def _viewer(user: str, scope: Scope) -> Viewer:
    client = scope.get("client")
    forwarded = any(header(scope, name.encode()) for name in FORWARDING)
    return Viewer(user, at_the_machine=bool(client) and is_at_the_machine(str(client[0]), header(scope, b"host"), forwarded=forwarded))


async def _refuse(receive: Receive, send: Send, refusal: _Refusal) -> None:
    whole = await drain(receive)
    await answer_sentence(send, refusal.status, refusal.sentence, () if whole else [(b"connection", b"close")])


def _preflight_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    asked = header(scope, b"access-control-request-headers")
    names = asked if re.fullmatch(r"[A-Za-z0-9, _-]{0,500}", asked) else ""
    return [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", names.encode("latin-1") or b"content-type"),
        (b"access-control-allow-private-network", b"true"),
        (b"access-control-max-age", b"600"),
    ]


def _safe_headers(given: list[tuple[bytes, bytes]], is_file: bool, shared: bytes | None) -> list[tuple[bytes, bytes]]:
    """The headers of an answer: the app's own without CORS, then ours. `shared` is the foreign origin that may read it."""
    kept = [(name, value) for name, value in given if not _is_dropped(name.lower(), shared)]
    content_type = next((value for name, value in given if name.lower() == b"content-type"), b"").lower()
    kept.extend(_EVERYWHERE)
    has_policy = any(name.lower() == b"content-security-policy" for name, _ in given)
    if is_file or content_type.startswith((b"image/", b"video/", b"audio/", b"application/octet-stream")):
        kept.append((b"content-security-policy", _FILE_POLICY))
    elif not has_policy:
        kept.append((b"content-security-policy", _PAGE_POLICY))
    if shared is not None:
        kept += [(b"access-control-allow-origin", shared), (b"vary", b"Origin")]
    return kept


def _is_dropped(name: bytes, shared: bytes | None) -> bool:
    if name in _REPLACED:
        return True
    if not name.startswith(b"access-control-"):
        return False
    # Our own preflight answer passes here too; Gradio's answer to any origin does not.
    return shared is None or name in (b"access-control-allow-origin", b"access-control-allow-credentials")
