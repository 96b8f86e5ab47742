"""A1111's flags that this program does not act on, and the one line that says why: data for `settings/flags.py`, nothing else.

A pasted A1111 command line must start. Where ignoring a flag would leave something open or undone that its owner relies on, the flag is
in `REFUSED` instead: the program then stops with the sentence rather than pretending.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple


class Ignored(NamedTuple):
    """`values` is how many words follow the flag, in argparse's way: 0, 1 or "*"."""

    values: int | str
    reason: str


_ATTENTION = "the fastest attention that works on the device is chosen; --xformers asks for xformers"
_HALF = "precision follows the device; --no-half and --no-half-vae give float32"
_INSTALLER = "webui.sh installs only when requirements.txt or Python changed"
_NO_PICKLE_CODE = "pickled checkpoints are read as data only, and there is no switch for that"
_LATER = "the part it is for is not in this version yet"
_FACES = "face restorers are the files in models/GFPGAN and models/Codeformer; --gfpgan-models-path adds a folder"
_HASH = "checksums are computed in the background and kept"
_OLD_PAGE = "that part of the page no longer exists"
_CONSOLE = "progress is shown on the page and the log is quiet; --loglevel DEBUG shows more"
_QUEUE = "every click is queued, always"
_CHUNKS = "attention needs no chunk sizes any more"

IGNORED = MappingProxyType(
    {
        "--no-progressbar-hiding": Ignored(0, _OLD_PAGE),
        "--show-negative-prompt": Ignored(0, _OLD_PAGE),
        "--use-textbox-seed": Ignored(0, _OLD_PAGE),
        "--gradio-img2img-tool": Ignored(1, _OLD_PAGE),
        "--gradio-inpaint-tool": Ignored(1, _OLD_PAGE),
        "--gradio-debug": Ignored(0, _CONSOLE),
        "--ui-debug-mode": Ignored(0, "the page always comes up before the model is loaded"),
        "--gradio-queue": Ignored(0, _QUEUE),
        "--no-gradio-queue": Ignored(0, _QUEUE),
        "--disable-console-progressbars": Ignored(0, _CONSOLE),
        "--enable-console-prompts": Ignored(0, _CONSOLE),
        "--log-startup": Ignored(0, _CONSOLE),
        "--api-log": Ignored(0, _CONSOLE),
        "--opt-split-attention": Ignored(0, _ATTENTION),
        "--opt-split-attention-v1": Ignored(0, _ATTENTION),
        "--opt-split-attention-invokeai": Ignored(0, _ATTENTION),
        "--opt-sub-quad-attention": Ignored(0, _ATTENTION),
        "--opt-sdp-attention": Ignored(0, _ATTENTION),
        "--opt-sdp-no-mem-attention": Ignored(0, _ATTENTION),
        "--disable-opt-split-attention": Ignored(0, _ATTENTION),
        "--force-enable-xformers": Ignored(0, _ATTENTION),
        "--xformers-flash-attention": Ignored(0, _ATTENTION),
        "--sub-quad-q-chunk-size": Ignored(1, _CHUNKS),
        "--sub-quad-kv-chunk-size": Ignored(1, _CHUNKS),
        "--sub-quad-chunk-threshold": Ignored(1, _CHUNKS),
        "--opt-channelslast": Ignored(0, "it gains nothing with the networks used here"),
        "--precision": Ignored(1, _HALF),
        "--upcast-sampling": Ignored(0, _HALF),
        "--always-batch-cond-uncond": Ignored(0, "it is the setting “Batch cond/uncond”, on by default"),
        "--disable-nan-check": Ignored(0, "a picture of NaN is never saved"),
        "--lowram": Ignored(0, "checkpoints are mapped from disk, never read into memory twice"),
        "--disable-model-loading-ram-optimization": Ignored(0, "checkpoints are mapped from disk, there is nothing to turn off"),
        "--medvram-sdxl": Ignored(0, "there is no switch for SDXL alone; --medvram keeps less in memory whatever the checkpoint is"),
        "--unload-gfpgan": Ignored(0, _LATER),
        "--skip-load-model-at-start": Ignored(0, "the page never waits for a model"),
        "--skip-install": Ignored(0, _INSTALLER),
        "--skip-prepare-environment": Ignored(0, _INSTALLER),
        "--skip-python-version-check": Ignored(0, _INSTALLER),
        "--skip-torch-cuda-test": Ignored(0, "without a CUDA device the CPU is used"),
        "--skip-version-check": Ignored(0, _INSTALLER),
        "--reinstall-xformers": Ignored(0, _INSTALLER),
        "--reinstall-torch": Ignored(0, _INSTALLER),
        "--update-check": Ignored(0, "nothing is asked of the network"),
        "--update-all-extensions": Ignored(0, "nothing is updated behind your back"),
        "--do-not-download-clip": Ignored(0, "nothing is downloaded"),
        "--no-download-sd-model": Ignored(0, "nothing is downloaded"),
        "--no-hashing": Ignored(0, _HASH),
        "--disable-safe-unpickle": Ignored(0, _NO_PICKLE_CODE),
        "--enable-insecure-extension-access": Ignored(0, "extensions are installed at the machine only, never from the page"),
        "--disable-all-extensions": Ignored(0, "this version loads no extensions yet"),
        "--disable-extra-extensions": Ignored(0, "this version loads no extensions yet"),
        "--hide-ui-dir-config": Ignored(0, "folders can be set on the command line only, never from the page"),
        "--gradio-allowed-path": Ignored(1, "pictures are served by their id, no folder is"),
        "--unix-filenames-sanitization": Ignored(0, "file names are safe on every system"),
        "--filenames-max-length": Ignored(1, "names are cut at what the file system allows"),
        "--no-prompt-history": Ignored(0, "a job keeps its own prompt"),
        "--max-batch-count": Ignored(1, "the slider's end is no limit: a larger number can be typed"),
        "--disable-tls-verify": Ignored(0, "the server does not call itself"),
        "--device-id": Ignored(1, "set CUDA_VISIBLE_DEVICES instead"),
        "--timeout-keep-alive": Ignored(1, "connections are kept as long as the browser wants"),
        "--administrator": Ignored(0, "it is for Windows' restart dialog"),
        "--api": Ignored(0, "the HTTP API is always there"),
        "--add-stop-route": Ignored(0, "--api-server-stop adds routes that end the program"),
        "--deepdanbooru": Ignored(0, _LATER),
        "--gfpgan-dir": Ignored(1, _FACES),
        "--gfpgan-model": Ignored(1, _FACES),
        "--ldsr-models-path": Ignored(1, _LATER),
        "--clip-models-path": Ignored(1, "interrogation is not in this version yet"),
        "--hypernetwork-dir": Ignored(1, _LATER),
        "--textual-inversion-templates-dir": Ignored(1, _LATER),
        "--localizations-dir": Ignored(1, _LATER),
    }
)

