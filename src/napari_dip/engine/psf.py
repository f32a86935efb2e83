"""Point-spread functions: checked where they were measured, computed where they are known from theory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import fourier_shift

from napari_dip.engine.convolve import Convolution
from napari_dip.engine.fields import Checked

Doubles = npt.NDArray[np.float64]

TAIL = 1e-3  # of a model's light that its array may leave out, where the image is large enough
OFF_CENTRE = 0.5  # px between origin and centroid from which on it is said
NODES = 256  # of the quadrature over the pupil


class PSF(Protocol):
    """A model of how a point is imaged."""

    def kernel(self, field: tuple[int, ...]) -> Doubles:
        """Return it as an array with as many axes as the image, (Y, X) or (Z, Y, X), and no larger than `field`.

        Every side is odd, the origin is in the middle.
        """
        ...


@dataclass(frozen=True)
class GaussianPSF(Checked):
    """A Gaussian: a fair picture of a microscope's focus, or of moderate seeing."""

    fwhm: Annotated[float, {"min": 0.1, "unit": "px", "tooltip": "Full width at half maximum along Y and X"}] = 3.0
    fwhm_z: Annotated[
        float | None, {"min": 0.1, "unit": "px", "tooltip": "Along Z, in planes; auto: as along Y and X"}
    ] = None

    def kernel(self, field: tuple[int, ...]) -> Doubles:
        widths = [self.fwhm if self.fwhm_z is None else self.fwhm_z, self.fwhm, self.fwhm][-len(field) :]
        sigmas = [width / math.sqrt(8 * math.log(2)) for width in widths]
        axes = _axes(field, [4 * sigma for sigma in sigmas])
        return np.exp(-0.5 * sum((x / sigma) ** 2 for x, sigma in zip(axes, sigmas, strict=True)))


@dataclass(frozen=True)
class MoffatPSF(Checked):
    """A Moffat profile, (1 + (r / α)²)^-β: a star through the seeing (A. F. J. Moffat, A&A 3, 455, 1969)."""

    fwhm: Annotated[float, {"min": 0.1, "unit": "px", "tooltip": "Full width at half maximum: the seeing"}] = 3.0
    beta: Annotated[
        float,
        {
            "min": 1.1,
            "why": "below, the wings hold nearly all of the light",
            "tooltip": "How steep the wings are: 2.5 to 5; more is nearer to a Gaussian",
        },
    ] = 3.0

    def kernel(self, field: tuple[int, ...]) -> Doubles:
        if len(field) != 2:
            raise ValueError("A Moffat profile is for images in a plane: for a volume take another model")
        scale = self.fwhm / 2 / math.sqrt(2 ** (1 / self.beta) - 1)
        y, x = _axes(field, [scale * math.sqrt(TAIL ** (1 / (1 - self.beta)) - 1)] * 2)
        return np.asarray((1 + (y**2 + x**2) / scale**2) ** -self.beta)


