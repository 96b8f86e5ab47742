"""Values drawn from a JSON schema as OpenAPI has it, right ones and wrong ones, and whether a value is what a schema says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from tests.http_api.front import picture

Schema = Mapping[str, Any]

WORDS = (
    *("", "draw", "Euler a", "DPM++ 2M Karras", "Latent", "None", "-1", "tiny", "Ink", "AAAA"),
    *("../../etc/passwd", "http://127.0.0.1/x", "\ud800", "\0"),
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(WORDS),
)
NUMBERS = st.one_of(
    st.integers(-5, 2000),
    st.floats(-3, 100),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400, 1e308, float("nan"), float("inf"), -0.0]),
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
_PICTURE = st.one_of(st.just(picture(8, 8)), TEXTS)
_BY_NAME = {
    "image": _PICTURE,
    "data": _PICTURE,
    "mask": _PICTURE,
    "init_images": st.one_of(st.just([picture(8, 8)]), st.lists(_PICTURE, max_size=2)),
}
"""Fields that hold pictures: no text that is drawn at random is one."""

_BY_TYPE = {"integer": NUMBERS, "number": NUMBERS, "string": TEXTS, "boolean": st.booleans(), "null": st.none()}


def values(schema: Schema, known: Schema) -> st.SearchStrategy[Any]:
    """Values that mostly fit `schema`; now and then one that does not, or a field too many or too few."""
    return st.integers(0, 7).flatmap(lambda dice: _fitting(schema, known) if dice else ANYTHING)


def _fitting(schema: Schema, known: Schema) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return st.deferred(lambda: _fitting(known[name], known))
    if "anyOf" in schema:
        return st.one_of([values(part, known) for part in schema["anyOf"]])
    if schema.get("type") == "array":
        return st.lists(values(schema.get("items", {}), known), max_size=3)
    if schema.get("type") == "object":
        fields = {name: _BY_NAME.get(name, values(part, known)) for name, part in schema.get("properties", {}).items()}
        if not fields:
            return st.dictionaries(TEXTS, ANYTHING, max_size=4)
        # A few fields at a time: with all of them one is always wrong, and nothing behind the check is ever reached.
        chosen = st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True)
        needed = [name for name in (*schema.get("required", ()), "init_images") if name in fields]
        return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in dict.fromkeys((*needed, *names))}))
    return _BY_TYPE.get(schema.get("type", ""), ANYTHING)


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}


def mismatches(value: Any, schema: Schema, known: Schema, place: str = "") -> Iterator[str]:
    """Where `value` is not what the schema says; fields that the schema does not name count too."""
    if "$ref" in schema:
        yield from mismatches(value, known[schema["$ref"].rsplit("/", 1)[-1]], known, place)
    elif "anyOf" in schema:
        if all(list(mismatches(value, part, known, place)) for part in schema["anyOf"]):
            yield f"{place}: fits none of the kinds"
    elif "type" in schema:
        kind = _TYPES[schema["type"]]
        if not isinstance(value, kind) or (isinstance(value, bool) and schema["type"] != "boolean"):
            yield f"{place}: {value!r} is no {schema['type']}"
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from mismatches(item, schema.get("items", {}), known, f"{place}[{number}]")
        elif isinstance(value, dict):
            yield from _field_mismatches(value, schema, known, place)


def _field_mismatches(value: Mapping[str, Any], schema: Schema, known: Schema, place: str) -> Iterator[str]:
    fields, others = schema.get("properties", {}), schema.get("additionalProperties", not schema.get("properties"))
    yield from (f"{place}.{name} is missing" for name in schema.get("required", ()) if name not in value)
    for name, item in value.items():
        if name in fields:
            yield from mismatches(item, fields[name], known, f"{place}.{name}")
        elif isinstance(others, dict):
            yield from mismatches(item, others, known, f"{place}.{name}")
        elif not others:
            yield f"{place}.{name} is not in the schema"
