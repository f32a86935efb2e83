"""What comes out of a run: its progress, its result, and the hand that stops or pauses it."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from napari_dip.engine.blocks import convert
from napari_dip.engine.comparison import Gain
from napari_dip.engine.noise import NoiseRecord
from napari_dip.engine.points import Lost
from napari_dip.engine.problem import Array
from napari_dip.engine.residual import ResidualCheck
from napari_dip.engine.width import Width

Phase = Literal["preparing", "fitting", "revealing", "paused"]

NOISE_ONLY = "noise only, excludes model bias"
BY_EYE = "this step was chosen by eye"


class Control:
    """Stop and pause for a run in another thread. Every method may be called from any thread, at any time."""

    def __init__(self) -> None:
        self._stopped, self._paused = threading.Event(), threading.Event()

    def stop(self) -> None:
        """End the run after its current step, also while paused; the best so far is its result."""
        self._stopped.set()

    def pause(self) -> None:
        self._paused.set()

    def resume(self) -> None:
        self._paused.clear()

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    @property
    def is_paused(self) -> bool:
        return self._paused.is_set()


@dataclass
class Fit:
    """The record of one fit: a frame has one, or where members are averaged one for each.

    Attributes
    ----------
    frame : tuple of int
        The frame's index along the repeated axes.
    member : int
        Which of the frame's fits, from 0.
    network : str
        What was fitted, in words: the network, what it was fed with, and the optimiser.
    steps, scores : list
        The steps that were scored, and the rule's score there (lower is better; infinite: could not tell).
    best_step : int
        The step whose averaged output is the result.
    revealed : int
        Steps of the last phase, in which held-out pixels were shown.
    last_step : int
        Steps taken before that phase, so far.
    seconds : float
        All of it.
    ended : str
        The reason, in words; "under way" while the fit has not ended.
    tile : int or None
        Side in px of the tiles that the frame was fitted in; None: it was fitted whole.
    share : float
        Of the fit in the sum of those of its frame: with which that errs least at held-out pixels where there is a
        pilot, else equal.
    pilot : tuple of float
        Weight of the pilot in the frame's result, 0 to 1: in fine detail, and in the rest; empty without a pilot.
    collaborative : float
        The share that collaborative filtering has in the pilot, NL-Ridge having the rest.
    reach : tuple of int
        How far along y and x the pilot took the noise for correlated, in px.
    clipped : bool
        Whether noise was clipped at an end of the range, and what that took from the mean was given back.
    noise : NoiseRecord or None
        What noise the frame has; None while the fit is under way, and where it cannot be told.
    residual : ResidualCheck or None
        What the frame's residual says; None while the fit is under way, and where the noise cannot be told.
    no_std : str
        Why the frame has no standard deviation, in words; empty: it has one.
    gains : tuple of Gain
        By how much the frame's result is better than what cheap methods give, at held-out pixels; empty while the fit
        is under way, without a pilot, and for volumes.
    misfit : tuple of float
        How far each channel of the frame's result, degraded again, is from the measurement: root mean square over the
        known pixels, in the image's units. Empty while the fit is under way, and where the task degrades nothing.
    psf : Width or None
        By what the PSF of a deconvolution would have to be widened to predict the frame best, told before the fit; None
        where nobody looked, and where the image does not tell it.
    stripes : float or None
        The offsets of lines that were taken off the frame: root mean square, in the image's units, of the channel where
        it is largest. None where nobody asked.
    lost : tuple of Lost
        What point sources had lost in the mean, and were given back: one for each strength. Empty before the
        result was asked for, and where they had lost nothing that is beyond chance.
    given_back : float
        The weight, 0 to 1, with which what the frame's fits had not explained of the measurement was given back to the
        result, see `Remainder`; the mean of its channels'.
    band_steps : list of int
        The scored steps at which the frequency bands of the averaged output were measured.
    bands : list of list
        A row for each of these: the amplitude of each of eight bands, coarse to fine, in units of the measurement's
        (see `fbc`), all channels together; nan where the measurement has nothing.
    """

    frame: tuple[int, ...] = ()
    member: int = 0
    network: str = ""
    steps: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_step: int = 0
    revealed: int = 0
    last_step: int = 0
    seconds: float = 0.0
    ended: str = "under way"
    tile: int | None = None
    share: float = 1.0
    pilot: tuple[float, ...] = ()
    collaborative: float = 0.0
    reach: tuple[int, int] = (0, 0)
    clipped: bool = False
    noise: NoiseRecord | None = None
    residual: ResidualCheck | None = None
    no_std: str = ""
    gains: tuple[Gain, ...] = ()
    misfit: tuple[float, ...] = ()
    psf: Width | None = None
    stripes: float | None = None
    lost: tuple[Lost, ...] = ()
    given_back: float = 0.0
    band_steps: list[int] = field(default_factory=list)
    bands: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Restoration:
    """A restored image and how it came about.

    Attributes
    ----------
    image : array
        Restored, axes and dtype as asked for; missing pixels as they were unless filled. On the task's grid: its
        pixels may be smaller than the source's.
    estimate : array
        The restored image in the source's units before it was finished, rounded or composed; floating.
    residual : array
        The measurement minus what the estimate would have given, in the source's units and on its grid; NaN where
        missing.
    filled : boolean array or None
        Which pixels were missing and are filled in `image`, on its grid; None where none is.
    untouched : boolean array
        Which values of `image` are those of the source: what was missing and is not filled, what the task was to keep.
    outliers : boolean array or None
        Which values were flagged as hot, dead or hit by a cosmic ray, and are filled, on the source's grid; None where
        nobody asked.
    std : array or None
        Standard deviation of `image`, in its units, float32; NaN where nothing was measured. It is the noise's part
        alone: what the method itself makes wrong, such as detail that is lost everywhere, is not in it. None where it
        cannot be told: `Fit.no_std` says why.
    members : array or None
        (members, *axes), float32: images that differ from `estimate` as it may from the truth, where asked for.
        What is derived from each of them differs by its own standard deviation.
    stack : array or None
        Averaged outputs, (iteration, *axes), where `keep_every` asked for them.
    steps : tuple of int
        The step of each output in `stack`.
    fits : tuple of Fit
        One record a frame, or where members are averaged one for each of them that counts.
    settings : dict
        What the run was asked for, as JSON: task, prior, rule, axes and limits.
    machine : dict
        What else decides the bits, as JSON: versions, seed, device, precision, threads, and how many fits share them.
    notes : tuple of str
        What the user should know.
    frames : dict or None
        Where several frames were restored together: their axis, how many they are, by how many px each was moved to lie
        on the first (`moved`, for each place in the order of the fits), and how many values were left out.
    taken : int
        Optimiser steps of the whole run so far, also of fits that do not count.
    seconds : float
        That the run has taken so far.
    under_way : str
        Where the run was when this was asked for, in words; empty: it had ended.
    """

    image: Array
    estimate: Array
    residual: Array
    filled: npt.NDArray[np.bool_] | None
    untouched: npt.NDArray[np.bool_]
    stack: Array | None
    steps: tuple[int, ...]
    fits: tuple[Fit, ...]
    settings: dict[str, Any]
    machine: dict[str, Any]
    notes: tuple[str, ...] = ()
    std: Array | None = None
    members: Array | None = None
    outliers: npt.NDArray[np.bool_] | None = None
    frames: dict[str, Any] | None = None
    taken: int = 0
    seconds: float = 0.0
    under_way: str = ""

    @property
    def best_step(self) -> int:
        """The step that was kept; of several frames, the last frame's."""
        return self.fits[-1].best_step

    @property
    def ended(self) -> str:
        """Why the last fit ended, in words; where the run was when it had not ended."""
        return self.under_way or self.fits[-1].ended

    def at(self, step: int) -> Restoration:
        """Return the result with the averaged output of a kept step, which see `stack`, in its place.

        That is an output of the first fit of each frame: no other fit and no pilot has a share in it, and it is not
        finished, so that detail is not boosted and values may leave the intervals of a JPEG. What is untouched stays
        so. The residual is still that of the result before, and there is no standard deviation.

        Raises
        ------
        ValueError
            When that step was not kept.
        """
        if self.stack is None or step not in self.steps:
            kept = ", ".join(map(str, self.steps)) or "none"
            raise ValueError(f"Step {step} was not kept; kept are: {kept}. keep_every= says how often")
        output = self.stack[self.steps.index(step)]
        first: dict[tuple[int, ...], Fit] = {}
        for fit in self.fits:
            first.setdefault(fit.frame, fit)
        chosen: dict[str, Any] = {
            "best_step": step, "ended": BY_EYE, "share": 1.0, "pilot": (), "collaborative": 0.0, "given_back": 0.0,
        }  # fmt: skip
        unknown: dict[str, Any] = {"residual": None, "gains": (), "misfit": (), "lost": (), "no_std": BY_EYE}
        return dataclasses.replace(
            self,
            image=np.where(self.untouched, self.image, convert(output, self.image.dtype)),
            estimate=output.astype(self.estimate.dtype),
            std=None,
            members=None,
            fits=tuple(dataclasses.replace(fit, **chosen, **unknown) for fit in first.values()),
            notes=(f"The output of step {step} was chosen by eye: no other fit and no pilot has a share in it",),
            under_way="",
        )

    def report(self) -> dict[str, Any]:
        """Return the record of the run as a dictionary that is valid JSON."""
        fits = [dataclasses.asdict(fit) for fit in self.fits]
        for fit in fits:
            fit.update({name: list(fit[name]) for name in ("frame", "pilot", "reach", "gains", "misfit", "lost")})
            fit["scores"] = _finite(fit["scores"])
            fit["bands"] = [_finite(row) for row in fit["bands"]]
        return {
            **self.machine,
            "settings": self.settings,
            "seconds": self.seconds,
            "steps": self.taken,
            "best_step": self.best_step,
            "ended": self.ended,
            "filled_values": 0 if self.filled is None else int(self.filled.sum()),
            "outliers": None if self.outliers is None else int(self.outliers.sum()),
            "frames": self.frames,
            "std": None if self.std is None else {"median": float(np.nanmedian(self.std)), "says": NOISE_ONLY},
            "fits": fits,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run is. Cheap: images are made only when asked for.

    Attributes
    ----------
    phase : {"preparing", "fitting", "revealing", "paused"}
        Preparing: the pilot is made, no step is taken yet. Revealing: the stop was found, and held-out pixels are
        shown to the fit for the last steps.
    frame, frames : int
        The frame under way, from 0, and how many there are.
    step : int
        Of all fits of this frame.
    expected : int
        The frame's last step, if no better score comes.
    prepared : float
        The share of what is made before the first step that is done, 0 to 1, as far as that can be told.
    rate : float
        Steps per second, over the last ones.
    score : float or None
        The rule's, where this step was scored.
    fit : Fit
        The record so far; it grows as the run goes on.
    where : tuple
        The index of this frame in the restored image.
    """

    phase: Phase
    frame: int
    frames: int
    step: int
    expected: int
    prepared: float
    rate: float
    score: float | None
    fit: Fit
    where: tuple[Any, ...]
    _image: Callable[[], Array]
    _restoration: Callable[[], Restoration]

    def image(self) -> Array:
        """Return this frame as it is now, axes as in the image, in its units, float32.

        Only valid until the next progress is asked for.
        """
        return self._image()

    def restoration(self) -> Restoration:
        """Return the best so far, as if the run ended here."""
        return self._restoration()


def _finite(values: list[float]) -> list[float | None]:
    """Return numbers as JSON has them: None for what is none."""
    return [value if np.isfinite(value) else None for value in values]


def settings_of(value: Any) -> Any:
    """Return a specification as JSON: a dataclass as its name and fields, an array as its shape and digest."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: settings_of(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {"name": type(value).__name__, **fields}
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": digest}
    if isinstance(value, (tuple, list)):
        return [settings_of(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)
