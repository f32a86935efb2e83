"""Fill scratches, and leave every other pixel exactly as it was.

The fit is cut short so that this script takes seconds: leave `max_steps` out for a result worth looking at.
"""

import numpy as np

import napari_dip as dip
from napari_dip import samples

sample = samples.scratched_moon()
assert sample.missing is not None
scratched, missing = sample.image[100:148, 100:148], sample.missing[100:148, 100:148]

result = dip.restore(scratched, dip.Inpaint(missing), max_steps=25)

assert result.filled is not None
print(f"filled {result.filled.sum()} of {missing.size} pixels")
print(f"known pixels unchanged: {np.array_equal(result.image[~missing], scratched[~missing])}")

# Detectors mark lost pixels themselves: NaN and infinity are missing without a mask.
dead = scratched.astype(np.float32)
dead[missing] = np.nan
result = dip.restore(dead, dip.Inpaint(), max_steps=5)
print(f"without a mask: {int(np.isnan(dead).sum())} NaN in, {int(np.isnan(result.image).sum())} out")
