"""How an image is restored, under one name: what is fitted, beside which pilot, and when a fit ends."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated

from napari_dip.engine.fields import Checked
from napari_dip.engine.networks import Decoder, Network, Skip
from napari_dip.engine.prior import Coordinates, Guide, Noise, Prior
from napari_dip.engine.stopping import HeldOut, StoppingRule
from napari_dip.engine.tasks import Task
from napari_dip.engine.uncertainty import why_no_std


@dataclass(frozen=True)
class Preset(Checked):
    """How an image is restored, under one name.

    Parameters
    ----------
    prior : Prior
        What is fitted where there is no pilot.
    starts : int
        How many times it is fitted there, each time from a start of its own; the result is their mean: chance differs
        between them, the truth does not. Only with `HeldOut` and for this package's own tasks, since of another
        operator two images may both be right and their mean wrong; and not where a hole to be filled is wide: what was
        invented must not be averaged.
    stop : StoppingRule, optional
        When a fit ends; None: by the task's own rule.
    wide : Prior
        What is fitted instead where a hole to be filled is wide: without skip connections and with the coordinates
        before its eyes, a network goes on with what lies around (the recipe for regions of Ulyanov et al. 2018).
    members : tuple of Prior
        Where the noise can be told from the image, a closed-form pilot (NL-Ridge) is made first. Then these are
        fitted instead of `prior`, each from a start of its own and to the pilot as guide if its source takes one;
        their mean and the pilot are joined with the weights of least held-out risk. Empty: no pilot.
    passes : int
        Of the pilot over the image: more take longer and make it better.
    collaborative : bool
        Whether the pilot is the mean of two denoisers in closed form, collaborative filtering (BM3D) beside NL-Ridge:
        nearer to the truth, and half as long again. Not where noise is correlated from pixel to pixel.
    usual : float
        The pilot's weight beside the members where held-out pixels tell nothing: what is best in the mean.
    most : int, optional
        Steps of each member at most, before its last phase: the pilot brings the detail that a fit learns late.
    narrower : int
        In volumes its networks have so many times fewer channels: there a convolution has three times the weights.
    """

    name: str
    prior: Prior = field(default_factory=Prior)
    starts: Annotated[int, {"min": 1}] = 1
    stop: StoppingRule | None = None
    wide: Prior = field(default_factory=lambda: Prior(Skip(skip=0, upsampling="nearest"), Coordinates()))
    members: tuple[Prior, ...] = ()
    passes: int = 2
    collaborative: bool = False
    usual: Annotated[float, {"min": 0, "max": 1}] = 0.7
    most: int | None = None
    narrower: Annotated[int, {"min": 1}] = 2

    @property
    def no_std(self) -> str:
        """Why no standard deviation can be given with it, whatever the image, in words; empty: it can."""
        return why_no_std(len(self.members), has_pilot=bool(self.members))


def choose_preset(preset: Preset | str) -> Preset:
    """Return what was asked for, a preset or its name, as a preset."""
    if isinstance(preset, Preset):
        return preset
    for one in PRESETS:
        if one.name == preset:
            return one
    raise ValueError(f"There is no preset {preset!r}; there are: {', '.join(one.name for one in PRESETS)}")


def guided(preset: Preset) -> Preset:
    """Return the preset with networks that see the task's image instead of noise alone."""

    def seeing(prior: Prior) -> Prior:
        return dataclasses.replace(prior, source=Guide()) if isinstance(prior.source, Noise) else prior

    return dataclasses.replace(preset, prior=seeing(preset.prior), members=tuple(map(seeing, preset.members)))


def in_volume(preset: Preset) -> Preset:
    """Return the preset with the networks that it has in volumes."""

    def narrowed(prior: Prior) -> Prior:
        return dataclasses.replace(prior, network=_narrowed(prior.network, preset.narrower))

    prior, wide, members = narrowed(preset.prior), narrowed(preset.wide), tuple(map(narrowed, preset.members))
    return dataclasses.replace(preset, prior=prior, wide=wide, members=members)


def _narrowed(network: Network, times: int) -> Network:
    """Return a network with so many times fewer channels; one that is not this package's is left as it is."""
    if isinstance(network, Decoder):
        return dataclasses.replace(network, width=max(1, network.width // times))
    if not isinstance(network, Skip):
        return network
    up = tuple(max(1, n // times) for n in network.up) if isinstance(network.up, tuple) else max(1, network.up // times)
    return dataclasses.replace(network, down=tuple(max(1, n // times) for n in network.down), up=up)


def choose_rule(stop: StoppingRule | None, preset: Preset, task: Task) -> StoppingRule:
    """Return the rule that a run ends by: what was asked for, else the preset's, unless the task has none of its kind.

    A preset's rule is a shorter one of those that hide pixels; a task that cannot hide any has its own.
    """
    hides = isinstance(task.stop, HeldOut)
    return stop or (preset.stop if hides else None) or task.stop


_GUIDED = Prior(network=Skip(down=(32,) * 5, up=32), source=Guide())
_SMALL = Prior(network=Skip(down=(32,) * 5, up=32))
_SMALL_WIDE = Prior(network=Skip(down=(32,) * 5, up=32, skip=0, upsampling="nearest"), source=Coordinates())
PRESETS = (
    Preset(
        "quick",
        _SMALL,
        stop=HeldOut(floor=100, ceiling=600, patience=50),
        wide=_SMALL_WIDE,
        members=(_GUIDED,),
        passes=1,
        collaborative=True,
        usual=0.9,
        most=100,
    ),
    Preset("standard", starts=2, members=(_GUIDED, _SMALL), collaborative=True, most=500),
    Preset("best", starts=4, members=(_GUIDED, _GUIDED, _SMALL, Prior()), collaborative=True, most=3000),
    Preset("plain"),
)
