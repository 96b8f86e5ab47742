"""Which text does a PNG carry under a keyword? Its chunks walked through without decoding the picture; it must not import torch."""

from __future__ import annotations

import struct
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

EMBEDDING_KEY = "sd-ti-embedding"
"""The text chunk of a picture that holds a textual inversion: base64 of JSON."""

MAX_TEXT = 64 * 1024 * 1024


def png_text(path: Path, keyword: str) -> str | None:
    """The first uncompressed text chunk called `keyword`; None where there is none or the file is no whole PNG. Raises OSError."""
    wanted = keyword.encode("latin-1") + b"\0"
    with path.open("rb") as file:
        if file.read(8) != _SIGNATURE:
            return None
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"tEXt" and length <= MAX_TEXT:
                data = file.read(length)
                if data.startswith(wanted):
                    return data[len(wanted) :].decode("latin-1") if len(data) == length else None
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)
    return None
