"""Which added networks does a prompt name? `<lora:file:0.8>` tags, taken out of the text. Knows no files and no networks."""

from __future__ import annotations

import re
from dataclasses import dataclass

LORA_KINDS = ("lora", "lyco")
LORA_ARGUMENTS = ("te", "unet", "dyn")
"""What may stand behind a LoRA's name, in this order or by name. Extensions of A1111 have others (lbw, step)."""

_HEAD = re.compile(r"<(\w+):")


@dataclass(frozen=True, slots=True)
class NetworkTag:
    """`<kind:value:value:name=value>`: `values` in order (the file's name first), `named` by name."""

    kind: str
    values: tuple[str, ...]
    named: tuple[tuple[str, str], ...] = ()


def strange_arguments(tag: NetworkTag) -> tuple[str, ...]:
    """The names of a LoRA tag's arguments that this program does not read, each once."""
    return tuple(dict.fromkeys(name for name, _ in tag.named if name not in LORA_ARGUMENTS))


def extract_network_tags(prompt: str) -> tuple[str, tuple[NetworkTag, ...]]:
    """(the prompt without its tags, the tags in order). What has no closing > stays in the text."""
    texts: list[str] = []
    tags: list[NetworkTag] = []
    done = 0
    for head in _HEAD.finditer(prompt):
        if head.start() < done:
            continue
        end = prompt.find(">", head.end())
        if end < 0:
            break
        if end > head.end():
            texts.append(prompt[done : head.start()])
            tags.append(_tag(head.group(1), prompt[head.end() : end]))
            done = end + 1
    return "".join((*texts, prompt[done:])), tuple(tags)


def _tag(kind: str, arguments: str) -> NetworkTag:
    parts = arguments.split(":")
    named = [part.partition("=") for part in parts if "=" in part]
    return NetworkTag(kind, tuple(part for part in parts if "=" not in part), tuple((name, value) for name, _, value in named))
