"""What a run says of itself, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_dip.engine.assembly import Assembly
from napari_dip.engine.blocks import Frame
from napari_dip.engine.channels import SURE
from napari_dip.engine.comparison import Gain
from napari_dip.engine.outcome import Fit
from napari_dip.engine.width import words_of

if TYPE_CHECKING:
    from napari_dip.engine.run import Run

MANY_OUTLIERS = 0.02  # of all values


def notes_of(run: Run, fits: list[Fit], assembly: Assembly) -> tuple[str, ...]:
    """Return what is worth telling of a run whose fits are these: how it was made, what was found, what to beware of.

    What is known of a frame as a whole, each of its fits has.
    """
    frames = {fit.frame: fit for fit in fits}
    return (
        *run.remarks,
        *(() if run.merged is None else run.merged.notes),
        *_outliers(assembly),
        *_mixed(fits),
        *_tiles(fits),
        *_stretched(run),
        *_stripes(frames),
        *_correlation(frames),
        *_lost(frames),
        *_clipped(frames),
        *_verdicts(frames, len(run.frames)),
        *_channels(run),
        *_doubts(frames),
        *_no_std(run, frames, assembly),
        *_given_back(frames),
        *_misfits(run, frames),
        *words_of(run.width),
        *([run.task.caution] if run.task.caution else []),
        *_not_done(run, frames),
    )


Frames = Mapping[Frame, Fit]
"""Of each frame one of its fits."""


def _outliers(assembly: Assembly) -> list[str]:
    if assembly.outliers is None:
        return []
    count, share = int(assembly.outliers.sum()), float(assembly.outliers.mean())
    said = [f"{count:,} outliers ({share:.2%} of all values) were flagged and replaced"]
    if share > MANY_OUTLIERS:
        said.append(
            "So many outliers are improbable: the image may have real structure that is sharper than the given width "
            "of a spot"
        )
    return said


def _mixed(fits: list[Fit]) -> list[str]:
    """Return of what the result is made, where a pilot has a part in it."""
    if not (piloted := [fit for fit in fits if fit.pilot]):
        return []
    fine, rest = np.mean([fit.pilot for fit in piloted], 0)
    members = sorted({fit.member for fit in piloted})  # a stop may leave a later one alone
    shrunk = float(np.mean([fit.collaborative for fit in piloted]))
    ways = f"NL-Ridge, and {shrunk:.0%} of collaborative filtering" if shrunk else "NL-Ridge"
    each = [float(np.mean([fit.share for fit in piloted if fit.member == one])) for one in members]
    parts = f"{len(members)} fits (in parts of {', '.join(f'{share:.0%}' for share in each)})"
    return [
        f"Made of {'one fit' if len(members) == 1 else parts} and a closed-form pilot ({ways}), whose weight is "
        f"{fine:.2f} in fine detail and {rest:.2f} in the rest"
    ]


def _tiles(fits: list[Fit]) -> list[str]:
    sides = {fit.tile for fit in fits if fit.tile is not None}
    return [
        f"Fitted in overlapping tiles of {side} px, a network each, which fade into each other and stop together"
        for side in sorted(sides)[:1]
    ]


def _stretched(run: Run) -> list[str]:
    if not run.scale.curves:
        return []
    return [
        "Noise is much stronger in bright places than in dark ones: fitted under a curve that makes it even "
        "(generalised Anscombe), and taken back without bias"
    ]


def _stripes(frames: Frames) -> list[str]:
    if not (removed := [fit.stripes for fit in frames.values() if fit.stripes is not None]):
        return []
    where = f" in {len(removed)} frames, at most" if len(removed) > 1 else ""
    return [
        f"Offsets of lines were taken off first{where}: {max(removed):.3g} (root mean square). What the scene has from "
        "border to border goes with them"
    ]


def _correlation(frames: Frames) -> list[str]:
    if not (reaches := sorted({fit.reach for fit in frames.values() if any(fit.reach)})):
        return []
    down, right = reaches[-1]
    return [
        f"The noise is correlated from pixel to pixel, up to {down} px along y and {right} px along x: so many "
        "neighbours of held-out pixels are hidden too. What is left of such noise looks like structure"
    ]


def _lost(frames: Frames) -> list[str]:
    if not (lost := [one for fit in frames.values() for one in fit.lost]):
        return []
    count = sum(one.sources for one in lost)
    share = sum(one.sources * one.share for one in lost) / count
    return [
        f"{count} point sources lacked {share:.0%} of their restored height in the mean, by the residual around them "
        "all: that was given back"
    ]


def _clipped(frames: Frames) -> list[str]:
    if not any(fit.clipped for fit in frames.values()):
        return []
    return [
        "Noise was clipped at an end of the range, which makes bright values too dark in the mean and dark ones too "
        "bright: that is undone"
    ]


def _verdicts(frames: Frames, wanted: int) -> list[str]:
    verdicts = Counter(fit.residual.verdict for fit in frames.values() if fit.residual)
    return [
        f"Residual{f', in {count} of {wanted} frames' if wanted > 1 else ''}: {verdict}"
        for verdict, count in verdicts.most_common(3)
    ]


def _channels(run: Run) -> list[str]:
    if not (run.channel_gains and "C" in run.axes.each):
        return []
    worst = int(np.argmin(run.channel_gains))
    return [
        f"Channels were restored one by one: together, the held-out error of channel {worst} would gain "
        f"{run.channel_gains[worst]:.1f} standard errors, and {SURE:.0f} are asked of each"
    ]


def _doubts(frames: Frames) -> list[str]:
    """Return what says that a cheap method would have done as well, where held-out pixels see no difference."""
    by_method = zip(*(fit.gains for fit in frames.values() if fit.gains), strict=True)  # the gains in all frames
    return [
        f"{worst.words}{where} ({worst.gain:.3f} ± {worst.error:.3f} of the noise's variance)"
        for worst, where in map(least_sure, by_method)
        if not worst.is_sure
    ]


def least_sure(gains: tuple[Gain, ...]) -> tuple[Gain, str]:
    """Return the least sure of the frames' gains over a method, and in how many frames it is not sure."""
    unsure = sum(not one.is_sure for one in gains)
    where = f", in {unsure} of {len(gains)} frames" if len(gains) > 1 else ""
    return min(gains, key=lambda one: one.gain / max(one.error, 1e-12)), where


