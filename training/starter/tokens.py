"""Words to the token ids of SD1's text encoder, and the small vocabulary that training needs of them."""

from __future__ import annotations

import gzip
from functools import lru_cache

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from training.starter.config import REPO
from training.starter.models import BOS, EOS, POSITIONS, VOCABULARY
from training.starter.names import COLOURS, LANDSCAPES, NAMES, plural
from training.starter.scenes import EVERY_FORM, LAYOUTS
from training.starter.styles import STYLES

MERGES_FILE = REPO / "modules" / "prompts" / "clip_bpe_vocab.txt.gz"
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def _byte_characters() -> list[str]:
    """Return the 256 printable stand-ins for bytes, in the vocabulary's order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(0x100 + i) for i in range(256 - len(printable))]


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """Build CLIP's tokenizer from its list of merges."""
    lines = gzip.decompress(MERGES_FILE.read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines[1 : VOCABULARY - 2 - 512 + 1]]
    characters = _byte_characters()
    words = [*characters, *(c + "</w>" for c in characters), *("".join(m) for m in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    made = Tokenizer(BPE({w: i for i, w in enumerate(words)}, merges, end_of_word_suffix="</w>", unk_token=words[-1]))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    return made


@lru_cache(maxsize=65536)
def words_to_ids(text: str) -> tuple[int, ...]:
    """Return the ids of a text, without beginning and end."""
    return tuple(tokenizer().encode(text, add_special_tokens=False).ids)


def padded(ids: list[int] | tuple[int, ...]) -> np.ndarray:
    """Return int64 (77,): beginning, the ids, and the end token as far as the row goes."""
    row = np.full(POSITIONS, EOS, dtype=np.int64)
    row[0] = BOS
    kept = ids[: POSITIONS - 2]
    row[1 : 1 + len(kept)] = kept
    return row


class SmallVocabulary:
    """The ids that captions use, numbered from 0, and one more for every other word.

    Training keeps rows for these alone.  All the rest of the 49408 share the last row, which training shows as a
    word that says nothing; so a prompt's unknown words do not disturb the picture.
    """

    def __init__(self) -> None:
        used = {BOS, EOS, *words_to_ids(", . an a the")}
        for form in EVERY_FORM:
            used.update(words_to_ids(form.format(n="cat", c="red", a="cat", b="dog", k="two")))
        for word in (
            *NAMES,
            *(plural(name) for name in NAMES),
            *COLOURS,
            *LANDSCAPES.values(),
            *LAYOUTS,
            *(form for style in STYLES.values() for form in (*style.before, *style.after)),
        ):
            used.update(words_to_ids(word))
        self.ids: tuple[int, ...] = tuple(sorted(used))
        self.unknown = len(self.ids)
        self.table = np.full(VOCABULARY, self.unknown, dtype=np.int64)
        self.table[list(self.ids)] = np.arange(len(self.ids))

    def __len__(self) -> int:
        return len(self.ids) + 1

    def disturb(self, rng: np.random.Generator, row: np.ndarray, most: int = 8) -> np.ndarray:
        """Return a row (77,) of small ids with some unknown words after, seldom before, its own."""
        end, comma = int(self.table[EOS]), int(self.table[words_to_ids(",")[0]])
        words = [int(i) for i in row[1:] if i != end]
        extra: list[int] = []
        for _ in range(int(rng.integers(1, most + 1))):
            extra += [comma, self.unknown] if rng.random() < 0.5 else [self.unknown]
        words = extra + words if rng.random() < 0.2 else words + extra
        out = np.full(POSITIONS, end, dtype=np.int64)
        out[0] = row[0]
        out[1 : 1 + len(words)] = words
        return out
