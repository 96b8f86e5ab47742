"""Where do the tensors come from? A safetensors file, a pickled checkpoint or a diffusers folder, opened for reading by name.

Files are memory-mapped: a tensor's bytes are read when it is used. Nothing is ever unpickled but tensors.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.families.base import METADATA, Config, Shapes
from modules.families.ema_names import averages_as_weights
from modules.settings.safe_yaml import DamagedFileError
from modules.weights.config_file import read_config
from modules.weights.header import read_header

FOLDER_PARTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""The parts of a diffusers folder that are read, and what their weights' files are called."""

_MAPPED_ANEW = 1 << 28
"""After so many bytes a file is mapped anew, so that reading 7 GB takes the memory of what is made of them and not of both."""

OPTIONAL_PARTS = ("text_encoder", "text_encoder_2")

_OLD_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9"
"""What a file of PyTorch's format before version 1.6 begins with."""

_PICKLE_FAILURES = (
    RuntimeError, UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError, OSError,
)  # fmt: skip


class WeightSource(Protocol):
    """An open checkpoint."""

    @property
    def shapes(self) -> Shapes: ...

    @property
    def config(self) -> Config: ...

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`, on the CPU, possibly a view of the file. Raises `ModelLoadError` with the reason."""
        ...


@contextmanager
def open_source(path: Path, file_format: str) -> Generator[WeightSource]:
    """Open a checkpoint or VAE. Raises `ModelLoadError` with the reason (not the file's name), OSError when it can't be read."""
    with ExitStack() as stack:
        if file_format == "diffusers":
            yield _Folder(path, stack)
        elif not path.is_file():
            raise ModelLoadError("it is not there any more" if not path.exists() else "it is not a file")
        elif file_format == "safetensors":
            yield _with_averages(_Safetensors(path, _sidecar(path), stack))
        else:
            yield _with_averages(_Pickled(path, _sidecar(path)))


class _Safetensors:
    def __init__(self, path: Path, config: Config, stack: ExitStack) -> None:
        self.shapes: Shapes = {name: entry.shape for name, entry in read_header(path).items()}
        self._path = path
        self._stack = stack.enter_context(ExitStack())
        self._file = self._map()
        self._read = 0
        self.config = {**config, METADATA: self._file.metadata() or {}}

    def tensor(self, name: str) -> Tensor:
        # the pages of a map that were read count as our memory for as long as it is open
        if self._read > _MAPPED_ANEW:
            self._stack.close()
            self._file, self._read = self._map(), 0
        try:
            tensor = self._file.get_tensor(name)
        except (SafetensorError, TypeError, ValueError, RuntimeError) as error:
            raise ModelLoadError(f"its tensor {name!r} can't be read ({error})") from error
        self._read += tensor.nbytes
        return tensor

    def _map(self) -> Any:
        try:
            return self._stack.enter_context(safe_open(str(self._path), framework="pt", device="cpu"))
        except SafetensorError as error:
            raise ModelLoadError(f"it is damaged ({error})") from error


class _Pickled:
    def __init__(self, path: Path, config: Config) -> None:
        self.config = config
        self._tensors = _state_dict(path)
        self.shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def tensor(self, name: str) -> Tensor:
        return self._tensors[name]


class _Averages:
    """A checkpoint whose UNet's weights are their averages; `names` leads from the weights' names to the averages'."""

    def __init__(self, source: WeightSource, names: Mapping[str, str]) -> None:
        self._source = source
        self._names = names
        self.config = source.config
        self.shapes: Shapes = {**source.shapes, **{weight: source.shapes[average] for weight, average in names.items()}}

    def tensor(self, name: str) -> Tensor:
        return self._source.tensor(self._names.get(name, name))


def _with_averages(source: WeightSource) -> WeightSource:
    names = averages_as_weights(source.shapes)
    return _Averages(source, names) if names else source


class _Folder:
    """A diffusers folder; its tensors are called `part/name`."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        index = _read(path / "model_index.json")
        if not (path / "unet").is_dir():
            raise ModelLoadError(
                f"it is a {str(index.get('_class_name'))[:60]!r} without a unet folder, and this version has no such models"
            )
        parts = [part for part in FOLDER_PARTS if part not in OPTIONAL_PARTS or (path / part).is_dir() or _names_class(index.get(part))]
        self.config = {
            "model_index": index,
            "scheduler": _read(path / "scheduler" / "scheduler_config.json", optional=True),
            **{part: _read(path / part / "config.json") for part in parts},
        }
        self._places: dict[str, tuple[_Safetensors, str]] = {}
        for part in parts:
            for file in _weights_files(path / part, FOLDER_PARTS[part]):
                opened = _Safetensors(file, {}, stack)
                self._places |= {f"{part}/{name}": (opened, name) for name in opened.shapes}
        self.shapes: Shapes = {name: file.shapes[inner] for name, (file, inner) in self._places.items()}

    def tensor(self, name: str) -> Tensor:
        file, inner = self._places[name]
        return file.tensor(inner)


def _names_class(entry: Any) -> bool:
    """Whether a row of a model_index.json, [library, class], names a part; one that is left out is [null, null]."""
    return isinstance(entry, list) and any(cast("list[Any]", entry))


def _sidecar(path: Path) -> Config:
    config = path.with_suffix(".yaml")
    return _read(config) if config.is_file() else {}


def _read(path: Path, *, optional: bool = False) -> Mapping[str, Any]:
    if optional and not path.is_file():
        return {}
    try:
        return read_config(path)
    except DamagedFileError as error:
        raise ModelLoadError(f"{path.name} can't be read: {error}") from error
    except FileNotFoundError as error:
        raise ModelLoadError(f"{path.parent.name}/{path.name} is missing") from error


def _weights_files(folder: Path, stem: str) -> list[Path]:
    """The files of a part's weights: one, or the pieces ("shards") that an index beside them names."""
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return [folder / name]
    for name in (f"{stem}.safetensors.index.json", f"{stem}.safetensors.index.fp16.json"):
        if (folder / name).is_file():
            return _shards(folder, name)
    raise ModelLoadError(f"{folder.name}/{stem}.safetensors is missing (of a folder's weights, only safetensors are read)")


def _shards(folder: Path, index: str) -> list[Path]:
    places = _read(folder / index).get("weight_map")
    names = sorted({str(name) for name in cast("Mapping[str, Any]", places).values()}) if isinstance(places, Mapping) else []
    if not names or any(Path(name).name != name for name in names):
        raise ModelLoadError(f"{folder.name}/{index} does not say which files hold the weights")
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing is not None:
        raise ModelLoadError(f"{folder.name}/{missing} is missing")
    return [folder / name for name in names]


def read_pickled(path: Path, *, also_old: bool = False) -> Any:
    """What a pickled file holds, tensors and plain data only; `also_old` admits the format that PyTorch wrote before version 1.6.

    Raises `ModelLoadError` with the reason, OSError where the file can't be read.
    """
    with path.open("rb") as file:
        magic = file.read(len(_OLD_MAGIC))
    if not magic:
        raise ModelLoadError("it is empty (0 bytes)")
    zipped = magic.startswith(b"PK\x03\x04")
    if not zipped and not (also_old and magic == _OLD_MAGIC):
        raise ModelLoadError("it is not a PyTorch checkpoint of today's format; convert it to safetensors")
    try:
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):
            # the old format can't be mapped into memory
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UnpicklingError as error:
        raise ModelLoadError(
            "it holds more than tensors, which could be a program; convert it to safetensors where you trust it"
        ) from error
    except _PICKLE_FAILURES as error:
        if "TorchScript" in str(error):
            raise ModelLoadError(
                "it is a TorchScript program, which is not run; get the model as safetensors or as plain weights"
            ) from error
        raise ModelLoadError(f"it is damaged ({_first_line(error)})") from error


def _state_dict(path: Path) -> dict[str, Tensor]:
    loaded = read_pickled(path)
    if isinstance(loaded, Mapping) and isinstance(cast("Mapping[Any, Any]", loaded).get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise ModelLoadError("it holds no named tensors")
    rows = cast("Mapping[Any, Any]", loaded).items()
    return {name: value for name, value in rows if isinstance(name, str) and isinstance(value, Tensor)}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
