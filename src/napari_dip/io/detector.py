"""What a FITS header says of the noise of its image."""

from __future__ import annotations

from typing import Any

from napari_dip.io.picture import Detector

GAINS = ("EGAIN", "GAIN")  # electrons per ADU
LARGEST_GAIN = 20.0  # more is the setting of a camera, not electrons per ADU
READ_NOISES = ("RDNOISE", "READNOIS", "RON", "ENOISE")  # electrons
COUNTS = ("", "adu", "dn", "count", "counts")
ELECTRONS = ("electron", "electrons", "e", "e-", "photon", "photons", "ph")


def detector_of(*headers: Any) -> Detector | None:
    """Return the gain and read noise of an image in the units of its pixels, or None where the headers do not say.

    Parameters
    ----------
    *headers : Header
        The first that has a keyword decides. Images of other units than counts or electrons, and means of several
        exposures, have another noise than the detector.
    """
    unit = str(_first(headers, ("BUNIT",))[1] or "").strip().lower()
    combined = _number(_first(headers, ("NCOMBINE",))[1])
    if unit not in (*COUNTS, *ELECTRONS) or (combined or 1) > 1:
        return None
    (gain_key, gain), (read_key, read) = _first(headers, GAINS), _first(headers, READ_NOISES)
    gain, read = _number(gain), _number(read)
    if unit in ELECTRONS:
        per_electron, said = 1.0, [f"BUNIT = {unit}"]
    elif gain is None or not 0 < gain <= LARGEST_GAIN:
        return None
    else:
        per_electron, said = 1 / gain, [f"{gain_key} = {gain:g}"]
    if read is None or read < 0:
        return Detector(per_electron, 0.0, said[0])
    return Detector(per_electron, read * per_electron, ", ".join([*said, f"{read_key} = {read:g}"]))


def _first(headers: tuple[Any, ...], keys: tuple[str, ...]) -> tuple[str, Any]:
    for key in keys:
        for header in headers:
            if key in header:
                return key, header[key]
    return "", None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
