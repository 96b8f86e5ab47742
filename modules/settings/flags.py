"""The command line: which flags there are, what they were set to, and which folders follow from them.

Names are A1111's where that program has the flag. `COMMANDLINE_ARGS` is read first and the real command line after it, so the latter wins.
Standard library only and quick: the port answers before anything else is imported.
"""

from __future__ import annotations

import argparse
import difflib
import ipaddress
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from modules.settings.ignored_flags import IGNORED, REFUSED
from modules.settings.paths import Paths

INSTALL = Path(__file__).resolve().parents[2]
"""The folder of app.py: the data folder unless --data-dir names another."""

DEFAULT_PORT = 7860

UPSCALER_FOLDERS = ("ESRGAN", "RealESRGAN", "BSRGAN", "SwinIR", "ScuNET", "DAT", "HAT")
"""Where A1111 keeps upscalers of each kind. What a file is shows in its tensors, so all of these hold files of any kind."""

Users = tuple[tuple[str, str], ...]
"""(name, password) pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The command line, checked. `port` is None when nobody asked for one: then the next free one will do.

    `notes` are the lines about accepted flags that do nothing, for the log.
    """

    listen: bool = False
    server_name: str | None = None
    port: int | None = None
    share: bool = False
    generated_login: bool = True
    gradio_auth: Users = field(default=(), repr=False)
    api_auth: Users = field(default=(), repr=False)
    host_names: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    tls_certfile: Path | None = None
    tls_keyfile: Path | None = None
    autolaunch: bool = False
    theme: str | None = None
    loglevel: str | None = None
    data_dir: Path | None = None
    models_dir: Path | None = None
    ckpt_dirs: tuple[Path, ...] = ()
    vae_dirs: tuple[Path, ...] = ()
    lora_dirs: tuple[Path, ...] = ()
    embeddings_dir: Path | None = None
    upscaler_dirs: tuple[Path, ...] = ()
    styles_file: Path | None = None
    gfpgan_dirs: tuple[Path, ...] = ()
    codeformer_dirs: tuple[Path, ...] = ()
    use_cpu: bool = False
    medvram: bool = False
    lowvram: bool = False
    nowebui: bool = False
    api_server_stop: bool = False
    mcp: bool = False
    no_half: bool = False
    no_half_vae: bool = False
    xformers: bool = False
    notes: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.server_name or ("0.0.0.0" if self.listen else "127.0.0.1")

    @property
    def exposed(self) -> bool:
        """Whether anybody but this machine can knock: then a login is needed."""
        return self.share or not is_loopback(self.host)

    @property
    def device_options(self) -> dict[str, bool]:
        """The fields of the engine's device policy."""
        names = ("use_cpu", "no_half", "no_half_vae", "medvram", "lowvram", "xformers")
        return {name: getattr(self, name) for name in names}


