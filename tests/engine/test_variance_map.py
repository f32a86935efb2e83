import numpy as np
import pytest
import torch
from ready import LITTLE

import napari_dip as dip
from napari_dip.engine.noise import model_of
from napari_dip.engine.ridge import nl_ridge


def scene(side=72):
    """A smooth ramp, whose right half is ten times as noisy as the left one, and that variance."""
    rng = np.random.default_rng(0)
    clean = np.add.outer(np.linspace(0, 300, side), np.linspace(0, 200, side)) + 1000
    sigma = np.where(np.arange(side) < side // 2, 4.0, 40.0) * np.ones((side, 1))
    return clean, (clean + rng.normal(0, 1, clean.shape) * sigma).astype(np.float32), sigma**2


def model(variance, y, gain=1.0):
    known = torch.ones_like(y, dtype=torch.bool)
    return model_of(dip.VarianceMap(variance[None]), y, known, offset=np.zeros(1), gain=np.full(1, gain))


def test_the_model_has_the_variance_of_the_map_in_its_own_scale():
    _, noisy, variance = scene()
    told = model(variance, torch.from_numpy(noisy / 100)[None], gain=100.0)
    left, right = told.variance(torch.zeros(1, 72, 72))[0, 0, [0, -1]].tolist()
    assert (left, right) == (pytest.approx(16e-4), pytest.approx(1600e-4))
    assert float(told.mean[0]) == pytest.approx(variance.mean() / 1e4)


def test_what_is_no_number_counts_as_the_mean_and_zero_is_not_free_of_noise():
    variance = np.full((16, 16), 4.0)
    variance[0, 0], variance[1, 1] = np.nan, 0
    told = model(variance, torch.rand(1, 16, 16))
    values = told.variance(torch.zeros(1, 16, 16))[0]
    assert float(values[0, 0]) == pytest.approx(4, rel=0.02)
    assert 0 < float(values[1, 1]) < 0.3


def test_the_pilot_with_the_map_is_better_than_with_one_strength_for_all():
    clean, noisy, variance = scene()
    y = torch.from_numpy((noisy - 1000) / 500)[None]
    truth = torch.from_numpy((clean - 1000) / 500)[None].float()
    known = torch.ones_like(y, dtype=torch.bool)
    mapped = model(variance, y, gain=500.0)
    flat = model_of(dip.Gaussian(float(variance.mean() ** 0.5)), y, known, offset=np.zeros(1), gain=np.full(1, 500.0))
    errors = [float((nl_ridge(y, noise) - truth).square().mean()) for noise in (mapped, flat)]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("axes", ["YX", "TYX", "CYX"])
def test_a_run_takes_a_map_of_a_plane_or_of_the_whole_image(axes):
    _, noisy, variance = scene(48)
    image = noisy if axes == "YX" else np.stack([noisy, noisy[::-1]])
    whole = variance if axes == "YX" else np.stack([variance, variance])
    results = [
        dip.restore(image, dip.Denoise(noise=dip.VarianceMap(values)), axes=axes, preset=LITTLE, max_steps=5)
        for values in (variance, whole)
    ]
    np.testing.assert_array_equal(results[0].image, results[1].image)
    assert results[0].fits[0].noise.source == "given"
    assert results[0].fits[0].noise.sigma[0] == pytest.approx(variance.mean() ** 0.5, rel=1e-3)


def test_a_volume_takes_it_plane_by_plane():
    _, noisy, variance = scene(24)
    volume, values = np.stack([noisy] * 8), np.stack([variance] * 8)
    result = dip.restore(volume, dip.Denoise(noise=dip.VarianceMap(values)), axes="ZYX", preset=LITTLE, max_steps=3)
    assert result.image.shape == volume.shape


def test_a_map_that_does_not_fit_or_is_no_variance_is_refused():
    _, noisy, variance = scene(32)
    with pytest.raises(ValueError, match=r"A map of the variance of shape \(31, 32\) does not fit"):
        dip.restore(noisy, dip.Denoise(noise=dip.VarianceMap(variance[1:])))
    with pytest.raises(ValueError, match="none of them negative"):
        dip.VarianceMap(-variance)


def test_the_report_has_its_digest_and_is_json():
    import json

    _, noisy, variance = scene(32)
    result = dip.restore(noisy, dip.Denoise(noise=dip.VarianceMap(variance)), preset="quick", max_steps=2)
    written = json.loads(json.dumps(result.report(), allow_nan=False))
    assert written["settings"]["task"]["noise"]["values"]["shape"] == [32, 32]


@pytest.mark.parametrize("axes", ["YX", "TYX", "CYX", "YXS"])
def test_outliers_are_told_by_the_map_too(axes):
    _, noisy, variance = scene(48)
    noisy = noisy.copy()
    noisy[20, 10] += 100  # far out of the quiet left half
    image = {"YX": noisy, "YXS": np.stack([noisy] * 3, -1)}.get(axes, np.stack([noisy, noisy]))
    task = dip.Denoise(noise=dip.VarianceMap(variance))
    result = dip.restore(image, task, axes=axes, outliers=dip.Outliers(), preset=LITTLE, max_steps=2)
    marked = np.moveaxis(result.outliers, -1, 0) if axes == "YXS" else result.outliers.reshape(-1, 48, 48)
    assert marked[:, 20, 10].all()
    assert marked.mean() < 0.01
