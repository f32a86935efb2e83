"""The published recipe in plain PyTorch, written from its description: what speed and quality are measured against.

D. Ulyanov, A. Vedaldi, V. Lempitsky, "Deep Image Prior", CVPR 2018, denoising at σ = 25: five levels of 128 channels,
skips of 4, reflection padding, batch normalisation, leaky ReLU 0.2, sigmoid; uniform z of 32 channels up to 0.1 with
fresh noise of 1/30 at every step; Adam 0.01 on the mean squared error; outputs averaged with 0.99. All in float32 and
contiguous memory, with modules, initialisation and optimiser as PyTorch has them.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from napari_dip.engine.networks import halvings

LEVELS, WIDTH, SKIP, INPUTS = 5, 128, 4, 32
AMPLITUDE, JITTER, LEARNING_RATE, AVERAGING = 0.1, 1 / 30, 0.01, 0.99
LOOK_EVERY = 10  # steps between looks at the loss: each waits for the device
TOLERANCE = 5.0  # dB: a worse fit than this is undone

Build = Callable[[int, int, tuple[int, ...]], nn.Module]
"""Makes the network of an image: channels of z, channels of the image, its (Y, X) or (Z, Y, X)."""


class Output(NamedTuple):
    """One step: how many were taken, and the averaged output, (C, *spatial)."""

    step: int
    average: Tensor


def hourglass(inputs: int, outputs: int, spatial: tuple[int, ...]) -> nn.Module:
    """Return the published network; in 3-D the same with 3-D layers, and less deep where the image is small."""
    ndim = len(spatial)
    head = _LAYERS[ndim][0](WIDTH, outputs, 1)
    return nn.Sequential(_Level(inputs, min(LEVELS, len(halvings(spatial))), ndim), head, nn.Sigmoid())


def reference(checkout: Path) -> Build:
    """Return the builder of the authors' own network, from a checkout of their code; for planes only."""
    if not (checkout / "models" / "skip.py").exists():
        raise ValueError(f"{checkout} has no models/skip.py: give the folder of a checkout of the published code")
    sys.path.insert(0, str(checkout))
    from models.skip import skip

    def build(inputs: int, outputs: int, spatial: tuple[int, ...]) -> nn.Module:
        levels = min(LEVELS, len(halvings(spatial)))
        network: nn.Module = skip(
            inputs, outputs, [WIDTH] * levels, [WIDTH] * levels, [SKIP] * levels, upsample_mode="bilinear",
            need_sigmoid=True, need_bias=True, pad="reflection", act_fun="LeakyReLU",
        )  # fmt: skip
        return network

    return build


def difference(one: nn.Module, other: nn.Module, z: Tensor) -> float:
    """Return how much the outputs of two networks differ at most, once the other has the weights of the one."""
    for source, target in zip(_layers(one, z), _layers(other, z), strict=True):
        target.load_state_dict({name: value.detach() for name, value in source.named_parameters()}, strict=False)
    with torch.no_grad():
        return float((one(z) - other(z)).abs().max())


def _layers(network: nn.Module, z: Tensor) -> list[nn.Module]:
    """Return the layers with weights by the shape of these, the size of their maps, and only then by when they run.

    It is open whether a skip or what it skips runs first.
    """
    found: list[tuple[list[int], nn.Module]] = []

    def note(layer: nn.Module, _: object, maps: Tensor) -> None:
        found.append(([*layer.get_parameter("weight").shape, 0, *maps.shape], layer))

    layers = [part for part in network.modules() if isinstance(getattr(part, "weight", None), nn.Parameter)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        network(z)
    for hook in hooks:
        hook.remove()
    return [layer for _, layer in sorted(found, key=lambda pair: pair[0])]


@dataclass(frozen=True)
class Recipe:
    """The published loop around a network."""

    build: Build = hourglass

    def iterates(self, y: Tensor, device: torch.device, seed: int = 0) -> Iterator[Output]:
        """Yield the steps of a fit to y, (C, *spatial), from 0 to 1, without end.

        A fit that got worse by `TOLERANCE` goes back to its last good weights, as published, though it looks at every
        tenth step only; the published loop measures three PSNRs on the host at every step, which this one does not.
        """
        y = y.to(device)[None]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = self.build(INPUTS, y.shape[1], tuple(y.shape[2:])).to(device)
            z = AMPLITUDE * torch.rand(1, INPUTS, *y.shape[2:])
        z, generator = z.to(device), torch.Generator(device).manual_seed(seed)
        noise, average = torch.empty_like(z), None
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        good, last, step = copy.deepcopy(network.state_dict()), float("inf"), 0
        while True:
            x = network(z + JITTER * noise.normal_(generator=generator))
            loss = nn.functional.mse_loss(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, x = step + 1, x.detach()
            average = x if average is None else AVERAGING * average + (1 - AVERAGING) * x
            if step % LOOK_EVERY == 0:
                value = float(loss.detach())
                if value <= last * 10 ** (TOLERANCE / 10):
                    good, last = copy.deepcopy(network.state_dict()), value
                else:
                    network.load_state_dict(good)
            yield Output(step, average[0])


class _Level(nn.Module):
    """Halves, convolves, hands on to the next level, doubles, and joins a thin projection of its own input."""

    def __init__(self, inputs: int, levels: int, ndim: int):
        super().__init__()
        self.down = nn.Sequential(*_block(inputs, WIDTH, 3, ndim, stride=2), *_block(WIDTH, WIDTH, 3, ndim))
        self.deeper = _Level(WIDTH, levels - 1, ndim) if levels > 1 else nn.Identity()
        self.upsample = nn.Upsample(scale_factor=2, mode={2: "bilinear", 3: "trilinear"}[ndim])
        self.skip = nn.Sequential(*_block(inputs, SKIP, 1, ndim))
        self.up = nn.Sequential(
            _LAYERS[ndim][1](SKIP + WIDTH), *_block(SKIP + WIDTH, WIDTH, 3, ndim), *_block(WIDTH, WIDTH, 1, ndim)
        )

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.up(torch.cat([self.skip(x), self.upsample(self.deeper(self.down(x)))], 1))
        return joined


_LAYERS = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}


def _block(inputs: int, outputs: int, kernel: int, ndim: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution, norm = _LAYERS[ndim]
    padding: Literal["reflect", "zeros"] = "reflect" if kernel > 1 else "zeros"  # reflecting no margin copies the maps
    convolve = convolution(inputs, outputs, kernel, stride, kernel // 2, padding_mode=padding)
    return convolve, norm(outputs), nn.LeakyReLU(0.2, inplace=True)
