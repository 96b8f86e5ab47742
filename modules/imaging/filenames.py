"""What is a picture's file called? Patterns like `[seed]-[prompt_spaces]` filled in, and any text made safe as a file name.

Knows values, not folders: whoever saves decides where, and adds the counter.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

MAX_BYTES = 200
"""Of one name without its counter and extension: file systems take 255 bytes."""

MAX_PART = 128
"""Characters of one token's value, as in A1111."""

MAX_WORDS = 8

_TOKEN = re.compile(r"\[([a-z_]+)((?:<[^<>\[\]]*>)*)\]")
_ARGUMENT = re.compile(r"<([^<>]*)>")
_UNSAFE = re.compile(r'[#<>:"/\\|?*\n\r\t]')
_NO_WORD = re.compile(r"[\s!-/:-@\[-`{-~]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE)

_ABOUT_THE_PICTURE = {"seed", "steps", "cfg", "width", "height", "sampler", "scheduler", "model_hash", "model_name", "styles", "clip_skip"}
_ABOUT_THE_JOB = {
    "seed_first",
    "seed_last",
    "batch_number",
    "batch_size",
    "generation_number",
    "denoising",
    "vae_filename",
    "user",
    "job_timestamp",
}
PLAIN_TOKENS = frozenset(_ABOUT_THE_PICTURE | _ABOUT_THE_JOB)
"""Tokens whose value is the field of the same name; an absent field gives nothing."""


def file_name(pattern: str, fields: Mapping[str, str], *, now: datetime | None = None) -> str:
    """`pattern` filled in, as one safe part of a path: no separators, see `safe_name`. May be empty."""
    return safe_name(expand(pattern, fields, now=now).replace("/", "_").replace("\\", "_"))


def folder_name(pattern: str, fields: Mapping[str, str], *, now: datetime | None = None) -> str:
    """`pattern` filled in, as a relative folder: / parts folders, each of them safe. May be empty."""
    parts = (safe_name(part) for part in expand(pattern, fields, now=now).replace("\\", "/").split("/"))
    return "/".join(part for part in parts if part)


def expand(pattern: str, fields: Mapping[str, str], *, now: datetime | None = None) -> str:
    """`pattern` with its tokens replaced; what is no token stays as it is. Values can hold no path separators, the pattern itself can."""
    moment = now or datetime.now()

    def value(match: re.Match[str]) -> str:
        made = _token(match.group(1), _ARGUMENT.findall(match.group(2)), fields, moment)
        return match.group() if made is None else made

    return _TOKEN.sub(value, pattern)


def sanitize(text: str, *, replace_spaces: bool = True) -> str:
    """A token's value as A1111 writes it: reserved characters become _, blanks too unless told otherwise, at most 128 characters."""
    text = text.replace(" ", "_") if replace_spaces else text
    return _UNSAFE.sub("_", text).lstrip(" ")[:MAX_PART].rstrip(" .")


def safe_name(text: str, limit: int = MAX_BYTES) -> str:
    """A name that every file system takes: NFC, nothing invisible or reserved, no dot or blank at either end, at most `limit` bytes."""
    visible = "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char)[0] != "C" and char not in "/\\")
    name = _trimmed(_UNSAFE.sub("_", visible))
    name = _trimmed(name.encode("utf-8")[:limit].decode("utf-8", "ignore"))
    return f"_{name}" if _RESERVED.match(name) else name


def _trimmed(name: str) -> str:
    start, end = 0, len(name)
    while start < end and (name[start] == "." or name[start].isspace()):
        start += 1
    while end > start and (name[end - 1] == "." or name[end - 1].isspace()):
        end -= 1
    return name[start:end]


def _token(name: str, arguments: list[str], fields: Mapping[str, str], now: datetime) -> str | None:
    """The value of a token, or None where there is no token of that name."""
    if name in PLAIN_TOKENS:
        return sanitize(fields.get(name, ""), replace_spaces=False)
    made = _TOKENS.get(name)
    if made is not None:
        return made(fields, arguments)
    if name == "date":
        return now.strftime("%Y-%m-%d")
    return _date_time(arguments, now) if name == "datetime" else None


def _prompt(fields: Mapping[str, str]) -> str:
    return fields.get("prompt", "")


def _words(fields: Mapping[str, str], _arguments: list[str]) -> str:
    words = [word for word in _NO_WORD.split(_prompt(fields)) if word]
    return sanitize(" ".join(words[:MAX_WORDS] or ["empty"]), replace_spaces=False)


def _hash(text: str, arguments: list[str]) -> str:
    length = int(arguments[0]) if arguments and re.fullmatch("[0-9]{1,2}", arguments[0]) else 8
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def _has_prompt(fields: Mapping[str, str], arguments: list[str]) -> str:
    """For each <word|otherwise>: the word if the prompt has it."""
    prompt, made = _prompt(fields).lower(), ""
    for argument in arguments:
        word, _, otherwise = argument.partition("|")
        made += word.lower() if word.lower() in prompt else otherwise
    return sanitize(made, replace_spaces=False)


def _date_time(arguments: list[str], now: datetime) -> str:
    """`[datetime<format><time zone>]`; a format or zone that does not exist counts as left out."""
    form = arguments[0] if arguments and arguments[0] else "%Y%m%d%H%M%S"
    try:
        zone = ZoneInfo(arguments[1]) if len(arguments) > 1 and arguments[1] else None
    except (ValueError, OSError, KeyError):
        zone = None
    moment = now.astimezone(zone)
    try:
        made = moment.strftime(form)
    except ValueError:
        made = moment.strftime("%Y%m%d%H%M%S")
    return sanitize(made, replace_spaces=False)


_TOKENS: Mapping[str, Callable[[Mapping[str, str], list[str]], str]] = {
    "prompt": lambda fields, _: sanitize(_prompt(fields)),
    "prompt_no_styles": lambda fields, _: sanitize(_prompt(fields), replace_spaces=False),
    "prompt_spaces": lambda fields, _: sanitize(_prompt(fields), replace_spaces=False),
    "prompt_words": _words,
    "prompt_hash": lambda fields, arguments: _hash(_prompt(fields), arguments),
    "negative_prompt_hash": lambda fields, arguments: _hash(fields.get("negative_prompt", ""), arguments),
    "full_prompt_hash": lambda fields, arguments: _hash(f"{_prompt(fields)} {fields.get('negative_prompt', '')}", arguments),
    "sampler_scheduler": lambda fields, _: sanitize(f"{fields.get('sampler', '')} {fields.get('scheduler', '')}", replace_spaces=False),
    "hasprompt": _has_prompt,
    "none": lambda _fields, _arguments: "",
}