def is_loopback(host: str) -> bool:
    """Whether `host` (an address or a name) is this machine only. A name other than localhost counts as public."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Flags:
    """The flags of `argv` (without the program's name) after those of `environ["COMMANDLINE_ARGS"]`.

    Ends the program through `SystemExit`: 0 after --help, 2 with a sentence on stderr for a flag that is wrong, unknown or refused.
    """
    parser = _parser()
    try:
        words = [*shlex.split(environ.get("COMMANDLINE_ARGS", "")), *argv]
    except ValueError as error:
        parser.error(f"COMMANDLINE_ARGS can't be read: {error}.")
    _refuse(parser, words)
    values, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(_unknown_sentence(unknown[0]))
    users = _users(parser, values.gradio_auth, "--gradio-auth") + _users_of_file(parser, values.gradio_auth_path)
    if (values.tls_certfile is None) != (values.tls_keyfile is None):
        parser.error("--tls-certfile and --tls-keyfile are needed together.")
    if values.tls_certfile is not None and values.share:
        parser.error("--share brings its own TLS: leave out --tls-certfile and --tls-keyfile.")
    if values.medvram and values.lowvram:
        parser.error("--medvram and --lowvram exclude each other.")
    return Flags(
        listen=values.listen,
        server_name=values.server_name,
        port=values.port,
        share=values.share,
        generated_login=not values.no_generated_login,
        gradio_auth=users,
        api_auth=_users(parser, values.api_auth, "--api-auth"),
        host_names=tuple(name.lower() for name in _words(values.host_header)),
        cors_origins=tuple(_origin(parser, text) for text in _words(values.cors_allow_origins)),
        tls_certfile=values.tls_certfile,
        tls_keyfile=values.tls_keyfile,
        autolaunch=values.autolaunch,
        theme=values.theme,
        loglevel=values.loglevel,
        data_dir=values.data_dir,
        models_dir=values.models_dir,
        ckpt_dirs=tuple(values.ckpt_dir),
        vae_dirs=tuple(values.vae_dir),
        lora_dirs=tuple(values.lora_dir),
        embeddings_dir=values.embeddings_dir,
        upscaler_dirs=tuple(values.upscaler_dirs),
        styles_file=_one_file(parser, values.styles_file),
        gfpgan_dirs=tuple(values.gfpgan_dirs),
        codeformer_dirs=tuple(values.codeformer_dirs),
        use_cpu=_wants_cpu(values.use_cpu),
        medvram=values.medvram,
        lowvram=values.lowvram,
        nowebui=values.nowebui,
        api_server_stop=values.api_server_stop,
        mcp=values.mcp,
        no_half=values.no_half,
        no_half_vae=values.no_half_vae,
        xformers=values.xformers,
        notes=_notes(words),
    )


def paths(flags: Flags) -> Paths:
    """Where everything lies. A folder flag for checkpoints, VAEs, LoRAs or upscalers adds a folder, as in A1111.

    With --data-dir alone the models that came with the program stay on offer; --models-dir replaces them.
    """
    data = _absolute(flags.data_dir or INSTALL)
    models = _absolute(flags.models_dir or data / "models")
    embeddings = _absolute(flags.embeddings_dir or data / "embeddings")

    def shipped(own: list[Path], name: str) -> tuple[Path, ...]:
        """The folders, and the program's own of that name where no flag replaces it."""
        return tuple(dict.fromkeys([*own, INSTALL / "models" / name] if flags.models_dir is None else own))

    with_shipped_words = flags.models_dir is None and flags.embeddings_dir is None and embeddings != INSTALL / "embeddings"
    return Paths(
        data=data,
        models=models,
        checkpoints=shipped([models / "Stable-diffusion", *map(_absolute, flags.ckpt_dirs)], "Stable-diffusion"),
        vaes=(models / "VAE", *map(_absolute, flags.vae_dirs)),
        loras=shipped([models / "Lora", *map(_absolute, flags.lora_dirs)], "Lora"),
        embeddings=embeddings,
        more_embeddings=(INSTALL / "embeddings",) if with_shipped_words else (),
        outputs=data / "outputs",
        own_styles=_absolute(flags.styles_file) if flags.styles_file else None,
        gfpgan=(models / "GFPGAN", *map(_absolute, flags.gfpgan_dirs)),
        codeformer=(models / "Codeformer", *map(_absolute, flags.codeformer_dirs)),
        preview_decoders=shipped([models / "VAE-approx"], "VAE-approx"),
        upscalers=shipped([*(models / name for name in UPSCALER_FOLDERS), *map(_absolute, flags.upscaler_dirs)], "ESRGAN"),
    )


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one sentence instead of three screens of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"diffusion-webui: {message}\nAll flags: ./webui.sh --help\n")


