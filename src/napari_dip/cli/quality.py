"""How near a result is to a clean image, where there is one: for reports only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from skimage.metrics import structural_similarity
from skimage.transform import resize

from napari_dip import io
from napari_dip.cli.reading import read
from napari_dip.engine.problem import Array

SSIM_WINDOW = 7  # px, the usual one


@dataclass(frozen=True, eq=False)
class Comparison:
    """A clean image beside the degraded one, colour without alpha, in float64.

    Attributes
    ----------
    truth, degraded : array
        Of one shape.
    span : float
        The peak of PSNR and SSIM: 255 for 8-bit images, else the range of the truth.
    channel : int or None
        The axis of colours or channels.
    """

    truth: Array
    degraded: Array
    span: float
    channel: int | None

    @classmethod
    def read(cls, path: str, picture: io.Picture, shape: tuple[int, ...]) -> Comparison:
        """Return the comparison of a picture with the clean one in a file, which has the shape of the result.

        Where that has finer pixels, the picture is enlarged by cubic interpolation.

        Raises
        ------
        ValueError
            When it has another shape, or no finite value.
        """
        clean = read(path)
        truth, degraded = _colour(clean.pixels, picture.axes), _colour(picture.pixels, picture.axes)
        wanted = (*shape[:-1], degraded.shape[-1]) if "S" in picture.axes else shape
        if truth.shape != wanted:
            raise ValueError(f"--truth {path} has shape {truth.shape}, the result {wanted}")
        if truth.shape != degraded.shape:
            degraded = resize(degraded, wanted, order=3, mode="edge")
        known = truth[np.isfinite(truth)]
        if not known.size:
            raise ValueError(f"--truth {path} has no finite value")
        span = 255.0 if clean.pixels.dtype == np.uint8 else float(np.ptp(known))
        channel = next((picture.axes.index(axis) for axis in picture.axes if axis in "CS"), None)
        return cls(truth, degraded, span or 1.0, channel)

    def psnr(self, image: Array) -> float:
        """Return the peak signal-to-noise ratio of an image, in dB, over the finite pixels."""
        error = self._colour(image) - self.truth
        square = np.mean(error[np.isfinite(error)] ** 2) if np.isfinite(error).any() else np.nan
        return float(10 * np.log10(self.span**2 / max(square, 1e-300)))

    def ssim(self, image: Array) -> float:
        """Return the structural similarity of an image, 1 for the truth itself; NaN where that cannot be told."""
        sides = [size for axis, size in enumerate(self.truth.shape) if axis != self.channel]
        if min(sides) < SSIM_WINDOW or not np.isfinite(self.truth).all():
            return float("nan")
        values = np.nan_to_num(self._colour(image))
        return float(
            structural_similarity(
                values, self.truth, data_range=self.span, channel_axis=self.channel, win_size=SSIM_WINDOW
            )
        )

    def report(self, image: Array, scored: list[tuple[int, float]]) -> dict[str, Any]:
        return {
            "psnr_input": self.psnr(self.degraded),
            "psnr_output": self.psnr(image),
            "ssim_input": self.ssim(self.degraded),
            "ssim_output": self.ssim(image),
            "data_range": self.span,
            "steps": [step for step, _ in scored],
            "psnr": [value for _, value in scored],
        }

    def _colour(self, image: Array) -> Array:
        return image[..., : self.truth.shape[-1]].astype(np.float64)


def _colour(pixels: Array, axes: str) -> Array:
    """Return pixels in float64, without the alpha of LA and RGBA."""
    has_alpha = axes.endswith("S") and pixels.shape[-1] in (2, 4)
    return (pixels[..., :-1] if has_alpha else pixels).astype(np.float64)
