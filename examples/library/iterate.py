"""Follow a run step by step, keep outputs of it, and end it when you like.

A `Control` may be used from another thread: that is how the buttons of a window reach a running fit.
"""

import napari_dip as dip
from napari_dip import samples

image = samples.deep_field().image[96:144, 96:144]  # (Y, X, 3), uint8

control = dip.Control()
for progress in dip.iter_restore(image, keep_every=10, control=control):
    if progress.score is not None:
        step = progress.fit.steps[-1]  # of this fit; others may go on beside it
        print(f"{step:3d}: held-out error {progress.score:.5f}")
        if step == 30:  # or: a button was pressed, the time is up, you have seen enough
            control.stop()

result = progress.restoration()
print(f"ended: {result.ended}")
assert result.stack is not None
print(f"kept outputs of steps {result.steps}: {result.stack.shape}")
