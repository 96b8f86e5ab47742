"""How do pictures become a sheet that says what each of them is? A grid with words above its columns and beside its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

INK, FADED, MISSING, PAPER = "#000000", "#9a9a9a", "#e4e4e4", "#ffffff"

MAX_PIXELS = 200_000_000
"""Larger sheets are not made, as grids of a batch are not."""

_SMALLEST = 8
_LINE = 1.25
"""Distance of two lines, in font sizes."""


@dataclass(frozen=True, slots=True)
class Label:
    """A line of words; one that is not `active` is grey and struck through."""

    text: str
    active: bool = True


Labels = Sequence[Sequence[Label]]
Cells = Sequence[Sequence[Image.Image | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the cells of a sheet are, in pixels: `left` and `top` are the room for words, `margin` lies between two cells."""

    left: int
    top: int
    width: int
    height: int
    margin: int
    columns: int
    rows: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the whole."""
        wide = self.left + self.columns * self.width + (self.columns - 1) * self.margin
        return wide, self.top + self.rows * self.height + (self.rows - 1) * self.margin

    def cell(self, column: int, row: int) -> tuple[int, int]:
        """The upper left corner of a cell."""
        return self.left + column * (self.width + self.margin), self.top + row * (self.height + self.margin)


def sheet_layout(cells: Cells, columns: Labels = (), rows: Labels = (), margin: int = 0) -> Layout:
    """The layout of `legend_sheet` for the same arguments; every cell is as large as the largest picture."""
    pictures = [picture for row in cells for picture in row if picture is not None]
    width, height = max(picture.width for picture in pictures), max(picture.height for picture in pictures)
    left = width * 3 // 4 if _any_words(rows) else 0
    size = _font_size(width, height)
    tallest = max((_height(labels, width, size) for labels in columns), default=0) if _any_words(columns) else 0
    top = tallest + size if tallest else 0
    return Layout(left=left, top=top, width=width, height=height, margin=margin, columns=len(cells[0]), rows=len(cells))


def legend_sheet(cells: Cells, columns: Labels = (), rows: Labels = (), margin: int = 0) -> Image.Image:
    """The pictures row by row, with `columns[i]` above the i-th column and `rows[i]` beside the i-th row; None is an empty cell.

    Needs at least one picture.
    """
    layout = sheet_layout(cells, columns, rows, margin)
    sheet = Image.new("RGB", layout.size, PAPER)
    draw = ImageDraw.Draw(sheet)
    size = _font_size(layout.width, layout.height)
    for x, labels in enumerate(columns if layout.top else ()):
        left, _ = layout.cell(x, 0)
        _write(draw, labels, (left, 0, left + layout.width, layout.top), size)
    for y, labels in enumerate(rows if layout.left else ()):
        _, top = layout.cell(0, y)
        _write(draw, labels, (0, top, layout.left, top + layout.height), size)
    # The pictures last: a word that is too long for its room must not lie over them.
    for y, row in enumerate(cells):
        for x, picture in enumerate(row):
            left, top = layout.cell(x, y)
            if picture is None:
                draw.rectangle((left, top, left + layout.width - 1, top + layout.height - 1), fill=MISSING)
                continue
            sheet.paste(picture.convert("RGB"), (left + (layout.width - picture.width) // 2, top + (layout.height - picture.height) // 2))
    return sheet


def too_large(cells: int, width: int, height: int) -> bool:
    """Whether a sheet of that many cells would have more pixels than are made."""
    return cells * width * height > MAX_PIXELS


def _any_words(labels: Labels) -> bool:
    return any(label.text.strip() for group in labels for label in group)


def _font_size(width: int, height: int) -> int:
    return max(_SMALLEST + 2, (width + height) // 25)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _lines(label: Label, width: int, size: int) -> list[str]:
    """The label's text in lines that fit `width`; a word that is longer stands alone."""
    font = _font(size)
    lines: list[str] = []
    for word in label.text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width * 0.95:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


def _fitting(labels: Sequence[Label], width: int, size: int, height: int | None = None) -> int:
    """The largest font size up to `size` at which every line fits the width, and all together the height."""
    while size > _SMALLEST:
        lines = [line for label in labels for line in _lines(label, width, size)]
        wide = max(_font(size).getlength(line) for line in lines) > width * 0.95
        if not wide and (height is None or len(lines) * size * _LINE <= height):
            break
        size -= 1
    return size


def _height(labels: Sequence[Label], width: int, size: int) -> int:
    if not labels:
        return 0
    fitting = _fitting(labels, width, size)
    return round(sum(len(_lines(label, width, fitting)) for label in labels) * fitting * _LINE)


def _write(draw: ImageDraw.ImageDraw, labels: Sequence[Label], box: tuple[int, int, int, int], size: int) -> None:
    """The labels below each other in the middle of the box."""
    left, top, right, bottom = box
    if not labels:
        return
    fitting = _fitting(labels, right - left, size, bottom - top)
    font = _font(fitting)
    lines = [(line, label.active) for label in labels for line in _lines(label, right - left, fitting)]
    y = top + (bottom - top - len(lines) * fitting * _LINE) / 2
    for line, active in lines:
        wide = font.getlength(line)
        x = left + (right - left - wide) / 2
        ink = INK if active else FADED
        draw.text((x, y), line, fill=ink, font=font)
        if not active and line:
            middle = y + fitting * 0.65
            draw.line((x, middle, x + wide, middle), fill=ink, width=max(1, fitting // 12))
        y += fitting * _LINE
