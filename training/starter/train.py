"""Makes the starter checkpoint: `python -m training.starter.train --preset cpu128`.

The same command goes on where a killed run was. With `--start FILE` a new run begins from a finished checkpoint and not from
nothing; its autoencoder stays as it is unless `--vae-minutes` says how long it may learn on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from training.starter.config import DEFAULT_FILE, HERE, PRESETS, StarterConfig
from training.starter.earlier import Earlier
from training.starter.export import export
from training.starter.latents import build_cache, standardise
from training.starter.models import build_vae
from training.starter.train_unet import averaged_denoiser, denoiser_stage, train_unet
from training.starter.train_vae import decoder_stage, refine_decoder, refined_vae, train_vae

STAGES = ("vae", "latents", "unet", "decoder", "export")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu128")
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/PRESET beside this file)")
    parser.add_argument("--start", type=Path, help="a finished checkpoint of the same sizes to begin from")
    parser.add_argument("--only", choices=STAGES, help="do one stage, with what earlier ones left in the folder")
    parser.add_argument("--vae-minutes", type=float, help="train the autoencoder by the clock, not by steps")
    parser.add_argument("--unet-minutes", type=float, help="train the denoiser by the clock, not by steps")
    parser.add_argument("--decoder-minutes", type=float, help="refine the decoder by the clock, not by steps")
    parser.add_argument("--file", type=Path, default=DEFAULT_FILE, help="where the checkpoint goes")
    parser.add_argument("--device", help="cpu, cuda, ...")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), help="of the networks while they learn")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def configured(args: argparse.Namespace) -> StarterConfig:
    """Return the preset with the command line's changes."""
    config = PRESETS[args.preset]
    if args.vae_minutes is not None:
        config = replace(config, vae=replace(config.vae, minutes=args.vae_minutes))
    if args.decoder_minutes is not None:
        config = replace(config, vae=replace(config.vae, decoder_minutes=args.decoder_minutes))
    if args.unet_minutes is not None:
        config = replace(config, unet=replace(config.unet, minutes=args.unet_minutes))
    return replace(
        config,
        device=args.device or config.device,
        precision=args.precision or config.precision,
        threads=args.threads or config.threads,
    )


def fixed_vae(config: StarterConfig, folder: Path, earlier: Earlier | None = None) -> AutoencoderKL:
    """Return the first stage's autoencoder with standardised latents, the same each time it is asked for."""
    path = folder / "vae" / "fixed.pt"
    vae = build_vae(config.vae, config.data.size)
    if path.is_file():
        vae.load_state_dict(torch.load(path, weights_only=True))
        return vae.eval()
    if earlier and not config.vae.minutes:
        vae = earlier.vae()
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        vae = train_vae(config, folder / "vae", start=earlier.vae() if earlier else None)
        standardise(vae, config)
    torch.save(vae.state_dict(), path)
    return vae


def main() -> None:
    """Run the stages one after another."""
    args = arguments()
    config = configured(args)
    torch.set_num_threads(config.threads)
    folder = args.run or HERE / "runs" / args.preset
    wanted = (args.only,) if args.only else STAGES
    earlier = Earlier(config, args.start) if args.start else None
    vae = fixed_vae(config, folder, earlier)  # trained now, where it is not
    if "latents" in wanted:
        build_cache(vae, config, folder / "latents")
    if "unet" in wanted:
        train_unet(config, build_cache(vae, config, folder / "latents"), folder / "unet", earlier=earlier)
    if "decoder" in wanted:
        refine_decoder(config, vae, folder / "decoder")
    if "export" in wanted:
        refined = refined_vae(decoder_stage(config, vae, folder / "decoder"), vae, config)
        stage, _ = denoiser_stage(config, folder / "unet")
        export(config, refined, averaged_denoiser(stage, config), args.file)
        print(f"wrote {args.file.name}, {args.file.stat().st_size / 1e6:.1f} MB, at denoiser step {stage.step}")


if __name__ == "__main__":
    main()
