"""The command line: A1111's names, clear refusals, and the folders that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.settings.flags import INSTALL, Flags, parse, paths
from modules.settings.ignored_flags import IGNORED, REFUSED


def refused(capsys: pytest.CaptureFixture[str], *argv: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SystemExit) as stop:
        parse(argv, environ or {})
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_line_of_an_a1111_user():
    line = (
        "--listen --port 7870 --xformers --medvram --no-half-vae --theme dark --autolaunch --opt-sdp-attention --api --gradio-auth me:p:w"
    )
    flags = parse(line.split(), {})
    assert (flags.listen, flags.port, flags.xformers, flags.medvram, flags.no_half_vae) == (True, 7870, True, True, True)
    assert (flags.theme, flags.autolaunch, flags.host) == ("dark", True, "0.0.0.0")
    assert flags.gradio_auth == (("me", "p:w"),)
    assert [note.split()[0] for note in flags.notes] == ["--opt-sdp-attention", "--api"]


def test_commandline_args_come_first_and_the_real_ones_win():
    flags = parse(["--port", "9"], {"COMMANDLINE_ARGS": "--port 8 --ckpt-dir '/a b' --lowvram"})
    assert (flags.port, flags.ckpt_dirs, flags.lowvram) == (9, (Path("/a b"),), True)


def test_broken_quotes_in_commandline_args(capsys: pytest.CaptureFixture[str]):
    assert "COMMANDLINE_ARGS" in refused(capsys, environ={"COMMANDLINE_ARGS": "--ckpt-dir 'x"})


@pytest.mark.parametrize("flag", IGNORED)
def test_every_meaningless_flag_is_accepted_with_one_line(flag: str):
    words = [flag, "1"] if IGNORED[flag].values == 1 else [flag]
    flags = parse([*words, "--listen"], {})
    assert flags.listen
    assert len(flags.notes) == 1
    assert flags.notes[0].startswith(flag) and "\n" not in flags.notes[0]


@pytest.mark.parametrize("flag", REFUSED)
def test_what_cannot_be_honoured_stops_the_start(flag: str, capsys: pytest.CaptureFixture[str]):
    assert REFUSED[flag] in refused(capsys, flag, "x")
    assert REFUSED[flag] in refused(capsys, f"{flag}=x")


def test_no_flag_is_in_two_tables():
    assert not set(IGNORED) & set(REFUSED)


def test_an_unknown_flag_gets_a_suggestion(capsys: pytest.CaptureFixture[str]):
    assert "Did you mean --listen?" in refused(capsys, "--lisen")
    assert "no flag --frobnicate" in refused(capsys, "--frobnicate")
    assert "lis" in refused(capsys, "--lis")  # no abbreviations: a later flag must not change what an old line means
    assert "belongs to no flag" in refused(capsys, "model.safetensors")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--port", "65536"], "65536"),
        (["--port", "-1"], "-1"),
        (["--port", "٣"], "port"),
        (["--gradio-auth", "nopassword"], "USER:PASSWORD"),
        (["--gradio-auth", "a:b,:c"], "USER:PASSWORD"),
        (["--gradio-auth-path", "/nowhere/users"], "can't be read"),
        (["--tls-certfile", "/nowhere.pem", "--tls-keyfile", "/nowhere.pem"], "/nowhere.pem"),
        (["--medvram", "--lowvram"], "exclude"),
        (["--theme", "pink"], "pink"),
        (["--loglevel", "chatty"], "CHATTY"),
        (["--cors-allow-origins", "*"], "https://example.com"),
        (["--cors-allow-origins", "https://a.b/path"], "https://a.b/path"),
    ],
)
def test_wrong_values_are_named(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    error = refused(capsys, *argv)
    assert said in error
    assert "Traceback" not in error and len(error.splitlines()) == 2


def test_half_a_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "cert.pem"
    file.touch()
    assert "together" in refused(capsys, "--tls-certfile", str(file))
    assert "--share" in refused(capsys, "--tls-certfile", str(file), "--tls-keyfile", str(file), "--share")


def test_users_from_a_file_and_never_in_a_log(tmp_path: Path):
    file = tmp_path / "users"
    file.write_text("ann:secret1\nbob:secret2,eve:secret3\n\n", "utf-8")
    flags = parse(["--gradio-auth-path", str(file), "--api-auth", "bot:secret4"], {})
    assert flags.gradio_auth == (("ann", "secret1"), ("bob", "secret2"), ("eve", "secret3"))
    assert flags.api_auth == (("bot", "secret4"),)
    assert "secret" not in repr(flags)


@pytest.mark.parametrize(
    ("words", "cpu"), [([], False), (["--use-cpu"], True), (["--use-cpu", "all"], True), (["--use-cpu", "interrogate"], False)]
)
def test_use_cpu(words: list[str], cpu: bool):
    assert parse(words, {}).device_options["use_cpu"] is cpu


@pytest.mark.parametrize(
    ("words", "exposed"),
    [
        ([], False),
        (["--server-name", "127.0.0.5"], False),
        (["--server-name", "localhost"], False),
        (["--listen"], True),
        (["--share"], True),
        (["--server-name", "192.168.1.2"], True),
        (["--server-name", "::"], True),
        (["--server-name", "box.lan"], True),
    ],
)
def test_exposed_means_that_others_can_knock(words: list[str], exposed: bool):
    assert parse(words, {}).exposed is exposed


def test_folders_by_default():
    where = paths(Flags())
    assert where.data == INSTALL
    assert where.checkpoints == (INSTALL / "models" / "Stable-diffusion",)
    assert where.outputs == INSTALL / "outputs"


def test_a_data_folder_keeps_the_shipped_checkpoints_and_a_models_folder_replaces_them(tmp_path: Path):
    shipped = INSTALL / "models" / "Stable-diffusion"
    where = paths(Flags(data_dir=tmp_path, ckpt_dirs=(Path("/more"),)))
    assert where.checkpoints == (tmp_path / "models" / "Stable-diffusion", Path("/more"), shipped)
    assert where.vaes == (tmp_path / "models" / "VAE",)
    assert where.loras == (tmp_path / "models" / "Lora", INSTALL / "models" / "Lora")
    assert where.upscalers[-1] == INSTALL / "models" / "ESRGAN"
    assert where.more_embeddings == (INSTALL / "embeddings",)
    replaced = paths(Flags(models_dir=tmp_path))
    assert (replaced.loras, replaced.more_embeddings) == ((tmp_path / "Lora",), ())
    assert paths(Flags()).more_embeddings == (), "it is the folder itself"
    assert shipped not in paths(Flags(models_dir=tmp_path)).checkpoints


def test_relative_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert paths(Flags(data_dir=Path("here"))).outputs == tmp_path / "here" / "outputs"


def test_help_names_every_own_flag(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        parse(["--help"], {})
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for flag in ("--listen", "--share", "--host-header", "--ckpt-dir", "--xformers", "--no-generated-login"):
        assert flag in shown
    assert "--opt-sdp-attention" not in shown


def test_it_is_light(subprocess_modules):
    loaded = subprocess_modules("modules.settings.flags", "modules.server.instance", "modules.server.splash")
    assert not loaded & {"torch", "gradio", "fastapi", "starlette", "uvicorn", "numpy", "PIL", "yaml"}


def test_the_styles_may_lie_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert paths(parse(["--data-dir", str(tmp_path)], {})).styles_file == tmp_path / "styles.csv"
    assert paths(parse(["--data-dir", str(tmp_path), "--styles-file", str(tmp_path / "mine.csv")], {})).styles_file == tmp_path / "mine.csv"
    assert "one file" in refused(capsys, "--styles-file", "a.csv", "b.csv")
    assert "one file" in refused(capsys, "--styles-file", "styles/*.csv")
