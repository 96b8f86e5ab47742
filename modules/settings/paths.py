"""Where everything lies on disk: decided once from the command line, then passed around."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_INPUT_ID = re.compile(r"[0-9a-f]{32}")


def input_file(folder: Path, name: str) -> Path | None:
    """Where in the folder of inputs the picture with this id lies, whether it is there or not; None for what is no id."""
    return folder / f"{name}.png" if _INPUT_ID.fullmatch(name) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Absolute folders and files. `checkpoints`, `vaes` and the rest are lists because a flag can add a second folder."""

    data: Path
    models: Path
    checkpoints: tuple[Path, ...]
    vaes: tuple[Path, ...]
    loras: tuple[Path, ...]
    embeddings: Path
    outputs: Path
    upscalers: tuple[Path, ...] = ()
    gfpgan: tuple[Path, ...] = ()
    codeformer: tuple[Path, ...] = ()
    preview_decoders: tuple[Path, ...] = ()
    more_embeddings: tuple[Path, ...] = ()
    """Where else embeddings are looked for."""
    own_styles: Path | None = None
    """Another place for the styles than the data folder."""

    @property
    def config_file(self) -> Path:
        return self.data / "config.yaml"

    @property
    def styles_file(self) -> Path:
        """The user's styles, as A1111 keeps them."""
        return self.own_styles or self.data / "styles.csv"

    @property
    def wildcards(self) -> Path:
        """The text files behind the `__names__` of dynamic prompts."""
        return self.data / "wildcards"

    @property
    def tags(self) -> Path:
        """Lists of words that are offered while a prompt is typed."""
        return self.data / "tags"

    @property
    def defaults_file(self) -> Path:
        """What the Defaults page saved: the form's own defaults."""
        return self.data / "ui-defaults.yaml"

    @property
    def presets_file(self) -> Path:
        """The user's presets: forms under names."""
        return self.data / "presets.yaml"

    @property
    def training(self) -> Path:
        """What trainings have learnt so far, a folder each."""
        return self.outputs / "training"

    @property
    def state(self) -> Path:
        """Databases, the lock and staged pictures: the program's own, not the user's."""
        return self.data / "db"

    @property
    def jobs_db(self) -> Path:
        return self.state / "jobs.sqlite"

    @property
    def runs_db(self) -> Path:
        return self.state / "runs.sqlite"

    @property
    def gallery_db(self) -> Path:
        return self.state / "gallery.sqlite"

    @property
    def hashes_db(self) -> Path:
        return self.state / "hashes.sqlite"

    @property
    def inputs(self) -> Path:
        """The pictures that requests begin from."""
        return self.state / "inputs"

    @property
    def staging(self) -> Path:
        """Complete files without a name; on the same file system as `outputs` so that naming one is a rename."""
        return self.outputs / ".staging"

    @property
    def rescue(self) -> Path:
        """Where a picture goes whose own folder can't be written."""
        return self.data / "rescue"

    @property
    def thumbnails(self) -> Path:
        return self.data / "cache" / "thumbnails"

    @property
    def words_db(self) -> Path:
        """What the gallery searches in; made anew where it is gone."""
        return self.data / "cache" / "words.sqlite"

    @property
    def temporary(self) -> Path:
        return self.data / "cache" / "tmp"

    @property
    def params_file(self) -> Path:
        """The infotext of the last picture, as A1111's params.txt."""
        return self.data / "params.txt"
