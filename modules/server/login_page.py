"""The login and logout pages: plain HTML that works without scripts, in light and dark. Knows no passwords and no sessions."""

from __future__ import annotations

from html import escape

_STYLE = """
:root { color-scheme: light dark;
  --line: #cbd0d8; --back: #f5f6f8; --card: #fff; --text: #1d2430; --act: #b8500a; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root {
  --line: #3a4250; --back: #0f131a; --card: #181e27; --text: #e6e9ee; --act: #b5561a; --bad: #ff8a80 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 16px;
  background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif }
main { width: 100%; max-width: 340px; padding: 24px; background: var(--card); border: 1px solid var(--line); border-radius: 8px }
h1 { font-size: 18px; margin: 0 0 16px }
p { margin: 0 0 12px }
.bad { color: var(--bad) }
label { display: block; margin: 0 0 12px }
input { display: block; width: 100%; margin-top: 4px; padding: 8px 10px; font: inherit; color: inherit;
  background: var(--back); border: 1px solid var(--line); border-radius: 6px }
button { width: 100%; padding: 9px; font: inherit; font-weight: 600; color: #fff;
  background: var(--act); border: 0; border-radius: 6px; cursor: pointer }
input:focus-visible, button:focus-visible { outline: 2px solid var(--act); outline-offset: 2px }
"""

POLICY = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def login_page(next_path: str, problem: str = "") -> bytes:
    """The form that posts `username`, `password` and `next` to /login, under `problem` if there is one."""
    message = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    return _page(
        "Log in",
        f"""{message}<form method="post" action="/login">
<input type="hidden" name="next" value="{escape(next_path)}">
<label>User name<input name="username" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form>""",
    )


def logout_page(user: str) -> bytes:
    """A button: logging out changes something, so a link alone must not do it."""
    return _page(
        "Log out", f'<p>You are logged in as {escape(user)}.</p><form method="post" action="/logout"><button>Log out</button></form>'
    )


def _page(title: str, content: str) -> bytes:
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}: diffusion-webui</title><style>{_STYLE}</style></head>
<body><main><h1>diffusion-webui</h1>{content}</main></body></html>""".encode()
