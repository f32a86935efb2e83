"""How far the noise of an image reaches: its autocorrelation, told from the image alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LAGS = 3  # px: noise further apart is taken for independent
SIDE = 16  # px, of the blocks that are looked at
FEWEST = 24  # blocks of one intensity
MOST_LEVELS = 8  # intensities that are looked at
CALM, CALMER = 0.3, 0.1  # quantiles of the blocks of one intensity: most of the others have structure
WHITE = {8: (0.807, 0.629), 16: (0.905, 0.796)}  # both of white noise of variance 1, by side, simulated (tests/engine)
RATIO = 2.2  # of the power in means of 2 x 2 px to that of white noise: more, or less than 1 / this, is correlated
FAR_RATIO = 10.0  # the same where the detail is common to all channels, as structure's is
COMMON = 0.5  # mean correlation of two channels' detail from which on it is common to them
UNEVEN = 1.08  # growth of that power from quantile to quantile, relative to noise's: more is structure
UNSTEADY = 0.35  # deviation of the ratio from intensity to intensity, relative to its mean: more is structure
PEAKED = 3.12  # fourth moment of that detail in calm blocks, relative to the squared power: more is structure
EVEN_SIDE = 512  # px: of a larger plane the middle is looked at for an even field
MOST_EVEN = (1.75, 1.6)  # growth of the power of means from 4 to 8 px and from 8 to 16 px: more is structure
NORMAL = 0.3  # by which the fourth moment of an even field differs from 3, at most
TOGETHER = 1.3  # of the power in means of 2 x 2 px to that of pixels in an even field: more, or less than 1 / this
LOW = 0.25  # quantile of the intensities' autocorrelations: structure adds to some of them
LEAST = 0.05  # smaller correlations are taken for zero
NEAR = 0.2  # pixels with at least this correlation tell of each other's noise


def high_pass(order: int) -> Tensor:
    """Return a filter, (order + 1,), that removes polynomials of a lower order and keeps white noise as strong."""
    row = torch.tensor([(-1.0) ** at * math.comb(order, at) for at in range(order + 1)])
    return row / row.square().sum().sqrt()


HIGH_PASS = high_pass(2)  # along both axes


class Blocks(NamedTuple):
    """The wholly known blocks of an image, (blocks,) each."""

    mean: Tensor  # intensity
    power: Tensor  # mean squared high-pass value
    fourth: Tensor  # mean fourth power of it

    def levels(self, count: int) -> list[Blocks]:
        """Return the blocks of each of so many intensities, the calmest first."""
        parts = []
        for chunk in self.mean.argsort().tensor_split(count):
            order = chunk[self.power[chunk].argsort()]
            parts.append(Blocks(self.mean[order], self.power[order], self.fourth[order]))
        return parts


def blocks_of(
    channel: Tensor, known: Tensor, side: int, row: Tensor = HIGH_PASS, column: Tensor | None = None
) -> Blocks:
    """Return the blocks, of so many pixels a side, of the planes of a channel, filtered along both axes."""
    column = row if column is None else column  # as long
    planes = channel.reshape(-1, 1, *channel.shape[-2:]).float()
    whole = whole_blocks(known, side, len(row))
    if not whole.numel():
        return Blocks(torch.empty(0), torch.empty(0), torch.empty(0))
    power = F.conv2d(F.conv2d(planes, row.view(1, 1, 1, -1)), column.view(1, 1, -1, 1)).square()
    found = (F.avg_pool2d(t, side)[whole] for t in (power, power.square()))
    return Blocks(block_means(channel, known, side, len(row)), *found)


def block_means(channel: Tensor, known: Tensor, side: int, taps: int) -> Tensor:
    """Return the means of the same blocks alone, (blocks,), of a filter of so many taps."""
    planes, margin = channel.reshape(-1, 1, *channel.shape[-2:]).float(), taps // 2
    whole = whole_blocks(known, side, taps)
    inside = F.pad(planes, (-margin,) * 4)
    return F.avg_pool2d(inside, side)[whole] if whole.numel() else torch.empty(0)


def whole_blocks(known: Tensor, side: int, taps: int) -> Tensor:
    """Return which blocks are wholly known, with the margin that a filter needs, (N, 1, rows, columns)."""
    sure = known.reshape(-1, 1, *known.shape[-2:]).float()
    if min(sure.shape[2:]) < side + taps - 1:
        return torch.zeros(len(sure), 1, 0, 0, dtype=torch.bool)
    return -F.max_pool2d(-sure, side + taps - 1, side) > 0


def coarse(channel: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return twice the means of 2 x 2 px, in which white noise keeps its variance, and 1 where all of them are known.

    Both are (N, 1, Y // 2, X // 2).
    """
    planes, sure = (t.reshape(-1, 1, *t.shape[-2:]).float() for t in (channel, known))
    return 2 * F.avg_pool2d(planes, 2), (F.avg_pool2d(sure, 2) > 1 - 1e-4).float()


