"""Inversion of features: which image gives what a network, trained here on patches, sees? Takes half a minute."""

import numpy as np
import torch
from skimage import data
from torch import Tensor, nn

import napari_dip as dip

torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
picture = torch.from_numpy(data.camera()[::2, ::2].astype(np.float32) / 255)  # (256, 256)

# an auto-encoder of patches: its first half is what is inverted
encoder = nn.Sequential(nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
decoder = nn.Sequential(nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 16, 1), nn.PixelShuffle(4))
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
for _ in range(150):
    rows, columns = torch.randint(0, 224, (2, 16), generator=generator).tolist()
    patches = torch.stack([picture[r : r + 32, c : c + 32] for r, c in zip(rows, columns, strict=True)])[:, None]
    loss = (decoder(encoder(patches)) - patches).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
encoder.requires_grad_(False)  # known: only the image is sought


def features(image: Tensor) -> Tensor:  # (48, 48) to (32, 12, 12)
    return encoder.to(image.device)(image[None, None])[0]


face = picture[24:72, 92:140]
result = dip.reconstruct(features(face), features, (48, 48), is_linear=False, span=(0, 1), max_steps=150)

error = np.sqrt(np.mean((result.image - face.numpy()) ** 2))
left = result.residual.std() / features(face).std()
print(f"{features(face).numel()} features of {face.numel()} pixels, {float(left):.3f} of them unexplained")
print(f"root mean square error {error:.3f}, of a constant image {float(face.std()):.3f}")
