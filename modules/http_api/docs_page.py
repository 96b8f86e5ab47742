"""The page at /docs: what the API can do, read off its own OpenAPI schema. Plain HTML, since nothing is fetched from elsewhere here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
code { font: 0.9em ui-monospace, monospace }
summary { cursor: pointer; padding: 0.3rem 0 }
details > div { border-left: 2px solid #8888; padding-left: 1rem; margin-bottom: 1rem; overflow-x: auto }
.verb { display: inline-block; min-width: 3.5rem; font-weight: 600 }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top; padding: 0.2rem 1rem 0.2rem 0 }
"""
_INTRO = """<p>The same jobs, queue and pictures as the page's. The routes below <code>/sdapi/v1</code> are those of
stable-diffusion-webui; <code>/api/v1/jobs</code> is for programs whose connection may break. The schema is at
<a href="openapi.json"><code>openapi.json</code></a>.</p>"""


def docs_page(schema: Mapping[str, Any]) -> str:
    """The whole document for an OpenAPI schema."""
    title = escape(f"{schema['info']['title']} {schema['info']['version']}: HTTP API")
    body = "\n".join((*_routes(schema), "<h2>Bodies and answers</h2>", *_models(schema)))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{title}</h1>{_INTRO}{body}</body></html>'


def _routes(schema: Mapping[str, Any]) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, verbs in schema["paths"].items():
        for verb, route in verbs.items():
            by_tag.setdefault(next(iter(route.get("tags", ())), "other"), []).append(_route(verb, path, route))
    for tag, routes in by_tag.items():
        yield f"<h2>{escape(tag.capitalize())}</h2>"
        yield from routes


def _route(verb: str, path: str, route: Mapping[str, Any]) -> str:
    head = f'<span class="verb">{verb.upper()}</span> <code>{escape(path)}</code>'
    parts = [f"<p>{escape(route.get('description', route.get('summary', '')))}</p>"]
    parameters = [(item["name"], item["schema"], item.get("description", "")) for item in route.get("parameters", ())]
    if parameters:
        parts.append(_table(parameters))
    if "requestBody" in route:
        parts.append(f"<p>Body: {_contents(route['requestBody']['content'])}</p>")
    parts += [
        f"<p>{escape(status)}: {_contents(answer['content'])}</p>" for status, answer in route["responses"].items() if answer.get("content")
    ]
    return f"<details><summary>{head}</summary><div>{''.join(parts)}</div></details>"


def _contents(content: Mapping[str, Any]) -> str:
    return " or ".join(_kind(part["schema"]) if part.get("schema") else f"<code>{escape(kind)}</code>" for kind, part in content.items())


def _models(schema: Mapping[str, Any]) -> Iterator[str]:
    for name, model in sorted(schema.get("components", {}).get("schemas", {}).items()):
        rows = [(field, part, part.get("description", "")) for field, part in model.get("properties", {}).items()]
        about = escape(model.get("description", ""))
        table = _table(rows) if rows else ""
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary><div><p>{about}</p>{table}</div></details>'


def _table(rows: Iterable[tuple[str, Mapping[str, Any], str]]) -> str:
    lines = [
        f"<tr><td><code>{escape(name)}</code></td><td>{_kind(part)}</td><td>{_default(part)}</td><td>{escape(about)}</td></tr>"
        for name, part, about in rows
    ]
    return f"<table><tr><th>name</th><th>kind</th><th>default</th><th></th></tr>{''.join(lines)}</table>"


def _default(part: Mapping[str, Any]) -> str:
    return f"<code>{escape(json.dumps(part['default'], ensure_ascii=False))}</code>" if "default" in part else ""


def _kind(part: Mapping[str, Any]) -> str:
    if "$ref" in part:
        name = escape(str(part["$ref"]).rsplit("/", 1)[-1])
        return f'<a href="#{name}"><code>{name}</code></a>'
    if "anyOf" in part:
        return " or ".join(_kind(option) for option in part["anyOf"])
    if part.get("type") == "array":
        return f"list of {_kind(part.get('items', {}))}"
    limits = [f"{part[name]:g}" if abs(part[name]) < 1e9 else str(part[name]) for name in ("minimum", "maximum") if name in part]
    return f"<code>{escape(str(part.get('type', 'anything')))}</code>" + (f" {' to '.join(limits)}" if len(limits) == 2 else "")
