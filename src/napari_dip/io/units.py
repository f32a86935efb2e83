"""The names of units: ours, and what each format calls them."""

from __future__ import annotations

from napari_dip.io.picture import UNKNOWN

_ALIASES: dict[str, tuple[str, ...]] = {
    "meter": ("m", "metre"),
    "kilometer": ("km",),
    "centimeter": ("cm",),
    "millimeter": ("mm",),
    "micrometer": ("um", "\u00b5m", "\u03bcm", "micron", "microns", "\\u00b5m", "micrometre"),
    "nanometer": ("nm",),
    "picometer": ("pm",),
    "angstrom": ("\u00c5", "\u212b", "aa"),
    "inch": ("in",),
    "s": ("sec", "second", "seconds"),
    "ms": ("msec", "millisecond"),
    "us": ("\u00b5s", "\u03bcs", "microsecond"),
    "min": ("minute",),
    "hour": ("h", "hr"),
    "day": ("d",),
    "year": ("yr", "a"),
    "deg": ("degree", "degrees"),
    "arcmin": ("arcminute",),
    "arcsec": ("arcsecond",),
    "mas": ("milliarcsecond",),
    "hertz": ("hz",),
    "kilohertz": ("khz",),
    "megahertz": ("mhz",),
    "gigahertz": ("ghz",),
    "meter/second": ("m/s", "m s-1", "m / s", "meter / second"),
    "kilometer/second": ("km/s", "km s-1", "km / s", "kilometer / second"),
}
_OURS = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}

TO_OME = {
    "meter": "m",
    "kilometer": "km",
    "centimeter": "cm",
    "millimeter": "mm",
    "micrometer": "\u00b5m",
    "nanometer": "nm",
    "picometer": "pm",
    "angstrom": "\u00c5",
    "inch": "in",
    "s": "s",
    "ms": "ms",
    "us": "\u00b5s",
    "min": "min",
    "hour": "h",
    "day": "d",
    "year": "a",
    UNKNOWN: "pixel",
}
TO_FITS = {
    **{name: alias for name, alias in TO_OME.items() if name not in (UNKNOWN, "inch")},
    "micrometer": "um",
    "angstrom": "angstrom",
    "us": "us",
    "deg": "deg",
    "arcmin": "arcmin",
    "arcsec": "arcsec",
    "mas": "mas",
    "hertz": "Hz",
    "kilohertz": "kHz",
    "megahertz": "MHz",
    "gigahertz": "GHz",
    "meter/second": "m/s",
    "kilometer/second": "km/s",
}
_IN_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "hour": 3600.0, "day": 86400.0}


def ours(name: str) -> str:
    """Return our name of a unit that a format names, "pixel" for one that we do not know."""
    name = name.strip()
    return _OURS.get(name) or _OURS.get(name.lower()) or UNKNOWN


def seconds(value: float, unit: str) -> float | None:
    """Return a time in seconds, None where the unit is none of time."""
    return value * _IN_SECONDS[unit] if unit in _IN_SECONDS else None
