"""The form's defaults come back as they were saved, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modules.domain.errors import InvalidRequest
from modules.settings.defaults import FormDefaults

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@example(values={"": {"\x85": None, "\u2028": "\u2029", "\r": "a\rb\r\nc"}})
@given(values=st.dictionaries(st.text(), _JSON, max_size=6))
def test_any_form_value_comes_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]) -> None:
    file = tmp_path_factory.mktemp("form") / "ui-defaults.yaml"
    defaults = FormDefaults(file)
    defaults.save(values)
    assert dict(FormDefaults(file).values) == values
    defaults.clear()
    assert dict(FormDefaults(file).values) == {}


def test_form_defaults_that_are_no_json_are_refused(tmp_path: Path) -> None:
    defaults = FormDefaults(tmp_path / "ui-defaults.yaml")
    defaults.save({"txt2img_steps": 30})
    for values in ({"x": float("nan")}, {"x": {1, 2}}, {"x": "\ud800"}, {3: 1}, {"x": "y" * 400_000}):
        with pytest.raises(InvalidRequest):
            defaults.save(values)
    assert dict(defaults.values) == {"txt2img_steps": 30}
