"""Networks whose structure is the prior, in 2-D and 3-D: frozen descriptions that build modules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dip.engine.controlled import KAIMING, Cap, Centre, GaussianUp, SpectralControl, at_level, tell_norms
from napari_dip.engine.fields import Checked
from napari_dip.engine.modules import Conv, Double, Factors, Norm, cut, joined

SMALLEST_MAP = 4  # px a side of the deepest feature map; below this a level only blurs
LIKE = math.sqrt(2)  # an axis whose voxels are so many times as large as the finest is not halved with it

T = TypeVar("T")
Mode = Literal["linear", "nearest"]
Control = Annotated[SpectralControl | None, {"tooltip": "Keeps the network from fine detail; auto: nothing does"}]


class Network(Protocol):
    """What every network of this file is: a description that builds a module."""

    def build(self, inputs: int, outputs: int, spatial: tuple[int, ...], spacing: tuple[float, ...] = ()) -> nn.Module:
        """Return an uninitialised module on the meta device.

        Parameters
        ----------
        inputs, outputs : int
            Channels of the network's input z and of the image.
        spatial : tuple of int
            Size of the image, (Y, X) or (Z, Y, X): how deep the network can be.
        spacing : tuple of float
            Size of a voxel along each of these axes, in one unit; empty: alike along all.

        Returns
        -------
        nn.Module
            Maps (N, inputs, *spatial) to (N, outputs, *spatial).
        """
        ...


@dataclass(frozen=True)
class Skip(Checked):
    """The hourglass with thin skip connections of Ulyanov et al. 2018, supplementary material.

    Every level halves the image (rounding up), convolves once more, hands on to the next level, doubles the
    answer and joins it to a 1x1 projection of its own input. Options given as one value hold for all levels;
    a tuple has one per level, the finest first. Which axes a level halves, `halvings` says.
    """

    down: tuple[int, ...] = (64, 64, 64, 64, 64)
    up: int | tuple[int, ...] = 64
    skip: int | tuple[int, ...] = 4
    kernel_down: int | tuple[int, ...] = 3
    kernel_up: int | tuple[int, ...] = 3
    upsampling: Mode | tuple[Mode, ...] = "linear"
    downsampling: Literal["stride", "average"] = "stride"
    padding: Literal["zeros", "reflect"] = "zeros"
    slope: Annotated[float, {"min": 0.0, "max": 1.0, "tooltip": "Of the leaky ReLU below zero"}] = 0.2
    mix: Annotated[bool, {"tooltip": "A 1x1 convolution after each level's upward one"}] = True
    sigmoid: Annotated[bool, {"tooltip": "Bends the output into the image's range"}] = False
    control: Annotated[
        SpectralControl | None, {"tooltip": "Keeps the network from fine detail; auto: nothing does"}
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("up", "skip", "kernel_down", "kernel_up", "upsampling"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.down):
                raise ValueError(f"Skip.{name} has {len(value)} values for {len(self.down)} levels")
        if not self.down:
            raise ValueError("Skip.down is empty: a network needs at least one level")

    @classmethod
    def published(cls) -> Skip:
        """Return the network of the denoising and super-resolution experiments of Ulyanov et al. 2018."""
        return cls(down=(128,) * 5, up=128, skip=4, padding="reflect", sigmoid=True)

    def build(self, inputs: int, outputs: int, spatial: tuple[int, ...], spacing: tuple[float, ...] = ()) -> nn.Module:
        levels = halvings(spatial, spacing)[: len(self.down)]
        with torch.device("meta"):
            return _Hourglass(self, inputs=inputs, outputs=outputs, ndim=len(spatial), levels=levels)


def halvings(spatial: tuple[int, ...], spacing: tuple[float, ...] = ()) -> list[Factors]:
    """Return which axes each level of a network halves, the finest level first.

    Those whose voxels are about as small as the smallest, so that voxels become cubes on the way down and the network
    sees about as far along every axis. No axis is halved to under `SMALLEST_MAP` pixels: in a plane the levels end
    there, in a volume, which may have few planes, the other axes go on.

    Parameters
    ----------
    spatial : tuple of int
        Size of the image.
    spacing : tuple of float
        Size of a voxel along each axis, in one unit; empty: alike along all.
    """
    sizes, voxels = tuple(map(float, spatial)), spacing or (1.0,) * len(spatial)
    found: list[Factors] = []
    while True:
        long = [size >= 2 * SMALLEST_MAP for size in sizes]
        if not any(long) or (len(sizes) == 2 and not all(long)):
            return found
        finest = min(voxel for voxel, is_long in zip(voxels, long, strict=True) if is_long)
        factors = tuple(1 + (is_long and voxel < LIKE * finest) for voxel, is_long in zip(voxels, long, strict=True))
        found.append(factors)
        sizes = tuple(size / factor for size, factor in zip(sizes, factors, strict=True))
        voxels = tuple(voxel * factor for voxel, factor in zip(voxels, factors, strict=True))


def allocate(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a module from the meta device with memory for its weights, which are not drawn yet.

    `Module.to_empty` does the same, but loads a computer algebra system for it, which takes seconds.
    """
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device=device)))
        for name, values in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(values.shape, dtype=values.dtype, device=device))
    return module


