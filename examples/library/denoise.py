"""Denoise an image, and look at what came out.

The fit is cut short so that this script takes seconds: leave `max_steps` out for a result worth looking at.
"""

from pathlib import Path

import numpy as np

import napari_dip as dip
from napari_dip import samples

sample = samples.micrograph()
noisy = sample.image[100:148, 100:148]  # (Y, X), uint16
truth = sample.truth[100:148, 100:148]

result = dip.restore(noisy, max_steps=30)

before = np.sqrt(np.mean((noisy - truth) ** 2))
after = np.sqrt(np.mean((result.image - truth) ** 2))
print(f"error {before:.1f} -> {after:.1f} counts")
print(f"kept step {result.best_step}: {result.ended}")
print(f"{result.image.dtype} {result.image.shape}, as the source")

np.save(Path("denoised.npy"), result.image)
