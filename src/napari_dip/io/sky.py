"""What a FITS header says about axes and pixel sizes, and the same for a finer grid."""

from __future__ import annotations

import logging
import re
from typing import Any

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from napari_dip.io import units
from napari_dip.io.picture import UNKNOWN, Picture

log = logging.getLogger(__name__)

SPECTRAL = ("FREQ", "WAVE", "AWAV", "VELO", "VRAD", "VOPT", "ZOPT", "BETA", "ENER", "WAVN", "FELO", "LAMBDA")
KINDS = {"STOKES": "C", "TIME": "T", "UTC": "T", "MJD": "T", "RGB": "S", "ITER": "I"} | dict.fromkeys(SPECTRAL, "E")
TYPES = {"S": "RGB", "I": "ITER"}  # what we write for axes that FITS has no word for
ARCSECONDS = 3600.0  # in a degree


def axes_of(header: Any, ndim: int) -> str:
    """Return the letter of each axis of the array, slowest first.

    The first two axes of FITS are X and Y. CTYPE tells the others: spectral ones are E, STOKES is C, TIME is T; what
    it does not tell is Q, so that a letter may come twice.
    """
    letters = "XY" + "".join(_letter(str(header.get(f"CTYPE{axis}", ""))) for axis in range(3, ndim + 1))
    return letters[::-1]


def pixel_sizes(header: Any, ndim: int) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return scale and unit of each axis of the array, slowest first; positions on the sky in arcsec.

    Raises nothing: a world coordinate system that cannot be understood leaves sizes unknown.
    """
    known = [(1.0, UNKNOWN)] * ndim
    try:
        wcs = WCS(header)
        sizes, matrix = proj_plane_pixel_scales(wcs), wcs.pixel_scale_matrix
        for axis in range(min(ndim, len(sizes))):
            known[axis] = _size(wcs, float(sizes[axis]), int(np.abs(matrix[:, axis]).argmax()))
    except Exception as error:  # headers are written by hand, too: astropy raises what its parsers meet
        log.info("the world coordinates of a FITS header are not understood: %s", error)
    return tuple(size for size, _ in reversed(known)), tuple(unit for _, unit in reversed(known))


def refine(header: Any, factors: dict[int, float]) -> None:
    """Change a header in place so that its world coordinates hold for pixels smaller by a factor per FITS axis."""
    for axis, factor in factors.items():
        if f"CRPIX{axis}" in header:
            header[f"CRPIX{axis}"] = (float(header[f"CRPIX{axis}"]) - 0.5) * factor + 0.5
        for key in [key for key in header if re.fullmatch(rf"CDELT{axis}|CD\d+_{axis}", key)]:
            header[key] = float(header[key]) / factor
    _refine_distortion(header, factors.get(1, 1.0), factors.get(2, 1.0))


def is_described(header: Any, axis: int) -> bool:
    """Return whether a header has world coordinates along an axis."""
    return any(f"{key}{axis}" in header for key in ("CTYPE", "CRVAL", "CDELT", f"CD{axis}_{axis}"))


def cut(header: Any, axis: int, position: int) -> None:
    """Change a header in place so that its world coordinates hold for what begins at a pixel of an axis, from 0."""
    if is_described(header, axis):
        header[f"CRPIX{axis}"] = float(header.get(f"CRPIX{axis}", 0.0)) - position


def add_axis(header: Any, axis: int, start: float, step: float) -> None:
    """Describe a linear axis in place: an ITER axis of steps that begins at `start`."""
    stale = rf"C(UNIT|TYPE|ROTA|DELT){axis}|(CD|PC)({axis}_\d|\d_{axis})"
    for key in [key for key in header if re.fullmatch(stale, key)]:
        del header[key]
    header[f"CRPIX{axis}"], header[f"CRVAL{axis}"], header[f"CTYPE{axis}"] = 1.0, start, TYPES["I"]
    if any(re.fullmatch(r"CD\d+_\d+", key) for key in header):
        header[f"CD{axis}_{axis}"] = step
    else:
        header[f"CDELT{axis}"] = step
    if "WCSAXES" in header:
        header["WCSAXES"] = max(int(header["WCSAXES"]), axis)


def describe(header: Any, picture: Picture) -> None:
    """Give a header that has no world coordinates the picture's pixel sizes, as linear axes."""
    for axis, (letter, scale, unit) in enumerate(
        reversed(list(zip(picture.axes, picture.scale, picture.units, strict=True))), start=1
    ):
        if unit in units.TO_FITS:
            header[f"CRPIX{axis}"], header[f"CRVAL{axis}"] = 1.0, 0.0
            header[f"CDELT{axis}"], header[f"CUNIT{axis}"] = scale, units.TO_FITS[unit]
        if letter in TYPES:
            header[f"CTYPE{axis}"] = TYPES[letter]
        if letter == "I" and picture.steps:
            add_axis(header, axis, picture.steps[0], scale)


def _letter(ctype: str) -> str:
    return KINDS.get(re.split(r"[-.\s]", ctype.strip().upper(), maxsplit=1)[0], "Q")


def _size(wcs: Any, size: float, world: int) -> tuple[float, str]:
    if not np.isfinite(size) or size <= 0:
        return 1.0, UNKNOWN
    if world in (wcs.wcs.lng, wcs.wcs.lat):
        return size * ARCSECONDS, "arcsec"
    unit = units.ours(str(wcs.wcs.cunit[world]))
    return (1.0, UNKNOWN) if unit == UNKNOWN else (size, unit)


def _refine_distortion(header: Any, along_x: float, along_y: float) -> None:
    """Change SIP polynomials, which are in pixels: with u' = f u, A'_pq = A_pq f^(1-p-q)."""
    for key in [key for key in header if re.fullmatch(r"[AB]P?_\d_\d", key)]:
        p, q = int(key[-3]), int(key[-1])
        own = along_x if key[0] == "A" else along_y
        header[key] = float(header[key]) * own / (along_x**p * along_y**q)