def _no_std(run: Run, frames: Frames, assembly: Assembly) -> list[str]:
    reasons = [fit.no_std for fit in frames.values() if fit.no_std]
    if not reasons or not (run.draws or assembly.std is not None):
        return []
    where = f" for {len(reasons)} of {len(run.frames)} frames" if len(run.frames) > 1 else ""
    return [f"No standard deviation and no members can be given{where}: {'; '.join(sorted(set(reasons)))}"]


def _given_back(frames: Frames) -> list[str]:
    if not any(shares := [fit.given_back for fit in frames.values()]):
        return []
    return [
        "What the fits had not explained of the measurement was given back to the result, with a weight of "
        f"{np.mean(shares):.2f} by held-out pixels"
    ]


def _misfits(run: Run, frames: Frames) -> list[str]:
    """Return how far the results are from the measurement once they are degraded again.

    Channels may have units of their own: the one that is worst in units of its noise, or else of its range, tells.
    """
    found = {frame: fit for frame, fit in frames.items() if fit.misfit}
    if not found:
        return []
    levels = {frame: fit.noise.sigma for frame, fit in found.items() if fit.noise}
    units = levels if len(levels) == len(found) else {frame: run.scale.of(run.axes, frame).gain for frame in found}
    _, by, unit, channel = max(
        (by / unit, by, unit, run.axes.channel_of(frame, index))
        for frame, fit in found.items()
        for index, (by, unit) in enumerate(zip(fit.misfit, units[frame], strict=True))
    )
    where = "" if run.axes.together.channels == 1 else f" in channel {channel}, most of all"
    noise = f"; its noise is {unit:.3g}" if units is levels else ""
    said = "The result, degraded again, differs from the measurement by"
    return [f"{said} {by:.3g} (root mean square){where}{noise}"]


def _not_done(run: Run, frames: Frames) -> list[str]:
    """Return what of the image is as it was, and what its values are rounded to."""
    said = []
    if len(frames) < len(run.frames):
        said.append(f"Ended after {len(frames)} of {len(run.frames)} frames: the others are as they were")
    if run.dtype.kind in "iu" and run.dtype.itemsize == 8:
        said.append(f"{run.dtype} values above 2^53 are rounded to what float64 holds")
    return said
