"""Which tokens does CLIP see in a text? Its byte-pair encoding, from the merges file beside this module; nothing is downloaded."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

START = 49406
END = 49407

_VOCABULARY = Path(__file__).parent / "clip_bpe_vocab.txt.gz"
_MERGE_COUNT = END - 2 * 256 - 1
_WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


class ClipTokenizer:
    """Text to token ids without the start and end marks, any length. Make it once: reading the vocabulary takes a while."""

    def __init__(self) -> None:
        vocabulary, merges = read_vocabulary()
        end_mark = "<|endoftext|>"
        model = BPE(vocab=vocabulary, merges=merges, continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=end_mark)
        self._tokenizer = Tokenizer(model)
        self._tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        # Written out in a prompt, the marks are themselves, as in the programs before this one.
        self._tokenizer.add_special_tokens(["<|startoftext|>", end_mark])
        self.comma = vocabulary[",</w>"]

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text."""
        return [self.encode(text) for text in texts]

    def count(self, text: str) -> int:
        """How many tokens `text` has."""
        return len(self.encode(text))


@cache
def clip_tokenizer() -> ClipTokenizer:
    """The tokenizer that all of a process share."""
    return ClipTokenizer()


def read_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(token -> id, merges in order): the 256 bytes, the same at a word's end, one token for each merge, then the two marks."""
    with gzip.open(_VOCABULARY, "rt", encoding="utf-8") as file:
        next(file)
        merges = [_pair(line) for line, _ in zip(file, range(_MERGE_COUNT), strict=False)]
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(first + second for first, second in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split()
    return first, second


def _byte_letters() -> list[str]:
    """A visible character for each byte, in CLIP's order: printable Latin-1 stands for itself, the others follow from code point 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(code) for code in printable] + [chr(256 + index) for index in range(others)]
