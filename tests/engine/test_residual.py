"""The verdict on a residual: right about results that are made good, blurred, noisy or too bright on purpose."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import napari_dip as dip
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.residual import check_residual

SIZE = 160


def scene():
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    image = 0.2 + 0.5 * (np.hypot(x - 0.5, y - 0.5) < 0.3) + 0.1 * np.sin(40 * x)
    return torch.from_numpy(image.astype(np.float32))[None]


MODEL = NoiseModel(torch.tensor([0.02]), torch.tensor([0.001]), torch.tensor([0.008]))


@pytest.fixture(scope="module")
def measured():
    clean = scene()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    return clean + MODEL.variance(clean).sqrt() * noise


def check(y, predicted, known=None):
    return check_residual(y, predicted, torch.ones_like(y, dtype=torch.bool) if known is None else known, MODEL)


def blurred(image, side):
    return F.avg_pool2d(F.pad(image[None], [side // 2] * 4, mode="replicate"), side, 1)[0]


def test_of_the_truth_nothing_but_noise_is_left(measured):
    said = check(measured, scene())
    assert said.verdict == "looks like noise"
    assert said.chi2 == pytest.approx(1, abs=0.03)
    assert np.allclose(said.chi2_by_intensity, 1, atol=0.12)
    assert np.allclose(said.neighbours, 0, atol=0.02)
    assert np.abs(said.flux).max() < 1.2  # means of ten normal values


@pytest.mark.parametrize("side", [5, 9])
def test_of_a_blurred_result_structure_was_removed(measured, side):
    said = check(measured, blurred(scene(), side))
    assert said.verdict.startswith("structure was removed")
    assert "edges" in said.verdict
    assert said.edges > 1.3


def test_of_a_noisy_result_noise_was_left(measured):
    assert check(measured, (measured + scene()) / 2).verdict.startswith("noise was left")


def test_of_the_measurement_itself_too():
    y = scene()
    assert check(y, y).verdict.startswith("noise was left")


def test_lost_light_shows_in_the_flux(measured):
    assert np.mean(check(measured, 0.97 * scene()).flux) < -1
    assert np.mean(check(measured, 1.03 * scene()).flux) > 1


def test_missing_pixels_have_no_say(measured):
    known = torch.ones_like(measured, dtype=torch.bool)
    known[:, 30:60, 50:90] = False
    other = torch.where(known, measured, 1e3)
    assert check(measured, scene(), known) == check(other, scene(), known)


def test_correlated_noise_is_no_structure():
    white = torch.randn(1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    correlation = torch.zeros(7, 7)
    correlation[3, 2:5] = torch.tensor([0.4, 1.0, 0.4])
    model = NoiseModel(MODEL.gain, MODEL.floor, MODEL.mean, correlation)
    y = scene() + model.draw(scene(), white)
    everything = torch.ones_like(y, dtype=torch.bool)
    assert check_residual(y, scene(), everything, model).verdict == "looks like noise"
    assert "pixel to pixel" in check_residual(y, scene(), everything, MODEL).verdict


def test_every_result_says_it_in_its_report_and_notes():
    y = (100 * scene()[0] + 5 * torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(1))).numpy()
    result = dip.restore(y[:96, :96], preset="quick", max_steps=100)
    said = json.loads(json.dumps(result.report()))["fits"][0]["residual"]
    assert said["verdict"] == "looks like noise"
    assert len(said["flux"]) == len(said["chi2_by_intensity"]) == 10
    assert f"Residual: {said['verdict']}" in result.notes


def test_filled_pixels_alone_have_no_residual_to_judge():
    y = 100 * scene()[0, :48, :48].numpy()
    mask = np.random.default_rng(0).random(y.shape) < 0.3
    assert dip.restore(y, dip.Inpaint(mask), max_steps=20).fits[0].residual is None