def _parser() -> _Parser:
    parser = _Parser(prog="webui.sh", description="Stable Diffusion in the browser.", allow_abbrev=False)
    _add_server_flags(parser)
    folders = parser.add_argument_group("folders")
    folders.add_argument("--data-dir", type=Path, metavar="DIR", help="settings, queue, outputs and models (default: the program's folder)")
    folders.add_argument("--models-dir", type=Path, metavar="DIR", help="the models folder (default: models in the data folder)")
    for name, what in (("ckpt", "checkpoints"), ("vae", "VAEs"), ("lora", "LoRAs")):
        folders.add_argument(f"--{name}-dir", type=Path, metavar="DIR", action="append", default=[], help=f"another folder with {what}")
    folders.add_argument("--embeddings-dir", type=Path, metavar="DIR", help="textual inversion embeddings (default: embeddings)")
    upscalers = [f"--{kind}-models-path" for kind in ("esrgan", "realesrgan", "bsrgan", "swinir", "scunet", "dat")]
    folders.add_argument(*upscalers, type=Path, metavar="DIR", action="append", default=[], dest="upscaler_dirs", help="… with upscalers")
    folders.add_argument("--styles-file", nargs="+", metavar="FILE", help="your styles (default: styles.csv in the data folder)")
    for name, what in (("gfpgan", "GFPGAN"), ("codeformer", "CodeFormer")):
        more: dict[str, Any] = {"dest": f"{name}_dirs", "help": f"another folder with {what}'s weights"}
        folders.add_argument(f"--{name}-models-path", type=Path, metavar="DIR", action="append", default=[], **more)
    device = parser.add_argument_group("device")
    device.add_argument("--use-cpu", nargs="*", metavar="PART", help="draw on the CPU even when there is a GPU")
    device.add_argument("--medvram", action="store_true", help="keep one of text encoder, UNet and VAE on the GPU at a time")
    device.add_argument("--lowvram", action="store_true", help="keep as little as possible on the GPU; slow")
    device.add_argument("--no-half", action="store_true", help="float32 for all networks")
    device.add_argument("--no-half-vae", action="store_true", help="float32 for the VAE")
    device.add_argument("--xformers", action="store_true", help="attention by xformers where its kernels run")
    hidden = parser.add_argument_group("accepted from A1111's command lines, without effect").add_argument
    for flag, row in IGNORED.items():
        how: dict[str, Any] = {"action": "store_true"} if row.values == 0 else {"nargs": row.values, "metavar": "…"}
        hidden(flag, help=argparse.SUPPRESS, **how)
    return parser


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("server")
    server.add_argument("--listen", action="store_true", help="answer other machines too; a login is made if you give none")
    server.add_argument("--server-name", metavar="ADDRESS", help="the address to listen on (default: 127.0.0.1, with --listen 0.0.0.0)")
    server.add_argument("--port", type=_port, metavar="N", help=f"default: {DEFAULT_PORT}, or the next free one")
    server.add_argument("--share", action="store_true", help="a public link through Gradio's tunnel; a login is made if you give none")
    server.add_argument("--gradio-auth", metavar="USER:PASSWORD", help="login for page and API; several with commas")
    server.add_argument("--gradio-auth-path", type=Path, metavar="FILE", help="the same from a file, one a line")
    server.add_argument("--api-auth", metavar="USER:PASSWORD", help="login for the HTTP API only; several with commas")
    server.add_argument("--nowebui", action="store_true", help="the HTTP API alone, without the page")
    server.add_argument("--api-server-stop", action="store_true", help="let the HTTP API end the program")
    server.add_argument("--mcp", action="store_true", help="let assistants draw over MCP, at /mcp")
    server.add_argument("--no-generated-login", action="store_true", help="rather don't start than make a login up")
    server.add_argument("--host-header", action="append", default=[], metavar="NAME", help="a name a proxy calls this server by")
    server.add_argument("--cors-allow-origins", action="append", default=[], metavar="ORIGIN", help="web pages that may call this server")
    server.add_argument("--tls-certfile", type=_file, metavar="FILE", help="serve https with this certificate")
    server.add_argument("--tls-keyfile", type=_file, metavar="FILE", help="… and its key")
    server.add_argument("--autolaunch", action="store_true", help="open the page in the browser")
    server.add_argument("--theme", choices=("dark", "light"), help="colours (default: the setting)")
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    server.add_argument("--loglevel", type=str.upper, choices=levels, metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR or CRITICAL")


def _refuse(parser: _Parser, words: Sequence[str]) -> None:
    for word in words:
        flag = word.split("=", 1)[0]
        if flag in REFUSED:
            parser.error(f"{flag} is not accepted. {REFUSED[flag]}")


def _unknown_sentence(word: str) -> str:
    flag = word.split("=", 1)[0]
    known = [*re.findall(r"--[a-z-]+", _parser().format_usage()), *IGNORED, *REFUSED]
    near = difflib.get_close_matches(flag, known, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no flag {word}.{hint}" if word.startswith("-") else f"{word} belongs to no flag."


def _notes(words: Sequence[str]) -> tuple[str, ...]:
    given = dict.fromkeys(word.split("=", 1)[0] for word in words)
    return tuple(f"{flag} does nothing here: {IGNORED[flag].reason}." for flag in given if flag in IGNORED)


def _wants_cpu(parts: Sequence[str] | None) -> bool:
    """A1111's `--use-cpu` names parts of that program; drawing is meant by "all", by "sd", and by naming none."""
    return parts is not None and (not parts or not {part.lower() for part in parts}.isdisjoint({"all", "sd"}))


def _users(parser: _Parser, text: str | None, flag: str) -> Users:
    found: list[tuple[str, str]] = []
    for part in (text or "").replace("\n", ",").split(","):
        if not part.strip():
            continue
        name, colon, password = part.strip().partition(":")
        if not (colon and name and password):
            parser.error(f"{flag} takes USER:PASSWORD, several separated by commas; one entry has no name or no password.")
        found.append((name, password))
    return tuple(found)


def _users_of_file(parser: _Parser, path: Path | None) -> Users:
    if path is None:
        return ()
    try:
        users = _users(parser, path.read_text("utf-8"), "--gradio-auth-path")
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"The file of --gradio-auth-path can't be read: {error}")
    if not users:
        parser.error(f"{path} holds no USER:PASSWORD line.")
    return users


def _origin(parser: _Parser, text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https") or not rest or set(rest) & set("/*?#@ "):
        parser.error(f"--cors-allow-origins takes origins such as https://example.com, not {text!r}.")
    return text.lower()


def _words(items: Sequence[str]) -> list[str]:
    return [word.strip() for item in items for word in item.split(",") if word.strip()]


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 (any free one) to 65535, not {text!r}.")
    return int(text)


def _one_file(parser: _Parser, names: Sequence[str] | None) -> Path | None:
    """The file of `--styles-file`, of which A1111 takes several."""
    if names is None:
        return None
    if len(names) > 1 or set(names[0]) & set("*?["):
        parser.error("--styles-file takes one file here, which is also written to: put your styles into one.")
    return Path(names[0])


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}.")
    return path


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()
