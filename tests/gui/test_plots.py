"""The marks of the live curve's axis."""

import pytest

from napari_dip.gui.plots import round_values


@pytest.mark.parametrize(("lowest", "highest"), [(0.005, 0.03), (0.0101, 0.0109), (0.3, 41.0), (1e-7, 2.0), (3.0, 3.0)])
def test_a_logarithmic_axis_has_a_few_marks_within_its_range(lowest, highest):
    marks = round_values(lowest, highest)
    assert 1 <= len(set(marks)) <= 5
    assert all(lowest * 0.99 <= mark <= highest * 1.01 for mark in marks)
    assert marks == sorted(marks)