REFUSED = MappingProxyType(
    {
        "--subpath": "Serving below a path is not supported: give the program a name or port of its own at your proxy.",
        "--cors-allow-origins-regex": "Origins are compared exactly: use --cors-allow-origins with the full origins.",
        "--ngrok": "ngrok is not supported: use --share, or point your own tunnel at the port and name its host with --host-header.",
        "--ngrok-region": "ngrok is not supported: use --share.",
        "--ngrok-options": "ngrok is not supported: use --share.",
        "--freeze-settings": "Settings can't be frozen in this version, and ignoring the flag would leave them open.",
        "--freeze-settings-in-sections": "Settings can't be frozen in this version, and ignoring the flag would leave them open.",
        "--freeze-specific-settings": "Settings can't be frozen in this version, and ignoring the flag would leave them open.",
        "--allow-code": "Code from the page is never run.",
        "--use-ipex": "Intel GPUs are not supported by this version.",
        "--ckpt": "Put the file into a folder given with --ckpt-dir and choose it on the page.",
        "--config": "Put the config beside the checkpoint, with the same name and the ending .yaml.",
        "--vae-path": "Put the file into a folder given with --vae-dir and choose it on the page.",
        "--ui-config-file": "The form's defaults are kept in the data folder and set on the page: Settings, Defaults.",
        "--ui-settings-file": "Settings are kept in config.yaml in the data folder (--data-dir).",
        "--dump-sysinfo": "Start without it and open /internal/sysinfo: the report is made by the running program.",
        "--test-server": "Use ./webui.sh test.",
    }
)
