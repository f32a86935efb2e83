"""Restore any scientific image from that image alone: the deep image prior.

import napari_dip as dip
result = dip.restore(image)                       # denoise; everything chosen from the image
result = dip.restore(image, dip.Inpaint(mask))    # fill missing pixels
"""

from importlib.metadata import version

from napari_dip.engine.fit import Coordinates, Iterate, Noise, Prior, fit
from napari_dip.engine.networks import NETWORKS, Skip
from napari_dip.engine.outcome import Control, Fit, Progress, Restoration
from napari_dip.engine.problem import Gaussian, Problem, RestorationError
from napari_dip.engine.restore import PRESETS, Preset, iter_restore, restore
from napari_dip.engine.stopping import RULES, FixedSteps, HeldOut, WindowedVariance
from napari_dip.engine.tasks import TASKS, Denoise, Inpaint

__version__ = version("napari-dip")

__all__ = [
    "NETWORKS",
    "PRESETS",
    "RULES",
    "TASKS",
    "Control",
    "Coordinates",
    "Denoise",
    "Fit",
    "FixedSteps",
    "Gaussian",
    "HeldOut",
    "Inpaint",
    "Iterate",
    "Noise",
    "Preset",
    "Prior",
    "Problem",
    "Progress",
    "Restoration",
    "RestorationError",
    "Skip",
    "WindowedVariance",
    "fit",
    "iter_restore",
    "restore",
]
