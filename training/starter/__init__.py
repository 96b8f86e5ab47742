"""Makes the starter checkpoint: a small SD1-shaped latent diffusion model trained from nothing on free pictures."""