@dataclass(frozen=True)
class MicroscopePSF(Checked):
    """The scalar diffraction of a fluorescence microscope: Born and Wolf's, and below a mismatch Gibson and Lanni's.

    With `depth` 0 or with equal refractive indices it is that of M. Born and E. Wolf, "Principles of Optics", 8.8;
    else it has the spherical aberration of S. F. Gibson and F. Lanni, J. Opt. Soc. Am. A 9, 154 (1992), for an
    objective that is used with the immersion and cover glass that it was made for. The origin is the best focus, and
    planes go from the cover glass into the specimen.
    Scalar: beyond a numerical aperture of about 1.2 the true one is a little wider along the polarisation.
    """

    numerical_aperture: Annotated[float, {"min": 0.01, "max": 2.0}] = 1.4
    wavelength: Annotated[float, {"min": 1.0, "unit": "nm", "tooltip": "Of the light that is detected"}] = 520.0
    pixel: Annotated[float, {"min": 0.0001, "unit": "µm", "tooltip": "Size of a pixel in the specimen"}] = 0.1
    step: Annotated[float, {"min": 0.0001, "unit": "µm", "tooltip": "From plane to plane"}] = 0.3
    immersion: Annotated[float, {"min": 1.0, "tooltip": "Refractive index: 1.515 oil, 1.33 water, 1 air"}] = 1.515
    specimen: Annotated[float, {"min": 1.0, "tooltip": "Refractive index of what the fluorophores are in"}] = 1.33
    depth: Annotated[float, {"min": 0.0, "unit": "µm", "tooltip": "Of the fluorophores behind the cover glass"}] = 0.0
    excitation: Annotated[
        float | None, {"min": 1.0, "unit": "nm", "tooltip": "Confocal, small pinhole: of the laser; auto: widefield"}
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.numerical_aperture < self.immersion:
            raise ValueError(
                f"numerical_aperture = {self.numerical_aperture} must be below the refractive index of the immersion, "
                f"{self.immersion}"
            )

    def kernel(self, field: tuple[int, ...]) -> Doubles:
        reach = [5.0 * self.wavelength / 1000 / self.numerical_aperture / self.pixel] * 2
        if len(field) == 3:
            half = (field[0] - 1) // 2
            cone = math.tan(math.asin(self.aperture / self.immersion))
            reach = [half, *[reach[0] + half * self.step * cone / self.pixel] * 2]
        axes = _axes(field, reach)
        z = self.step * axes[0].ravel() if len(field) == 3 else np.zeros(1)
        radius = self.pixel * np.hypot(axes[-2], axes[-1])  # (Y, X), after a leading axis in a volume
        planes = self.intensity(z, radius.reshape(radius.shape[-2:]), self.wavelength)
        if self.excitation is not None:
            planes = planes * self.intensity(z, radius.reshape(radius.shape[-2:]), self.excitation)
        return planes if len(field) == 3 else planes[0]

    @property
    def aperture(self) -> float:
        """What of the numerical aperture comes through: light beyond the specimen's index is totally reflected."""
        return min(self.numerical_aperture, 0.9999 * self.specimen) if self.depth > 0 else self.numerical_aperture

    def intensity(self, z: Doubles, radius: Doubles, wavelength: float) -> Doubles:
        """Return the intensity at heights z, in µm from the best focus, and radii (Y, X), in µm: (Z, Y, X)."""
        finest = np.linspace(0, radius.max() + self.pixel, 4 * int(radius.max() / self.pixel + 2))
        lines = np.abs(self.amplitude(z + self.focus(wavelength), finest, wavelength)) ** 2  # (Z, radii)
        return np.stack([np.interp(radius, finest, line) for line in lines])

    def focus(self, wavelength: float) -> float:
        """Return the height, in µm, at which the light on the axis is brightest: aberration moves it."""
        if self.depth == 0 or self.immersion == self.specimen:
            return 0.0
        centre = self.depth * (self.immersion / self.specimen - 1)  # of paraxial rays
        near = centre + np.linspace(-1.0, 1.0, 801) * (1 + abs(centre))
        bright = np.abs(self.amplitude(near, np.zeros(1), wavelength)[:, 0])
        return float(near[bright.argmax()])

    def amplitude(self, z: Doubles, radius: Doubles, wavelength: float) -> npt.NDArray[np.complex128]:
        """Return the complex amplitude, (Z, radii): an integral over the pupil, by Gauss and Legendre."""
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        sine = self.aperture * (nodes + 1) / 2  # refractive index times the sine of a ray's angle
        wave = 2 * math.pi / (wavelength / 1000)
        path = -z[:, None] * np.sqrt(self.immersion**2 - sine**2)  # what moving the stage takes
        if self.depth > 0:
            path = path + self.depth * (np.sqrt(self.specimen**2 - sine**2) - np.sqrt(self.immersion**2 - sine**2))
        bessel = torch.special.bessel_j0(torch.from_numpy(wave * np.outer(sine, radius))).numpy()
        rays = np.exp(1j * wave * path) * (weights * sine)  # (Z, nodes)
        return np.asarray(rays @ bessel)


PSFS = (GaussianPSF, MoffatPSF, MicroscopePSF)


def checked(
    psf: Any, field: tuple[int, ...], whose: str = "image", *, centres: bool = False
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return a PSF of sum 1, float32, and what there is to say of it.

    Parameters
    ----------
    psf : array
        With as many axes as the image has spatial ones; its origin is the element ``n // 2`` of each axis.
    field : tuple of int
        The image whose pixels are the PSF's, (Y, X) or (Z, Y, X).
    whose : str
        What that image is called in errors.
    centres : bool
        Whether the centroid of its squares is moved to its origin.

    Raises
    ------
    ValueError
        When it cannot be the image of a point, or is larger than the image.
    """
    values = np.asarray(psf)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"The PSF has values of type {values.dtype}: it must be real")
    if values.ndim != len(field):
        raise ValueError(
            f"The PSF has shape {values.shape}, and the {whose}'s spatial shape is {field}: both need the same axes"
        )
    if any(n > most for n, most in zip(values.shape, field, strict=True)):
        raise ValueError(f"The PSF, {values.shape}, is larger than the {whose}, {field}: crop it around its origin")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(values))} values of the PSF are NaN or infinite")
    if values.min() < 0:
        raise ValueError(f"The PSF has negative values, down to {values.min():g}: light has none; clip them to 0")
    total = float(values.sum())
    if not total > 0:
        raise ValueError("The PSF is zero everywhere")
    said = []
    if abs(total - 1) > 1e-3:
        said.append(f"The PSF was divided by its sum, {total:g}: the result has the light of the measurement")
    offset = _off_centre(values)
    told = ", ".join(f"{value:+z.1f}" for value in offset)
    if centres:
        values = _moved(values, [-value for value in offset])
        said.append(f"The PSF's bright part was ({told}) px from its middle: it was moved there")
    elif max(map(abs, offset)) > OFF_CENTRE:
        said.append(
            f"The PSF's bright part is ({told}) px from its middle, which is taken for its origin: the result is "
            f"shifted against the measurement by that much the other way, unless you let the PSF be centred"
        )
    return torch.from_numpy((values / values.sum()).astype(np.float32)), tuple(said)


def seen_through(fwhm: float, field: tuple[int, ...]) -> Convolution:
    """Return what makes an image of this spatial shape one of a known resolution: each point a Gaussian, FWHM in px.

    A star between two pixels has rings where it is as narrow as can be; where it is two pixels wide, or more, hardly
    any, since a Gaussian passes next to nothing of the finest waves, 2.8 % (P. Magain, F. Courbin and S. Sohy,
    Astrophys. J. 494, 472, 1998). Beyond the border the outermost pixels are repeated.
    """
    kernel = GaussianPSF(fwhm=fwhm, fwhm_z=fwhm).kernel(field)
    return Convolution(torch.from_numpy((kernel / kernel.sum()).astype(np.float32)), ((0, 0),) * len(field))


def _off_centre(values: Doubles) -> list[float]:
    """Return how far, along each axis, in px, the centroid of a PSF's squares is from its origin.

    Of squares, since faint skirts are often cut off nearer to the origin on one side than on the other.
    """
    squares = np.square(values / values.max())
    grids = np.meshgrid(*[np.arange(n) - n // 2 for n in values.shape], indexing="ij", sparse=True)
    return [float((grid * squares).sum() / squares.sum()) for grid in grids]


def _moved(values: Doubles, by: list[float]) -> Doubles:
    """Return a PSF moved by parts of pixels, through its Fourier transform; what leaves its array is lost."""
    wide = [math.ceil(abs(pixels)) for pixels in by]
    padded = np.pad(values, [(n, n) for n in wide])
    moved = np.fft.ifftn(fourier_shift(np.fft.fftn(padded), by)).real.clip(0)
    return np.asarray(moved[tuple(slice(n, n + size) for n, size in zip(wide, values.shape, strict=True))])


def _axes(field: tuple[int, ...], reach: list[float]) -> list[Doubles]:
    """Return the coordinates along each axis, for broadcasting, up to `reach` or as far as the image allows."""
    halves = [min((n - 1) // 2, math.ceil(most)) for n, most in zip(field, reach, strict=True)]
    return list(np.meshgrid(*[np.arange(-half, half + 1.0) for half in halves], indexing="ij", sparse=True))
