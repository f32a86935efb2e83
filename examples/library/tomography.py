"""Tomography: an image from its projections, beside filtered back-projection. Takes half a minute."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, resize
from torch import Tensor

import napari_dip as dip

SIZE, ANGLES = 48, 20


def projections(image: Tensor, angles: Tensor) -> Tensor:  # (N, N) to (angles, N)
    """Return the sums of an image along the columns, turned by each angle."""
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turns = torch.stack([torch.stack([cos, -sin, none], -1), torch.stack([sin, cos, none], -1)], -2)
    where = F.affine_grid(turns, [len(angles), 1, *image.shape], align_corners=False)
    turned = F.grid_sample(image.expand(len(angles), 1, *image.shape), where, align_corners=False)
    return turned.sum(-2)[:, 0]


phantom = resize(shepp_logan_phantom(), (SIZE, SIZE), anti_aliasing=True).astype(np.float32)
angles = torch.arange(ANGLES) * math.pi / ANGLES
sinogram = projections(torch.from_numpy(phantom), angles)
noise = 0.01 * sinogram.abs().max() * torch.randn(sinogram.shape, generator=torch.Generator().manual_seed(0))
sinogram = sinogram + noise

result = dip.reconstruct(
    sinogram, lambda image: projections(image, angles.to(image.device)), (SIZE, SIZE), floor=0, max_steps=250
)


def error(image: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image - phantom) ** 2)))


theta = -np.degrees(angles.numpy())  # scikit-image turns the other way
filters = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
back_projected = min(
    (iradon(sinogram.numpy().T, theta=theta, circle=True, filter_name=name) for name in filters), key=error
)

print(f"{ANGLES} projections of {SIZE} x {SIZE} pixels, root mean square error:")
print(f"filtered back-projection, best filter {error(back_projected):.4f}")
print(f"deep image prior {error(result.image):.4f}")
print(f"residual {result.residual.shape}: {result.residual.std():.3f}, noise {float(noise.std()):.3f}")
