"""Which scripts are there? Adding one is a file beside this one and a row here."""

from __future__ import annotations

from modules.scripts import dynamic_prompts, filmstrip, loopback, outpainting, prompt_matrix, prompts_from_file, sd_upscale
from modules.scripts.script import Script
from modules.scripts.xyz import plot

SCRIPTS: tuple[Script, ...] = (
    prompt_matrix.SCRIPT,
    prompts_from_file.SCRIPT,
    dynamic_prompts.SCRIPT,
    plot.SCRIPT,
    filmstrip.SCRIPT,
    loopback.SCRIPT,
    outpainting.SCRIPT,
    sd_upscale.SCRIPT,
)
"""In the order of the page's list."""


def find_script(name: str, tab: str) -> Script | None:
    """The script of the tab (txt2img or img2img) with this name, in any letter case."""
    wanted = name.strip().casefold()
    return next((script for script in SCRIPTS if script.name.casefold() == wanted and script.fits(tab)), None)
