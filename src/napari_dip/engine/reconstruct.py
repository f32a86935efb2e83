"""Any operator: an image from data that need be no image, through a forward model that the user brings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_dip.engine.blocks import Axes, name_axes
from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.outcome import Control, Progress, Restoration
from napari_dip.engine.presets import Preset
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Array, Mask, Problem
from napari_dip.engine.restore import iter_restore
from napari_dip.engine.stopping import HeldOut, StoppingRule

Forward = Callable[[Tensor], Tensor]
Span = tuple[float, float]


def reconstruct(
    y: Any,
    forward: Forward,
    shape: tuple[int, ...],
    *,
    is_linear: bool = True,
    span: Span | None = None,
    floor: float | None = None,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
    prior: Prior | None = None,
    stop: StoppingRule | None = None,
    preset: Preset | str = "standard",
    device: str = "auto",
    seed: int = 0,
    keep_every: int = 0,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    max_memory: float | None = None,
    tile: int | None = None,
    control: Control | None = None,
) -> Restoration:
    """Return the image that data come from: `iter_reconstruct`, which describes the parameters, run to its end."""
    progress = None
    for progress in iter_reconstruct(  # noqa: B007
        y, forward, shape, is_linear=is_linear, span=span, floor=floor, axes=axes, spacing=spacing, prior=prior,
        stop=stop, preset=preset, device=device, seed=seed, keep_every=keep_every, max_steps=max_steps,
        max_seconds=max_seconds, max_memory=max_memory, tile=tile, control=control,
    ):  # fmt: skip
        pass
    assert progress is not None  # noqa: S101  a run takes at least one step
    return progress.restoration()


def iter_reconstruct(
    y: Any,
    forward: Forward,
    shape: tuple[int, ...],
    *,
    is_linear: bool = True,
    span: Span | None = None,
    floor: float | None = None,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
    prior: Prior | None = None,
    stop: StoppingRule | None = None,
    preset: Preset | str = "standard",
    device: str = "auto",
    seed: int = 0,
    keep_every: int = 0,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    max_memory: float | None = None,
    tile: int | None = None,
    control: Control | None = None,
) -> Iterator[Progress]:
    """Return an iterator over a reconstruction's progress, one per optimiser step; the last one has the result.

    Parameters
    ----------
    y : array-like
        The data, of any shape, real or complex; NaN and infinity are missing. Every element counts alike.
    forward : callable
        Maps an image, a float32 tensor of `shape` in the image's own units, to a tensor shaped as y; differentiable.
        Constants of its own must follow the image to its device. Parameters of an ``nn.Module`` that require a
        gradient are fitted too: freeze those of a trained network.
    shape : tuple of int
        Of the image.
    is_linear : bool
        Whether `forward` is linear, or linear and an offset: an estimate of least total variation then shows the
        network the way.
    span : (float, float), optional
        Between which values most of the image lies. None: of a linear operator, from 0 to twice the value of the
        constant image that explains y best.
    floor : float, optional
        No pixel of the image is lower.
    axes : str, optional
        A letter for each axis of the image: Y, X, Z spatial, C channels, S colours. None: YX or YXS.
    spacing, prior, stop, preset, device, seed, keep_every, max_steps, max_seconds, max_memory, tile, control
        As of `iter_restore`.

    Returns
    -------
    iterator of Progress
        Of the result, `residual` is shaped as y.

    Raises
    ------
    ValueError, TypeError
        At once, when data, operator and shape do not go together.
    """
    layout = name_axes(axes, tuple(shape))
    if layout.is_colour and layout.channels < layout.size("S"):  # the last one would be opacity
        layout = dataclasses.replace(layout, letters=layout.letters.replace("S", "C"))
    if layout.repeated:
        raise ValueError(f"axes={layout.letters!r}: an image has Y, X, Z, and C or S; call once for each other index")
    data = _Data.of(y)
    predicted = _predicted(forward, torch.zeros(layout.shape), data)
    low, high = _span(forward, predicted, data, layout) if span is None else span
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"span = {span} must be two finite numbers, the lower one first")
    task = Reconstruct(data, forward, layout, (float(low), float(high)), floor, is_linear)
    progress = iter_restore(
        task.blank(), task, prior, stop, preset=preset, axes=layout.letters, spacing=spacing, device=device, seed=seed,
        keep_every=keep_every, max_steps=max_steps, max_seconds=max_seconds, max_memory=max_memory, tile=tile,
        control=control,
    )  # fmt: skip
    return (dataclasses.replace(one, _restoration=_with_residual(one, task)) for one in progress)


@dataclass(frozen=True, eq=False)
class _Data:
    """Data as real numbers in a row, and how they were."""

    values: Tensor  # (n,), 0 where missing
    known: Tensor  # (n,)
    shape: tuple[int, ...]
    is_complex: bool

    @classmethod
    def of(cls, y: Any) -> _Data:
        array = np.asarray(y)
        if array.dtype.kind not in "biufc" or not array.size:
            raise TypeError(f"The data have type {array.dtype} and shape {array.shape}: they must be numbers")
        values = torch.from_numpy(array.astype(np.complex64 if array.dtype.kind == "c" else np.float32))
        flat = row(values)
        known = torch.isfinite(flat)
        if not bool(known.any()):
            raise ValueError("No element of the data is finite")
        return cls(torch.where(known, flat, 0), known, array.shape, values.is_complex())

    def image(self, flat: Tensor) -> Array:
        """Return a row of real numbers with the data's shape and type, NaN where they are missing."""
        values = torch.where(self.known, flat.cpu(), torch.nan)
        if self.is_complex:
            values = torch.view_as_complex(values.reshape(-1, 2))
        return values.reshape(self.shape).numpy()


