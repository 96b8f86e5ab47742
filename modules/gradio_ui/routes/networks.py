"""The routes behind the cards of LoRAs and textual inversions: what there is, and the preview picture that lies beside a file.

A name from outside is only ever looked up in the catalogue; the path comes from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from modules.context import AppContext
from modules.domain.catalog import Catalog
from modules.domain.networks import EmbeddingInfo, LoraInfo

PREVIEW_ENDINGS = (".preview.png", ".png", ".preview.jpg", ".jpg", ".preview.jpeg", ".jpeg", ".preview.webp", ".webp")
"""What a preview's name has in place of the file's own ending, in A1111's order."""

_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}

Row = LoraInfo | EmbeddingInfo


def network_routes(context: AppContext) -> APIRouter:
    """The routes below `/internal/networks`."""
    router = APIRouter(prefix="/internal/networks", include_in_schema=False)

    @router.get("/{kind}")
    def cards(kind: str) -> dict[str, Any]:
        rows = _rows(context.catalog.snapshot(), kind)
        return {"cards": list(_cards(kind, rows))}

    @router.post("/refresh")
    def refresh() -> dict[str, Any]:
        catalog = context.catalog.refresh()
        return {"loras": len(catalog.loras), "embeddings": len(catalog.embeddings)}

    @router.get("/{kind}/preview")
    def preview(kind: str, name: str) -> Response:
        row = next((row for row in _rows(context.catalog.snapshot(), kind) if row.name == name), None)
        found = None if row is None else preview_path(Path(row.path), _names_in(Path(row.path).parent))
        if found is None or not found.is_file():
            raise HTTPException(404, "There is no such preview.")
        return FileResponse(found, media_type=_TYPES[found.suffix.lower()], headers=_HEADERS)

    return router


def preview_path(file: Path, names: frozenset[str]) -> Path | None:
    """The picture that shows what `file` does, among the `names` beside it; a picture that is an embedding shows itself."""
    for ending in PREVIEW_ENDINGS:
        if f"{file.stem}{ending}" in names:
            return file.with_name(f"{file.stem}{ending}")
    return None


def _rows(catalog: Catalog, kind: str) -> Sequence[Row]:
    if kind == "loras":
        return catalog.loras
    if kind == "embeddings":
        return catalog.embeddings
    raise HTTPException(404, "There are no such networks.")


def _cards(kind: str, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    beside = {folder: _names_in(folder) for folder in {Path(row.path).parent for row in rows}}
    for row, insert in inserts(rows):
        path = Path(row.path)
        has_preview = preview_path(path, beside[path.parent]) is not None
        yield {
            "name": row.name,
            "label": label(row),
            "insert": insert,
            "detail": _detail(row),
            "preview": f"internal/networks/{kind}/preview?name={quote(row.name)}&at={row.modified:.0f}" if has_preview else None,
        }


def inserts(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Each row with what a prompt says for it; empty where no prompt can name the file."""
    often = Counter(label(row).casefold() for row in rows)
    yield from ((row, _insert(row, unique=often[label(row).casefold()] == 1)) for row in rows)


def label(row: Row) -> str:
    """What people call it: a LoRA's file name without its ending, an embedding's word."""
    return row.stem if isinstance(row, LoraInfo) else row.word


def _insert(row: Row, *, unique: bool) -> str:
    if isinstance(row, EmbeddingInfo):
        return row.word
    name = row.stem if unique else row.name.rsplit(".", 1)[0]
    return "" if any(mark in name for mark in ":>=") else f"<lora:{name}:1>"


def _detail(row: Row) -> str:
    folder = row.name.rpartition("/")[0]
    if isinstance(row, LoraInfo):
        alias = row.alias if row.alias.casefold() != row.stem.casefold() else ""
        return " · ".join(part for part in (folder, alias, row.made_for) if part)
    vectors = "" if row.vectors is None else f"{row.vectors} vector{'' if row.vectors == 1 else 's'}"
    return " · ".join(part for part in (folder, vectors) if part)


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        return frozenset()
