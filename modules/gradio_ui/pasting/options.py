"""What does the page's "Override settings" list call the options that a pasted infotext sets?"""

from __future__ import annotations

from modules.imaging.infotext_options import OPTIONS

LABELS = {**{option: key for key, (option, _) in OPTIONS.items()}, "sd_model_checkpoint": "Model", "sd_vae": "VAE"}
"""Option key to label."""
