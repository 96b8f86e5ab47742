"""How does a finished sweep leave the program? As a table for a spreadsheet, and as a page that stands alone."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Callable, Iterator
from itertools import product

from PIL import Image

from modules.domain.errors import ImageUnreadable
from modules.domain.results import SavedImage
from modules.imaging.files import encode_image
from modules.imaging.infotext import parse_infotext
from modules.runs.run import Run
from modules.scripts.script import Sheet

SIDE = 384
"""Pixels of a picture's longer side on the exported page."""

_FIELDS = ("Prompt", "Negative prompt", "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Model")
_FORMULA = ("=", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would compute."""

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color-scheme: light dark; }
table { border-collapse: collapse; margin-bottom: 2rem; }
th, td { padding: 4px; text-align: center; font-weight: 500; vertical-align: middle; }
td { border: 1px solid #8885; min-width: 64px; height: 64px; }
summary { list-style: none; cursor: pointer; }
img { display: block; max-width: 100%; margin: 0 auto; }
pre { white-space: pre-wrap; text-align: left; max-width: 240px; margin: 4px auto 0; font-size: 12px; }
"""

Find = Callable[[str], SavedImage | None]


def places(sheet: Sheet) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each cell's labels (x, y, z) and the id of its picture, in the sheet's order."""
    x, y, z = (labels for _, labels in sheet.axes)
    for (at_z, at_y, at_x), image_id in zip(product(z, y, x), sheet.cells, strict=True):
        yield (at_x, at_y, at_z), image_id


def as_csv(sheet: Sheet, find: Find) -> str:
    """A line for each cell: its place, its file, and how it was drawn."""
    out = io.StringIO()
    writer = csv.writer(out)
    used = [index for index, (name, _) in enumerate(sheet.axes) if name != "Nothing"]
    writer.writerow([*(f"{'XYZ'[index]}: {sheet.axes[index][0]}" for index in used), "File", *_FIELDS])
    for labels, image_id in places(sheet):
        image = find(image_id) if image_id else None
        said = parse_infotext(image.infotext, defaults=False) if image else {}
        row = [*(labels[index] for index in used), image.path if image else "", *(said.get(name, "") for name in _FIELDS)]
        writer.writerow([_harmless(value) for value in row])
    return out.getvalue()


def as_html(run: Run, sheet: Sheet, find: Find, open_image: Callable[[SavedImage], Image.Image]) -> str:
    """A page with the pictures in it; a click on one opens what is said of it."""
    x, y, z = sheet.axes
    cells = list(sheet.cells)
    title = f"{run.script}: {run.request.prompt}"[:200]
    parts = [f"<!doctype html><html><head><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"]
    parts.append(f"<h1>{html.escape(run.script)}</h1>")
    for at_z, label in enumerate(z[1]):
        parts.append(f"<h2>{html.escape(label)}</h2>" if label else "")
        parts.append(f"<table><tr><th></th>{''.join(f'<th>{html.escape(text)}</th>' for text in x[1])}</tr>")
        for at_y, beside in enumerate(y[1]):
            start = (at_z * len(y[1]) + at_y) * len(x[1])
            row = "".join(_cell(find(image_id) if image_id else None, open_image) for image_id in cells[start : start + len(x[1])])
            parts.append(f"<tr><th>{html.escape(beside)}</th>{row}</tr>")
        parts.append("</table>")
    return "".join((*parts, "</body></html>"))


def _cell(image: SavedImage | None, open_image: Callable[[SavedImage], Image.Image]) -> str:
    if image is None:
        return "<td></td>"
    try:
        picture = open_image(image)
    except ImageUnreadable as error:
        return f"<td>{html.escape(str(error))}</td>"
    picture.thumbnail((SIDE, SIDE))
    data = base64.b64encode(encode_image(picture.convert("RGB"), "jpg", quality=85)).decode()
    said = html.escape(image.infotext)
    return (
        f'<td><details><summary><img alt="{html.escape(image.infotext[:120])}" src="data:image/jpeg;base64,{data}"></summary>'
        f"<pre>{said}</pre></details></td>"
    )


def _harmless(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
