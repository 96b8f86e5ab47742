"""The engine process' beginning: environment, imports, the first model. `build_runner` is what the child process is told to call.

Torch-free at import, so that the web process can name it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from modules.domain.errors import UserError
from modules.engine.config import EngineConfig
from modules.settings.paths import Paths

if TYPE_CHECKING:
    from modules.engine.engine import Engine
    from modules.engine.runner import EngineRunner
    from modules.weights.hashes import HashCache

log = logging.getLogger(__name__)

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Nothing is asked of a hub, and no code is taken from one. To be set before the libraries are imported."""


def build_runner(config: EngineConfig) -> EngineRunner:
    """A runner with its libraries imported and, where `config.preload` says so, the first model loaded."""
    os.environ.update(OFFLINE)
    _set_up_logging(config.log_level)
    from modules.engine.engine import Engine
    from modules.engine.faces import face_tools
    from modules.engine.runner import EngineRunner
    from modules.engine.upscale import upscaler_models
    from modules.families.networks import import_libraries
    from modules.weights.hashes import HashCache
    from modules.weights.manager import ModelManager
    from modules.weights.preview_decoders import PreviewDecoders

    import_libraries()
    models = ModelManager(config.device)
    decoders = PreviewDecoders(config.paths.preview_decoders, models.placement.device, models.placement.dtype("vae"))
    engine = Engine(models, upscaler_models(models.placement), decoders, face_tools(models.placement))
    hashes = HashCache(config.paths.hashes_db)
    if config.preload is not None:
        _preload(engine, config.preload, config.paths, hashes)
    return EngineRunner(engine, hashes, config.version, config.paths)


def _preload(engine: Engine, name: str, paths: Paths, hashes: HashCache) -> None:
    """Load a checkpoint before anybody asks. Whatever is wrong with it is told when a job asks for it."""
    from modules.domain.plans import ModelSpec
    from modules.weights.scan import ModelCatalog, automatic_vae

    catalog = ModelCatalog(paths, hashes, (), ()).snapshot()
    try:
        checkpoint = catalog.checkpoint(name)
        engine.load(ModelSpec(checkpoint=checkpoint, vae=automatic_vae(checkpoint, catalog.vaes)))
    except UserError as error:
        log.info("No model was loaded beforehand: %s", error)


def _set_up_logging(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s engine: %(message)s", datefmt="%H:%M:%S")
    # xformers says at import that its kernels don't fit this PyTorch; families.attention finds that out and says it where it matters
    for noisy in ("xformers", "torch.distributed", "diffusers", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
