import numpy as np
import pytest

import napari_dip as dip

SIDE = 96
SPOTS = [(y, x) for y in range(8, SIDE - 8, 16) for x in range(8, SIDE - 8, 16)]
RAYS = [(y + 8, x + 7) for y, x in SPOTS]


def scene(seed=0, *, snr=10.0, rays=20.0):
    """Spots of FWHM 1.5 px on a ground of 100 photons with read noise of 5, and the pixels that rays hit."""
    rng = np.random.default_rng(seed)
    down, right = np.mgrid[:SIDE, :SIDE]
    noise, width = 125**0.5, 1.5 / 2.3548
    clean = np.full((SIDE, SIDE), 100.0)
    for y, x in SPOTS:
        y, x = y + rng.uniform(-0.5, 0.5), x + rng.uniform(-0.5, 0.5)
        clean += snr * noise * np.exp(-0.5 * ((down - y) ** 2 + (right - x) ** 2) / width**2)
    image = rng.poisson(clean) + rng.normal(0, 5, clean.shape)
    hit = np.zeros(image.shape, bool)
    for index, (y, x) in enumerate(RAYS):
        for step in range(1 + index % 3):  # tracks of one to three pixels, along, across and diagonally
            hit[y + step * (index % 4 > 0), x + step * (index % 4 < 3)] = True
    image[hit] += rays * noise
    return image, hit


def found(image, spec=None, law=None):
    return (spec or dip.Outliers()).find(image[None], np.isfinite(image)[None], law)[0]


@pytest.mark.parametrize("law", [None, dip.PoissonGaussian(1.0, 5.0)])
@pytest.mark.parametrize("rays", [15, 40, 400])
def test_rays_are_flagged_and_sharp_spots_are_not(rays, law):
    image, hit = scene(rays=rays)
    flags = found(image, law=law)
    assert (flags & hit).sum() >= 0.95 * hit.sum()
    near = np.zeros_like(hit)
    for y, x in SPOTS:
        near[y - 2 : y + 3, x - 2 : x + 3] = True
    assert (flags & near & ~hit).sum() <= 0.05 * len(SPOTS)


@pytest.mark.parametrize("snr", [5, 30, 300, 3000])
def test_spots_of_every_brightness_stay(snr):
    image, _ = scene(snr=snr, rays=0)
    assert found(image).sum() <= 2


def test_dead_pixels_are_flagged_too():
    image, hit = scene(snr=0, rays=-8.9)  # no light at all
    assert (found(image) & hit).sum() >= 0.9 * hit.sum()


def test_a_wider_spot_catches_what_a_narrower_one_lets_pass():
    image, _ = scene(snr=40, rays=0)
    assert found(image, dip.Outliers(fwhm=4)).sum() > 20  # spots of 1.5 px are too sharp for such optics
    assert found(image).sum() <= 2


def test_noise_alone_has_hardly_an_outlier():
    image = np.random.default_rng(0).normal(1000, 10, (256, 256))
    assert found(image).sum() <= 2


def test_a_photograph_blurred_as_by_optics_has_none(structured):
    assert found(structured).sum() == 0


@pytest.fixture
def structured():
    """Edges, lines and a checked pattern, seen through optics of FWHM 1.5 px."""
    from scipy.ndimage import gaussian_filter

    image = np.zeros((96, 96))
    image[20:50, 10:60] = 800
    image[60, 5:90] = 900
    image[5:90, 75] = 700
    image[64:90, 8:60] += 400 * (np.indices((26, 52)).sum(0) // 2 % 2)
    return gaussian_filter(image, 1.5 / 2.3548) + np.random.default_rng(1).normal(100, 5, image.shape)


def test_neither_offset_nor_unit_changes_what_is_found():
    image, _ = scene()
    flags = found(image)
    np.testing.assert_array_equal(found(image * 1e-6), flags)
    np.testing.assert_array_equal(found(image + 1e6), flags)


def test_missing_pixels_are_no_outliers_and_have_no_influence():
    image, _ = scene()
    image[40:44] = np.nan
    other = np.where(np.isfinite(image), image, np.inf)
    flags = found(image)
    assert not flags[40:44].any()
    np.testing.assert_array_equal(found(other), flags)


def test_a_restoration_replaces_them_only_when_asked_to():
    image, hit = scene(rays=100)
    asked = dip.restore(image, preset="quick", outliers=dip.Outliers(), max_steps=20)
    assert asked.outliers is not None
    assert (asked.outliers & hit).sum() >= 0.95 * hit.sum()
    np.testing.assert_array_equal(asked.filled, asked.outliers)
    assert np.abs(asked.image[hit] - 100).max() < 100  # not a tenth of what a ray had left there
    assert np.isnan(asked.residual[asked.outliers]).all()
    assert asked.report()["outliers"] == asked.outliers.sum()
    assert any("were flagged and replaced" in note for note in asked.notes)
    unasked = dip.restore(image, stop=dip.FixedSteps(3))
    assert unasked.outliers is None
    assert unasked.filled is None


def test_what_marks_nothing_real_is_said():
    rng = np.random.default_rng(0)
    dots = rng.normal(0, 1, (64, 64))
    dots[4::6, 4::6] += 50  # every 36th pixel
    result = dip.restore(dots, stop=dip.FixedSteps(3), outliers=dip.Outliers())
    assert any("sharper than the given width" in note for note in result.notes)


def test_a_width_that_no_optics_has_is_refused():
    with pytest.raises(ValueError, match=r"0\.8"):
        dip.Outliers(fwhm=0.5)


def test_a_boolean_image_has_outliers_too():
    image = np.zeros((32, 32), bool)
    image[10, 10] = True
    dip.Outliers().find(image[None], np.ones((1, 32, 32), bool), None)
    assert dip.restore(image, stop=dip.FixedSteps(1), outliers=dip.Outliers()).image.dtype == bool
