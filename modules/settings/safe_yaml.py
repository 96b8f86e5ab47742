"""How a YAML file that a person may have edited, or a model came with, is read without trusting it.

No aliases (an alias bomb of 306 bytes expands to 9**9 leaves), no Python tags, a size limit, and one exception type for every way
in which the text can be wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 256 * 1024


class DamagedFileError(Exception):
    """The text is not the YAML that we read; the message is a short reason without the file's name."""


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it uses YAML aliases, which are not accepted")
        return super().compose_node(parent, index)


_PARSER_FAILURES = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What PyYAML raises for wrong text: its own type, and for tags with a foreign value (`!!bool foo`) whatever it stumbled over."""


def parse_yaml(data: bytes) -> Any:
    """The plain value that `data` holds (None for an empty text). Raises `DamagedFileError`."""
    if len(data) > MAX_BYTES:
        raise DamagedFileError(f"it is larger than {MAX_BYTES // 1024} KB")
    try:
        return yaml.load(data.decode("utf-8-sig"), Loader=_Loader)
    except _PARSER_FAILURES as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedFileError(reason or type(error).__name__) from error


def read_yaml(path: Path) -> Any:
    """`parse_yaml` of a file, of which no more than the limit is read. Raises OSError and `DamagedFileError`."""
    with path.open("rb") as file:
        return parse_yaml(file.read(MAX_BYTES + 1))


class _Dumper(yaml.SafeDumper):
    """Writes texts with line ends that are not "\\n" in double quotes, escaped: in single quotes PyYAML folds them into spaces."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if any(mark in value for mark in "\r\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(value: Any, comment: str) -> bytes:
    """`value` (plain dicts, lists, strings, numbers) as YAML under a comment line. Raises `DamagedFileError` when too long."""
    text = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120) if value else ""
    data = f"# {comment}\n{text}".encode()
    if len(data) > MAX_BYTES:
        raise DamagedFileError(f"it would be larger than {MAX_BYTES // 1024} KB")
    return data