def row(values: Tensor) -> Tensor:
    """Return real numbers in a row, of complex ones the real and the imaginary part in turn."""
    return (torch.view_as_real(values) if values.is_complex() else values.float()).reshape(-1)


@dataclass(frozen=True, eq=False)
class Reconstruct:
    """The task of `reconstruct`. It has no form and no flags: an operator is no setting."""

    done: ClassVar[str] = "reconstructed"
    align: ClassVar[tuple[int, ...]] = (1,)
    factors: ClassVar[tuple[float, ...]] = ()
    caution: ClassVar[str] = ""
    stop: ClassVar[StoppingRule] = HeldOut()
    noise: ClassVar[NoiseLaw | None] = None
    mask: ClassVar[Mask | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False
    denoises: ClassVar[bool] = False
    stabilises: ClassVar[bool] = False

    data: _Data
    forward: Forward
    axes: Axes
    span: Span
    floor: float | None
    is_linear: bool

    @property
    def strength(self) -> float:
        """Root mean square of the data: the network sees them at 1."""
        return float(self.data.values.square().sum().div(self.data.known.sum()).sqrt()) or 1.0

    def blank(self) -> Array:
        """Return an image that has just the span of the wanted one: what the run is scaled by."""
        return np.where(np.indices(self.axes.shape).sum(0) % 2, *self.span).astype(np.float32)

    def problem(self, y: Tensor) -> Problem:
        """Return the problem; y, the blank image, gives it its shape."""
        low, high = self.span
        begin = torch.zeros(())
        if self.is_linear:  # so that A is linear in the network's units too
            with torch.no_grad():
                begin = row(self.forward(torch.full(self.axes.shape, low)))
        forward = _Measured(self.forward, self.axes, (low, high), begin, self.strength)
        return Problem(
            ((self.data.values - begin) * self.data.known / self.strength)[None, None],
            shape=tuple(y.shape),
            forward=forward,
            is_image=False,
            is_linear=self.is_linear,
            weight=self.data.known.float()[None, None],
        )


class _Measured(nn.Module):
    """What the data would be, (1, 1, n), of an image in the network's units, (C, *spatial)."""

    begin: Tensor

    def __init__(self, forward: Forward, axes: Axes, span: Span, begin: Tensor, strength: float):
        super().__init__()
        self.operator = forward
        self.axes, self.span, self.strength = axes, span, strength
        self.register_buffer("begin", begin, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.span
        image = x[0] if self.axes.channel is None else x.movedim(0, self.axes.channel)
        data = row(self.operator(low + (high - low) * image))
        return ((data - self.begin) / self.strength)[None, None]


def _predicted(forward: Forward, image: Tensor, data: _Data) -> Tensor:
    """Return the data that an operator gives of an image, in a row, and refuse what does not fit them."""
    with torch.no_grad():
        found = forward(image)
    if not isinstance(found, Tensor):
        raise TypeError(f"forward gives {type(found).__name__}: it must give a tensor")
    if tuple(found.shape) != data.shape or found.is_complex() != data.is_complex:
        kinds = [f"{'complex' if is_complex else 'real'} {shape}" for is_complex, shape in
                 ((found.is_complex(), tuple(found.shape)), (data.is_complex, data.shape))]  # fmt: skip
        raise ValueError(f"forward gives {kinds[0]} of an image of shape {tuple(image.shape)}, the data are {kinds[1]}")
    with torch.enable_grad():
        if not forward(torch.zeros_like(image, requires_grad=True)).requires_grad:
            raise ValueError("forward cannot be differentiated: it must be made of torch's own functions")
    return row(found)


def _span(forward: Forward, dark: Tensor, data: _Data, axes: Axes) -> Span:
    """Return 0 and twice the value of the constant image that explains the data best."""
    with torch.no_grad():
        response = (row(forward(torch.ones(axes.shape))) - dark) * data.known
    power = float(response.square().sum())
    level = float(((data.values - dark) * response).sum()) / power if power > 0 else 0.0
    if not level > 0:
        raise ValueError("The brightness of the image cannot be told from the data: say its range, as span=(0, 1)")
    return 0.0, 2 * level


def _with_residual(progress: Progress, task: Reconstruct) -> Callable[[], Restoration]:
    def restoration() -> Restoration:
        result = progress.restoration()
        difference = torch.from_numpy(result.residual).flatten()
        return dataclasses.replace(result, residual=task.data.image(task.strength * difference))

    return restoration
