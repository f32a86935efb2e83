"""Remove a watermark: the pixels of its colour are missing, and so are their neighbours, which are mixtures.

python examples/library/watermark.py
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

import napari_dip as dip

photo = Image.fromarray(data.astronaut()[40:136, 150:246])
truth = np.array(photo)
ImageDraw.Draw(photo).text((6, 38), "SAMPLE", fill=(255, 0, 0), font=ImageFont.load_default(size=22))
marked = np.array(photo)

# a short fit of a small network, so that this takes seconds: leave `prior` and `max_steps` out for the best result
prior = dip.Prior(network=dip.Skip(down=(16, 16, 16), up=16))
task = dip.Inpaint(mask_colour="#ff0000", tolerance=60, widen=2)
result = dip.restore(marked, task, prior, max_steps=300)

filled = result.filled.any(-1)
print(f"filled {filled.sum()} of {filled.size} pixels")
print(f"known pixels unchanged: {np.array_equal(result.image[~filled], marked[~filled])}")
before, after = (np.abs(image[filled].astype(float) - truth[filled]).mean() for image in (marked, result.image))
print(f"mean error where it stood: {before:.1f} -> {after:.1f} grey levels")
Image.fromarray(result.image).save("without-watermark.png")
