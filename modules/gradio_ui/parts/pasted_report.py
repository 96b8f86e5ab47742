"""The folded "Pasted parameters" block: what became of each field of a pasted text. Every text in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import gradio as gr

from modules.imaging.reproduction import Field, ModelMatch, Report

_SHOWN = 400
"""Characters of a value; what is longer is cut."""

_MATCHES = {
    "same": "the same file, by its hash",
    "renamed": "the same file under another name, by its hash",
    "unverified": "a file of that name; its hash could not be compared",
    "different": "a file of that name, but another one",
    "missing": "not here",
}


def pasted_report(elem_id: str) -> gr.HTML:
    """The block, hidden until `shown_report` is put into it."""
    return gr.HTML("", elem_id=elem_id, elem_classes="pasted-report", apply_default_css=False, visible=False)


def shown_report(report: Report | None) -> gr.HTML:
    """The update that shows a report, or hides the block where there is none."""
    return gr.HTML(value=report_markup(report) if report else "", visible=report is not None)


def report_markup(report: Report) -> str:
    """The block's markup, folded, with the verdict as its visible line."""
    groups = (
        _list("In the form", [_field(row) for row in report.applied]),
        _list("As override settings", [_field(row) for row in report.overrides]),
        _list("Substituted", [_field(row, "→ ") for row in report.substituted]),
        _list("Not used", [_field(row) for row in report.ignored]),
        _list("Models", [_model(row) for row in report.models]),
    )
    return f"<details><summary>Pasted parameters: {_text(report.verdict, 2 * _SHOWN)}</summary>{''.join(groups)}</details>"


def _list(title: str, rows: Sequence[str]) -> str:
    return f"<h4>{title}</h4><ul>{''.join(f'<li>{row}</li>' for row in rows)}</ul>" if rows else ""


def _field(row: Field, mark: str = "· ") -> str:
    became = f" {mark}{_text(row.became)}" if row.became else ""
    return f"<b>{_text(row.key)}</b>: {_text(row.value)}{became}"


def _model(row: ModelMatch) -> str:
    here = f" ({_text(row.here)})" if row.here and row.here != row.name else ""
    return f"{_text(row.kind)} <b>{_text(row.name)}</b> · {_MATCHES[row.match]}{here}"


def _text(text: str, most: int = _SHOWN) -> str:
    return escape(text if len(text) <= most else f"{text[:most]}…")