def autocorrelation(y: Tensor, known: Tensor) -> Tensor | None:
    """Return the autocorrelation of an image's noise, or None where it is white or cannot be told.

    Correlated noise and fine structure both have less power in the finest detail than in means of 2 x 2 px. Noise is
    taken for correlated only where that power is alike in all calmer blocks of one intensity, its ratio to the finest
    alike at all intensities, and its values spread as normal ones: structure is seldom all three; or where the image
    is an even field. Where the channels have that detail in common it must be much stronger than the finest, as in the
    noise of a JPEG. So noise that hardly shows beside structure passes for white, and in an image of one channel a
    homogeneous texture can pass for noise.

    Parameters
    ----------
    y, known : Tensor
        (C, *spatial), spatial (Y, X) or (Z, Y, X), of which the planes are looked at; boolean, shaped as y.

    Returns
    -------
    Tensor or None
        (2 LAGS + 1, 2 LAGS + 1), by the shift along y and x; 1 in the middle.
    """
    ratios, growths, peaks, spectra = [], [], [], []
    for channel, sure in zip(y, known, strict=True):
        if min(channel.shape[-2:]) < 2 * SIDE:
            return None
        fine, means = blocks_of(channel, sure, SIDE), blocks_of(*coarse(channel, sure), SIDE // 2)
        levels = min(MOST_LEVELS, len(fine.mean) // FEWEST, len(means.mean) // FEWEST)
        if levels < 1:
            continue
        parts = means.levels(levels)
        finest = torch.stack([part.power.quantile(CALMER) / WHITE[SIDE][1] for part in fine.levels(levels)])
        calm, calmer = (
            torch.stack([part.power.quantile(quantile) / white for part in parts])
            for quantile, white in zip((CALM, CALMER), WHITE[SIDE // 2], strict=True)
        )
        least = 1e-6 * means.power.mean() + 1e-12 * fine.mean.square().mean()
        if not bool((finest > least).all()):
            continue  # constant somewhere: clipped, or nothing was measured
        ratios.append(calmer / finest)
        growths.append(calm / calmer)
        calmest = [slice(max(1, int(CALM * len(part.mean)))) for part in parts]
        peaks += [part.fourth[few] / part.power[few].square() for part, few in zip(parts, calmest, strict=True)]
        spectra.append(_spectra(channel, sure, levels))
    if not ratios:
        return None
    ratio, growth = (float(torch.cat(values).median()) for values in (ratios, growths))
    unsteady = max(float(values.std(correction=0) / values.mean()) for values in ratios)
    structured = growth > UNEVEN or unsteady > UNSTEADY or float(torch.cat(peaks).mean()) > PEAKED
    most = FAR_RATIO if in_common(y, known) > COMMON else RATIO
    if (structured or 1 / RATIO < ratio < most) and not all(map(is_even_and_correlated, y, known)):
        return None
    return _from_spectra(torch.cat(spectra))


def in_common(y: Tensor, known: Tensor) -> float:
    """Return the mean correlation of the detail in calm blocks of an image's channels, (C, *spatial); 0 for one."""
    side = SIDE // 2
    found = [coarse(channel, sure) for channel, sure in zip(y, known, strict=True)]
    whole = torch.stack([whole_blocks(sure, side, len(HIGH_PASS)) for _, sure in found]).all(0).flatten()
    if len(y) < 2 or not bool(whole.any()):
        return 0.0
    blocks = torch.stack([_detail_blocks(means, side).flatten(0, 1)[whole] for means, _ in found])  # (C, blocks, side²)
    power = blocks.square().mean(2)
    relative = (power / power.mean(1, keepdim=True).clamp(min=1e-30)).mean(0)
    calm = blocks[:, relative.argsort()[: max(1, int(CALM * len(relative)))]].flatten(1)
    correlation = torch.corrcoef(calm - calm.mean(1, keepdim=True)).nan_to_num()
    return float((correlation.sum() - correlation.trace()) / (len(y) * (len(y) - 1)))


def _detail_blocks(planes: Tensor, side: int) -> Tensor:
    """Return the high-passed values of the blocks of planes, (N, blocks, side²), in the order of `whole_blocks`."""
    detail = F.conv2d(F.conv2d(planes, HIGH_PASS.view(1, 1, 1, -1)), HIGH_PASS.view(1, 1, -1, 1))
    return F.unfold(detail, side, stride=side).mT


def is_even_and_correlated(channel: Tensor, known: Tensor) -> bool:
    """Return whether a channel, (*spatial), is nothing but noise, and that is correlated over a few pixels.

    The power of means over ever more pixels, times their number, grows with the scale where there is structure. Of
    noise it stays as it is from the scale on over which it is correlated. A curved ground is taken out first.
    """
    top, left = (max(0, (n - EVEN_SIDE) // 2) for n in channel.shape[-2:])
    middles = (t[..., top : top + EVEN_SIDE, left : left + EVEN_SIDE] for t in (channel, known))
    planes, sure = (t.reshape(-1, *t.shape[-2:]) for t in middles)
    rest = torch.stack([_without_ground(plane.double(), one) for plane, one in zip(planes, sure, strict=True)])
    means = {side: side * block_means(rest, sure, side, 1) for side in (1, 2, 4, 8, 16)}
    if len(means[16]) < FEWEST or not float(means[1].var()) > 0:
        return False
    power = {side: float(values.double().var()) for side, values in means.items()}
    fourth = float((means[1] / power[1] ** 0.5).double().pow(4).mean())
    growths = (power[8] / power[4], power[16] / power[8])
    if abs(fourth - 3) > NORMAL or any(growth > most for growth, most in zip(growths, MOST_EVEN, strict=True)):
        return False
    return not 1 / TOGETHER < power[2] / power[1] < TOGETHER


def _without_ground(plane: Tensor, known: Tensor) -> Tensor:
    """Return a plane less a polynomial of the second order, 0 where it is not known."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=plane.dtype) for n in plane.shape), indexing="ij")
    basis = torch.stack([torch.ones_like(y), y, x, y * y, x * y, x * x]) * known  # (6, Y, X)
    gram, target = (torch.einsum("ayx,byx->ab", basis, t) for t in (basis, (plane * known)[None]))
    weights = torch.linalg.lstsq(gram, target).solution[:, 0]
    return (plane - torch.einsum("a,ayx->yx", weights, basis)) * known


def reach(correlation: Tensor | None) -> tuple[int, int]:
    """Return how far along y and x pixels tell of each other's noise, in px."""
    if correlation is None:
        return 0, 0
    down, right = ((correlation.abs() >= NEAR).nonzero() - LAGS).abs().amax(0).tolist()
    return down, right


def grown(mask: Tensor, reach: tuple[int, int]) -> Tensor:
    """Return where an element of a boolean mask, (*spatial), is within reach along y and x."""
    planes = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    size = (2 * reach[0] + 1, 2 * reach[1] + 1)
    return (F.max_pool2d(planes, size, 1, reach) > 0).reshape(mask.shape)


def shrunk(mask: Tensor, reach: tuple[int, int]) -> Tensor:
    """Return where all elements within reach are in a boolean mask, (*spatial); beyond its borders all are."""
    return ~grown(~mask, reach)


def power_in_means(correlation: Tensor) -> float:
    """Return the mean power of the blocks of `coarse` noise of variance 1."""
    spread = torch.zeros(6, 6)
    for down in range(2):
        for right in range(2):
            spread[down::2, right::2] += HIGH_PASS[:, None] * HIGH_PASS / 2  # of means, as one of pixels
    own = F.conv2d(F.pad(spread, (5, 5, 5, 5))[None, None], spread[None, None])[0, 0]  # (11, 11)
    reach = slice(5 - LAGS, 6 + LAGS)
    return float((own[reach, reach] * correlation).sum())


def _spectra(channel: Tensor, known: Tensor, levels: int) -> Tensor:
    """Return each intensity's mean power spectrum of calm blocks, (levels, 2 SIDE, 2 SIDE), its variance as unit."""
    planes, sure = (t.reshape(-1, 1, *t.shape[-2:]).float() for t in (channel, known))
    blocks, sure = (F.unfold(t, SIDE, stride=SIDE).mT.flatten(0, 1) for t in (planes, sure))  # (blocks, SIDE²)
    blocks = blocks[sure.mean(1) > 1 - 1e-4]
    place = torch.linspace(-1, 1, SIDE)
    plane = torch.stack([torch.ones(SIDE, SIDE), *torch.meshgrid(place, place, indexing="ij")]).flatten(1)
    basis = F.normalize(plane)  # its rows are orthogonal
    rest = blocks - blocks @ basis.T @ basis
    means = F.avg_pool2d(rest.view(-1, 1, SIDE, SIDE), 2).flatten(1).square().mean(1)
    spectra = []
    for chunk in blocks.mean(1).argsort().tensor_split(levels):
        calm = rest[chunk[means[chunk].argsort()[: max(1, int(CALM / 2 * len(chunk)))]]]
        power = torch.fft.fft2(calm.view(-1, SIDE, SIDE), s=(2 * SIDE, 2 * SIDE)).abs().square().mean(0)
        spectra.append(power / calm.square().mean())
    return torch.stack(spectra)


def _from_spectra(spectra: Tensor) -> Tensor:
    """Return the autocorrelation up to LAGS."""
    shifts = torch.arange(-LAGS - 1, LAGS + 2)
    pairs = (SIDE - shifts.abs()).float()
    found = torch.fft.ifft2(spectra).real[:, shifts][:, :, shifts] / (pairs[:, None] * pairs)
    found = found.quantile(LOW, 0)
    beyond = torch.cat([found[[0, -1]].flatten(), found[1:-1, [0, -1]].flatten()])
    found = found[1:-1, 1:-1] - beyond.median()  # what correlates there is structure; or less, for the planes taken out
    return _possible(torch.where(found.abs() < LEAST * found[LAGS, LAGS], 0, found))


def _possible(wanted: Tensor) -> Tensor:
    """Return the autocorrelation near the wanted one that noise can have: no frequency has negative power."""
    padded, rounds, least = F.pad(wanted.double(), (0, 2 * SIDE, 0, 2 * SIDE)), 200, 0.01
    inside = F.pad(torch.ones_like(wanted, dtype=torch.bool), (0, 2 * SIDE, 0, 2 * SIDE))
    middle = (LAGS, LAGS)
    for _ in range(rounds):
        power = torch.fft.fft2(padded.roll((-LAGS, -LAGS), (0, 1))).real
        padded = torch.fft.ifft2(power.clamp(min=least * float(power.mean()))).real.roll(middle, (0, 1)) * inside
    found = padded[: 2 * LAGS + 1, : 2 * LAGS + 1]
    return (found / found[middle]).to(wanted.dtype)
