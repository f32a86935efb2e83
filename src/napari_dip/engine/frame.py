"""One frame of a run: what is made in closed form, the fits, each followed to its stop, and what is said of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_dip.engine import devices
from napari_dip.engine.abreast import abreast
from napari_dip.engine.assembly import Restored
from napari_dip.engine.blocks import Frame
from napari_dip.engine.channels import joint_gains
from napari_dip.engine.comparison import Gain, gains
from napari_dip.engine.convolve import Convolution
from napari_dip.engine.correlation import reach
from napari_dip.engine.curves import unstretched
from napari_dip.engine.estimates import linear_estimate
from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.filling import can_fill, fill, wide_holes
from napari_dip.engine.judges import judges
from napari_dip.engine.member import Member, Step
from napari_dip.engine.memory import FILLING, PILOT
from napari_dip.engine.mixture import Mixture
from napari_dip.engine.noise import LEAST_NOISE, NoiseRecord, record_of
from napari_dip.engine.outcome import Fit, Phase, Progress, Restoration
from napari_dip.engine.pilot import make_pilot
from napari_dip.engine.points import Lost
from napari_dip.engine.posing import posed
from napari_dip.engine.prior import Guide, Prior
from napari_dip.engine.problem import Array, Problem, identity
from napari_dip.engine.remainder import Remainder
from napari_dip.engine.residual import ResidualCheck, check_residual
from napari_dip.engine.spectral import BandMeter
from napari_dip.engine.width import told_width, widened
from napari_dip.engine.work import Making

if TYPE_CHECKING:
    from napari_dip.engine.run import Run

T = TypeVar("T")

HEARTBEAT = 0.05  # s between the signs of life of a paused run
WIDE_STEPS = 600  # of a fit to a wide hole: of what is far from it, held-out pixels tell nothing, and clutter comes
BETWEEN_SEEDS = 0x10001  # of the members: runs with neighbouring seeds share no member


class FrameFit:
    """A frame from its measurement to its place in the result."""

    def __init__(self, run: Run, frame: Frame):
        self.run, self.frame = run, frame
        self.scale = run.scale.of(run.axes, frame)
        self.problem = posed(run, frame, self.scale)
        run.remarks |= dict.fromkeys(self.problem.notes)
        self.meter = BandMeter(self.problem.y, self.problem.known()) if self.problem.is_image else None
        self.mixture = Mixture(self.problem, wide=self.look_for_wide_holes())
        self.tile: int | None = None
        self.remainder: Remainder | None = None
        self.steps: dict[int, int] = {}  # by member
        self.noise: NoiseRecord | None = None
        self.residual: ResidualCheck | None = None
        self.gains: tuple[Gain, ...] = ()
        self.misfit: tuple[float, ...] = ()
        self.phase: Phase = "fitting"
        self.state = ""  # where it is, in words
        self.lost: tuple[Lost, ...] = ()
        self.given_back = 0.0
        self.is_done = False

    def progress(self) -> Iterator[Progress]:
        run, mixture = self.run, self.mixture
        yield from self.judge_psf()
        hidden, _ = run.rule.start(self.problem, run.seed)
        problem, plan = self.problem, None
        if self.is_filled(hidden):  # known beforehand, as what is fitted then is
            plan = run.planned(problem, self.priors(None), FILLING)
        if problem.gives_back and bool((held := judges(problem, hidden)).any()):
            place, is_pooled = run.device, "C" not in run.axes.letters
            self.remainder = Remainder(problem.to(place), hidden.known().to(place), held.to(place), is_pooled=is_pooled)
        yield from self.prepare(hidden)
        if mixture.pilot is not None or mixture.filling is not None:
            devices.trim()  # they took more than they left
        made = mixture.pilot.guide if mixture.pilot else mixture.guide
        priors = self.priors(made)
        if made is not None:
            guides = [guide for guide in (made, problem.guide) if guide is not None]
            both = torch.cat([guide.to(guides[0].device) for guide in guides])
            problem, hidden = (dataclasses.replace(one, guide=both) for one in (problem, hidden))
        plan = plan or run.planned(problem, priors, PILOT if mixture.pilot else None)
        self.tile = plan.tile
        mixture.members = [
            Member(self, prior, problem, index, seed=run.seed + index * BETWEEN_SEEDS)
            for index, prior in enumerate(priors)
        ]
        run.clock.clear()
        run.clock.append(time.perf_counter())
        with nullcontext() if plan.tile is None else devices.memory_spared(run.device):
            for step in abreast(self.fitted(hidden), plan.abreast):
                yield from self.followed_by(step)
        if mixture.share > 0:
            run.remarks[
                "Next to known pixels, what similar patches tell of the missing ones has a part in the result"
            ] = None
        restored = self.restored()
        run.assembly.add(self.frame, restored)
        self.check(restored)
        if mixture.pilot is not None and problem.is_judged_by_pixels and not run.control.is_stopped:
            self.gains = gains(mixture.pilot, mixture.unseen(), mixture.weights())
        run.fits.extend(self.fits)
        self.is_done = True

    def look_for_wide_holes(self) -> Tensor | None:
        """Return where wide holes are, (*spatial), if they are to be filled by a network of their own."""
        if self.run.wide is None or not bool((wide := wide_holes(self.problem.known())).any()):
            return None
        self.run.remarks["A hole is wide: a network for that went on with what lies around it"] = None
        return wide.to(self.run.device)

    def is_filled(self, hidden: Problem) -> bool:
        """Return whether missing pixels are told from similar patches before the fit: not those of wide holes."""
        wants = bool(self.run.members) and self.run.task.keeps_known and self.mixture.gaps > 0
        return wants and can_fill(self.problem, hidden)

    def priors(self, made: Tensor | None) -> tuple[Prior, ...]:
        """Return what is fitted beside a guide that was made, or without one.

        Where nothing can be held out, a fit of a fixed length ends: too early for those that do not see the guide.
        """
        run, problem = self.run, self.problem
        if made is None and (problem.guide is None or problem.is_judged_by_pixels or not run.members):
            if run.wide is None or self.mixture.wide is None:
                return (run.prior,) * self.starts
            return (run.prior, run.wide) if self.mixture.gaps else (run.wide,)
        seeing = tuple(prior for prior in run.members if isinstance(prior.source, Guide))
        return run.members if problem.is_judged_by_pixels or not seeing else seeing

    @property
    def starts(self) -> int:
        """How many fits of one prior the result is the mean of: not of what is invented in a wide hole."""
        invents = self.run.fill and bool(wide_holes(self.problem.known()).any())
        return 1 if invents else self.run.starts

    def most(self, prior: Prior) -> int | None:
        """Return the steps of a fit at most, before its last phase; None: as many as its rule lets it have."""
        if self.mixture.pilot is not None:
            return self.run.most
        return WIDE_STEPS if prior is self.run.wide and self.run.asked["stop"] is None else None

    def fitted(self, hidden: Problem) -> Iterator[Iterator[Step]]:
        """Yield the fit of each member, until there is a reason to begin no other."""
        run = self.run
        for member in self.mixture.members:
            if self.mixture.begun and (run.control.is_stopped or run.is_late):
                return
            if self.mixture.begun:
                devices.trim()  # the gaps that the one before left, into which not all of this one's blocks fit
            _, criterion = run.rule.start(self.problem, run.seed)  # hides the same pixels, and knows no other member
            yield member.progress(hidden, criterion)

    def prepare(self, hidden: Problem) -> Iterator[Progress]:
        """Make the pilot or the guide, where the preset wants one and the problem allows it."""
        run = self.run
        if not run.members:
            return
        place = devices.closed_form(run.device)
        on_device = (self.problem.to(place), hidden.to(place))
        if run.task.keeps_known:
            if not self.is_filled(hidden):
                return
            filling = yield from self.followed(fill(*on_device))
            self.mixture.filling = filling and filling.to(run.device)
            return
        if self.problem.is_linear:
            if (made := (yield from self.followed(linear_estimate(*on_device)))) is not None:
                guide, words = made
                self.mixture.guide = guide.to(run.device)
                run.remarks[words] = None
            return
        pilot = yield from self.followed(
            make_pilot(*on_device, seed=run.seed, passes=run.passes, is_joined=run.collaborative, usual=run.usual)
        )
        self.mixture.pilot = pilot and pilot.to(run.device)

    def judge_psf(self) -> Iterator[Progress]:
        """Correct the width of a PSF where that was asked for; the first frame tells it for all of them."""
        problem, run = self.problem, self.run
        if not isinstance(problem.forward, Convolution) or not (problem.refines or run.members):
            return
        if not run.looked_at_width:
            yield from self.look_at_width()
        if run.width is not None and run.width.is_used:
            self.problem = self.mixture.problem = widened(problem, run.width.factor)

    def look_at_width(self) -> Iterator[Progress]:
        run, problem = self.run, self.problem.to(devices.closed_form(self.run.device))
        run.width = yield from self.followed(told_width(problem, run.seed))
        run.looked_at_width = not run.control.is_stopped and not run.is_late
        if not problem.refines or not run.looked_at_width:
            return
        if run.width is not None and run.width.is_told:
            run.width = dataclasses.replace(run.width, is_used=True)
        elif run.width is None or not run.width.is_at_end:
            run.remarks["The PSF was not refined: the image does not tell its width"] = None

    def followed(self, work: Making[T | None]) -> Generator[Progress, None, T | None]:
        """Yield progress while something is made, and return it; a stop ends the making."""
        run, record = self.run, Fit(self.frame)
        while not run.control.is_stopped and not run.is_late:
            try:
                share = next(work)
            except StopIteration as end:
                made: T | None = end.value
                return made
            yield from self.report(
                "preparing", record, step=0, expected=run.rule.floor, score=None, prepared=share or 0.0
            )
        return None

    def joint_gains(self) -> Generator[Progress, None, tuple[float, ...]]:
        """Yield while it is found out how much the channels gain from each other, in standard errors, and return it."""
        run = self.run
        hidden, _ = run.rule.start(self.problem, run.seed)
        place = devices.closed_form(run.device)
        work = joint_gains(self.problem.to(place), hidden.to(place), run.seed)
        return (yield from self.followed(work)) or ()

    # ------------------------------------------------------------------ what there is so far

    @property
    def fits(self) -> list[Fit]:
        mixture = self.mixture
        near = reach(mixture.pilot.noise.correlation if mixture.pilot else None)
        weights = mixture.weights()
        return [
            dataclasses.replace(
                member.fit,
                share=share,
                pilot=weights,
                collaborative=mixture.pilot.collaborative if mixture.pilot else 0.0,
                reach=near,
                clipped=mixture.clipping is not None,
                noise=self.noise,
                residual=self.residual,
                no_std=mixture.no_std,
                gains=self.gains,
                misfit=self.misfit,
                psf=self.run.width,
                stripes=self.stripes,
                lost=self.lost,
                given_back=self.given_back,
            )
            for member, share in mixture.shares()
        ]

    def image(self) -> Array:
        """Return the frame as it is now, for a preview."""
        return self.run.assembly.preview(self.frame, self.problem.field(self.mixture.estimate()))

    def restored(self) -> Restored:
        run, mixture = self.run, self.mixture
        if not mixture.begun:
            return Restored(mixture.estimate(), self.problem, self.problem.forward)
        mean, self.lost = mixture.made_up()
        if self.remainder is not None:
            mean, self.given_back = self.remainder.given_back(mean, mixture.unseen())
        first = mixture.members[0]
        forward = first.forward if mixture.clipping is None else mixture.clipping.expected
        std, draws = mixture.uncertainty(mean, run.draws, run.seed)
        return Restored(mixture.undone(mean), self.problem, forward, dict(first.snapshots), std, draws)

    def check(self, restored: Restored) -> None:
        """Find out what the residual says, where the known pixels were restored and their noise can be told."""
        run, problem, known = self.run, self.problem, self.problem.known()
        if run.task.keeps_known or not problem.is_image or not problem.is_judged_by_pixels:
            return
        with torch.no_grad():
            predicted = restored.predicted().to(problem.y.device)
        if problem.forward is not identity:
            difference = self.scale.undo_difference((problem.y - predicted).cpu().numpy())
            pairs = zip(np.square(difference), known.cpu().numpy(), strict=True)
            self.misfit = tuple(float(np.sqrt(squares[sure].mean())) if sure.any() else 0.0 for squares, sure in pairs)
        noise = self.mixture.pilot.noise if self.mixture.pilot else problem.noise or estimate_noise(problem.y, known)
        noisy = None if noise is None else noise.mean > LEAST_NOISE  # of each channel
        if noise is None or noisy is None or not bool(noisy.any()):
            return
        self.noise = record_of(noise, offset=self.scale.offset, gain=self.scale.gain, source=self.noise_source)
        if self.scale.curves:
            light = self.scale.undo(predicted.cpu().numpy())
            self.noise = unstretched(self.noise, self.scale.curves, light, known.cpu().numpy())
        chosen = noisy.to(problem.y.device)
        self.residual = check_residual(problem.y[chosen], predicted[chosen], known[chosen], noise.of_channels(noisy))

    @property
    def stripes(self) -> float | None:
        """Root mean square of the offsets that were taken off, in the image's units."""
        if self.problem.removed is None:
            return None
        removed = self.scale.undo_difference(self.problem.removed.cpu().numpy())
        return float(np.sqrt(np.square(removed.reshape(len(removed), -1)).mean(1)).max())

    @property
    def noise_source(self) -> str:
        if self.problem.noise is None:
            return "told from the image"
        series = self.run.series
        return "given" if series is None else f"told from {series.frames} frames"

    def restoration(self) -> Restoration:
        run = self.run
        if self.is_done:
            return run.result(run.assembly, fits=run.fits)
        so_far = run.assembly.with_frame(self.frame, self.restored())  # which finds out what the fits' records tell
        fits = self.fits or [Fit(self.frame)]
        return run.result(so_far, fits=[*run.fits, *fits], under_way=self.state)

    def followed_by(self, taken: Step) -> Iterator[Progress]:
        """Yield the progress that a member's step is: told of the first one that goes on, or else the last."""
        begun = self.mixture.begun
        ahead = [member.expected for member in begun]
        expected = sum(ahead) + (len(self.mixture.members) - len(begun)) * ahead[-1]  # those to come like the last one
        leader = next((member for member in begun if not member.is_done), begun[-1])
        self.phase = taken.phase if leader is taken.member else self.phase
        score = taken.score if leader is taken.member else None
        self.steps[taken.member.fit.member] = taken.steps
        return self.report(self.phase, leader.fit, step=sum(self.steps.values()), expected=expected, score=score)

    def report(
        self, phase: Phase, fit: Fit, *, step: int, expected: int, score: float | None, prepared: float = 1.0
    ) -> Iterator[Progress]:
        """Yield the progress of a step, and while the run is paused a sign of life now and then."""
        run = self.run
        if phase != "preparing":
            run.clock.append(time.perf_counter())
            run.taken += 1
        position, count = run.frames.index(self.frame), len(run.frames)
        where = f", frame {position + 1:,} of {count:,}" if count > 1 else ""
        so_far = "" if phase == "preparing" else f": step {step:,} of about {max(step, expected):,}"
        self.state = f"under way{where}, {phase}{so_far}"
        now = Progress(
            phase=phase,
            frame=position,
            frames=count,
            step=step,
            expected=max(step, expected),
            prepared=prepared,
            rate=run.rate,
            score=score,
            fit=fit,
            where=run.axes.where(self.frame),
            _image=self.image,
            _restoration=self.restoration,
        )
        yield now
        while run.control.is_paused and not run.control.is_stopped:
            time.sleep(HEARTBEAT)
            yield dataclasses.replace(now, phase="paused", rate=0.0, score=None)