def initialise(module: nn.Module, generator: torch.Generator, device: torch.device) -> nn.Module:
    """Return the module on `device`, its weights drawn as PyTorch draws them but from `generator` alone.

    Weights are drawn on the CPU, so that a seed starts from the same network on every device.
    """
    allocate(module, torch.device("cpu"))
    for part in module.modules():
        if isinstance(part, Conv):
            bound = 1 / math.sqrt(part.weight[0].numel())
            with torch.no_grad():
                part.weight.uniform_(-part.gain * bound, part.gain * bound, generator=generator)
                part.bias.uniform_(-bound, bound, generator=generator)
            if part.cap is not None:
                part.cap.start(part.weight, generator)
        elif isinstance(part, Centre):
            nn.init.zeros_(part.bias)
        elif isinstance(part, Norm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif list(part.parameters(recurse=False)):
            raise TypeError(f"{type(part).__name__} has parameters of its own: build networks of Conv, Norm and Centre")
    if any(isinstance(part, Cap) for part in module.modules()):
        module.register_forward_pre_hook(_tell_norms)
    return module.to(device)


def _tell_norms(module: nn.Module, inputs: Any) -> None:
    """Before each pass of a network, tell its caps what they are to divide by."""
    convs = (part for part in module.modules() if isinstance(part, Conv))
    tell_norms((part.cap, part.weight) for part in convs if part.cap is not None)


@dataclass(frozen=True)
class Decoder(Checked):
    """The way up alone, from a small random input: the network of Shi et al. 2022, without its control.

    At each of `depth` levels maps are doubled and convolved twice. The input is taken at the deepest level's size:
    of a larger z, such as `Fourier` draws, the pixels nearest to it.
    """

    width: Annotated[int, {"min": 1, "tooltip": "Channels of every layer"}] = 64
    depth: Annotated[int, {"min": 1, "tooltip": "How often maps are doubled"}] = 5
    upsampling: Mode | tuple[Mode, ...] = "linear"
    padding: Literal["zeros", "reflect"] = "zeros"
    slope: Annotated[float, {"min": 0.0, "max": 1.0, "tooltip": "Of the leaky ReLU below zero"}] = 0.01
    sigmoid: Annotated[bool, {"tooltip": "Bends the output into the image's range"}] = False
    control: Annotated[
        SpectralControl | None, {"tooltip": "Keeps the network from fine detail; auto: nothing does"}
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.upsampling, tuple) and len(self.upsampling) != self.depth:
            raise ValueError(f"Decoder.upsampling has {len(self.upsampling)} values for {self.depth} levels")

    @classmethod
    def published(cls, bound: float = 1.4) -> Decoder:
        """Return the network of the denoising and deblocking experiments of Shi et al. 2022, with its bound."""
        return cls(width=128, padding="reflect", sigmoid=True, control=SpectralControl(bound))

    def build(self, inputs: int, outputs: int, spatial: tuple[int, ...], spacing: tuple[float, ...] = ()) -> nn.Module:
        levels = halvings(spatial, spacing)[: self.depth]
        with torch.device("meta"):
            return _Up(self, inputs=inputs, outputs=outputs, ndim=len(spatial), levels=levels)


class _Up(nn.Module):
    def __init__(self, spec: Decoder, *, inputs: int, outputs: int, ndim: int, levels: list[Factors]):
        super().__init__()
        self.levels = levels
        self.start = self.pair(spec, inputs, ndim=ndim, level=len(levels))
        self.doubles = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for level in reversed(range(len(levels))):
            self.doubles.append(_doubling(_level(spec.upsampling, level), spec.control, level, levels[level]))
            self.blocks.append(self.pair(spec, spec.width, ndim=ndim, level=level))
        self.head = _head(spec.width, outputs, control=spec.control, ndim=ndim)
        self.sigmoid = spec.sigmoid

    @staticmethod
    def pair(spec: Decoder, inputs: int, *, ndim: int, level: int) -> nn.Sequential:
        first = _block(inputs, spec.width, 3, spec=spec, ndim=ndim, level=level)
        return first.extend(_block(spec.width, spec.width, 3, spec=spec, ndim=ndim, level=level))

    def forward(self, z: Tensor) -> Tensor:
        sizes = [tuple(z.shape[2:])]
        for factors in self.levels:
            sizes.append(tuple(-(-n // factor) for n, factor in zip(sizes[-1], factors, strict=True)))
        x = self.start(F.interpolate(z, sizes.pop(), mode="nearest"))
        for double, block in zip(self.doubles, self.blocks, strict=True):
            x = block(cut(double(x), sizes.pop()))
        x = self.head(x)
        return torch.sigmoid(x) if self.sigmoid else x / 4 + 0.5


class _Hourglass(nn.Module):
    def __init__(self, spec: Skip, *, inputs: int, outputs: int, ndim: int, levels: list[Factors]):
        super().__init__()
        body: nn.Module = nn.Identity()
        width = _level(spec.up, 0) if levels else spec.down[0]
        if levels:
            body = _Level(spec, 0, inputs=inputs, ndim=ndim, levels=levels)
        else:
            body = _block(inputs, width, 3, spec=spec, ndim=ndim, level=0)
        self.body = body
        self.head = _head(width, outputs, control=spec.control, ndim=ndim)
        self.sigmoid = spec.sigmoid

    def forward(self, z: Tensor) -> Tensor:
        x = self.head(self.body(z))
        # without the sigmoid its tangent at the centre: starts and learns as fast, and bends nothing
        return torch.sigmoid(x) if self.sigmoid else x / 4 + 0.5


class _Level(nn.Module):
    def __init__(self, spec: Skip, level: int, *, inputs: int, ndim: int, levels: list[Factors]):
        super().__init__()
        width, up, skip = spec.down[level], _level(spec.up, level), _level(spec.skip, level)
        kernel = _level(spec.kernel_down, level)
        last = level + 1 == len(levels)
        self.down = nn.Sequential(
            *_halve(inputs, width, kernel, spec=spec, level=level, factors=levels[level]),
            *_block(width, width, kernel, spec=spec, ndim=ndim, level=level),
        )
        self.deeper = nn.Identity() if last else _Level(spec, level + 1, inputs=width, ndim=ndim, levels=levels)
        self.skip = _block(inputs, skip, 1, spec=spec, ndim=ndim, level=level) if skip else None
        deep = width if last else _level(spec.up, level + 1)
        self.norm = _norm(skip + deep, spec)
        self.up = _block(skip + deep, up, _level(spec.kernel_up, level), spec=spec, ndim=ndim, level=level)
        if spec.mix:
            self.up.extend(_block(up, up, 1, spec=spec, ndim=ndim, level=level))
        self.doubling = _doubling(_level(spec.upsampling, level), spec.control, level, levels[level])

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        deep = cut(self.doubling(self.deeper(self.down(x))), size)
        maps = [deep] if self.skip is None else [self.skip(x), deep]
        return self.up(self.norm(*maps) if isinstance(self.norm, Norm) else self.norm(joined(*maps)))  # type: ignore[no-any-return]


def _block(inputs: int, outputs: int, kernel: int, *, spec: Skip | Decoder, ndim: int, level: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(inputs, outputs, kernel, spec=spec, ndim=ndim, level=level),
        _norm(outputs, spec),
        nn.LeakyReLU(spec.slope, inplace=True),
    )


def _halve(inputs: int, outputs: int, kernel: int, *, spec: Skip, level: int, factors: Factors) -> Iterable[nn.Module]:
    ndim, stride = len(factors), factors if spec.downsampling == "stride" else 1
    yield _conv(inputs, outputs, kernel, spec=spec, ndim=ndim, level=level, stride=stride)
    if spec.downsampling == "average":
        yield (nn.AvgPool2d if ndim == 2 else nn.AvgPool3d)(factors, ceil_mode=True)  # type: ignore[arg-type]
    yield _norm(outputs, spec)
    yield nn.LeakyReLU(spec.slope, inplace=True)


def _norm(channels: int, spec: Skip | Decoder) -> nn.Module:
    return Norm(channels) if spec.control is None else Centre(channels)


def _conv(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    spec: Skip | Decoder,
    ndim: int,
    level: int,
    stride: int | Factors = 1,
) -> Conv:
    if (control := spec.control) is None:
        return Conv(inputs, outputs, kernel, ndim=ndim, stride=stride, padding=spec.padding)
    bound = at_level(control.bound, level)
    return Conv(
        inputs, outputs, kernel, ndim=ndim, stride=stride, padding=spec.padding, bound=bound, exact=control.exact,
        adapts=control.adapt, gain=KAIMING,
    )  # fmt: skip


def _head(inputs: int, outputs: int, *, control: SpectralControl | None, ndim: int) -> Conv:
    if control is None:
        return Conv(inputs, outputs, 1, ndim=ndim)
    return Conv(inputs, outputs, 1, ndim=ndim, bound=control.head, exact=control.exact)


def _doubling(upsampling: str, control: SpectralControl | None, level: int, factors: Factors) -> nn.Module:
    sigma = None if control is None else at_level(control.sigma, level)
    return Double(_interpolation(upsampling, len(factors)), factors) if sigma is None else GaussianUp(sigma, factors)


def _interpolation(upsampling: str, ndim: int) -> str:
    return upsampling if upsampling == "nearest" else {2: "bilinear", 3: "trilinear"}[ndim]


def _level(value: T | tuple[T, ...], level: int) -> T:
    return value[level] if isinstance(value, tuple) else value


NETWORKS = (Skip, Decoder)
