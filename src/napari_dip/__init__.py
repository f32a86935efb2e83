"""Restore any scientific image from that image alone: the deep image prior.

import napari_dip as dip
result = dip.restore(image)                       # denoise; everything chosen from the image
result = dip.restore(image, dip.Inpaint(mask))    # fill missing pixels
"""

import os
from importlib.metadata import version

# Threads that wait for each other soon give their core away: on a busy machine a fit then slows down by its share, and
# not thirty-fold. OpenMP reads this when PyTorch loads, so it stands before the first import of it.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from napari_dip.engine.controlled import SpectralControl
from napari_dip.engine.estimation import agreement, estimate_noise
from napari_dip.engine.fit import Iterate, State, fit
from napari_dip.engine.jpeg import JpegTables
from napari_dip.engine.memory import MemoryPlan
from napari_dip.engine.methods import methods_text
from napari_dip.engine.networks import NETWORKS, Decoder, Network, Skip
from napari_dip.engine.noise import (
    NOISES,
    Gaussian,
    NoiseLaw,
    NoiseModel,
    Poisson,
    PoissonGaussian,
    VarianceMap,
)
from napari_dip.engine.outcome import Control, Fit, Progress, Restoration
from napari_dip.engine.outliers import Outliers
from napari_dip.engine.presets import PRESETS, Preset
from napari_dip.engine.prior import SOURCES, Coordinates, Fourier, Guide, Noise, Prior, Source
from napari_dip.engine.problem import (
    Image,
    Kernel,
    LeastSquares,
    Likelihood,
    Mask,
    NoiseWeighted,
    Problem,
    RestorationError,
)
from napari_dip.engine.psf import PSF, PSFS, GaussianPSF, MicroscopePSF, MoffatPSF
from napari_dip.engine.recall import Recipe, recipe
from napari_dip.engine.reconstruct import iter_reconstruct, reconstruct
from napari_dip.engine.resample import (
    DEGRADATIONS,
    AntialiasedBicubic,
    Box,
    Degradation,
    GaussianBlur,
    Lanczos,
)
from napari_dip.engine.restore import iter_restore, memory_plan, restore
from napari_dip.engine.ridge import nl_ridge
from napari_dip.engine.spectral import FrequencyBands, RadialSpectrum, fbc, published_fbc, radial_spectrum
from napari_dip.engine.stopping import (
    RULES,
    BlurSharpness,
    Discrepancy,
    FixedSteps,
    HeldOut,
    MovingVariance,
    OtherExposure,
    SteadyDetail,
    StoppingRule,
    WindowedVariance,
)
from napari_dip.engine.suitability import Suitability, check
from napari_dip.engine.tasks import (
    TASKS,
    Cartoon,
    Deblock,
    Deconvolve,
    Denoise,
    Enhance,
    Guided,
    Inpaint,
    InUnits,
    SuperResolve,
    Task,
)

__version__ = version("napari-dip")

__all__ = [
    "DEGRADATIONS",
    "NETWORKS",
    "NOISES",
    "PRESETS",
    "PSF",
    "PSFS",
    "RULES",
    "SOURCES",
    "TASKS",
    "AntialiasedBicubic",
    "BlurSharpness",
    "Box",
    "Cartoon",
    "Control",
    "Coordinates",
    "Deblock",
    "Decoder",
    "Deconvolve",
    "Degradation",
    "Denoise",
    "Discrepancy",
    "Enhance",
    "Fit",
    "FixedSteps",
    "Fourier",
    "FrequencyBands",
    "Gaussian",
    "GaussianBlur",
    "GaussianPSF",
    "Guide",
    "Guided",
    "HeldOut",
    "Image",
    "InUnits",
    "Inpaint",
    "Iterate",
    "JpegTables",
    "Kernel",
    "Lanczos",
    "LeastSquares",
    "Likelihood",
    "Mask",
    "MemoryPlan",
    "MicroscopePSF",
    "MoffatPSF",
    "MovingVariance",
    "Network",
    "Noise",
    "NoiseLaw",
    "NoiseModel",
    "NoiseWeighted",
    "OtherExposure",
    "Outliers",
    "Poisson",
    "PoissonGaussian",
    "Preset",
    "Prior",
    "Problem",
    "Progress",
    "RadialSpectrum",
    "Recipe",
    "Restoration",
    "RestorationError",
    "Skip",
    "Source",
    "SpectralControl",
    "State",
    "SteadyDetail",
    "StoppingRule",
    "Suitability",
    "SuperResolve",
    "Task",
    "VarianceMap",
    "WindowedVariance",
    "agreement",
    "check",
    "estimate_noise",
    "fbc",
    "fit",
    "iter_reconstruct",
    "iter_restore",
    "memory_plan",
    "methods_text",
    "nl_ridge",
    "published_fbc",
    "radial_spectrum",
    "recipe",
    "reconstruct",
    "restore",
]
