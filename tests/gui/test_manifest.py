"""What napari finds of us: every command imports, menus and palette name it well, samples open."""

from __future__ import annotations

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from npe2.manifest.utils import import_python_name

MANIFEST = PluginManifest.from_distribution("napari-dip")
COMMANDS = MANIFEST.contributions.commands


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.id)
def test_every_command_can_be_imported(command):
    assert callable(import_python_name(command.python_name))


def test_menu_entries_are_commands_with_titles_of_their_own():
    titles = [command.title for command in COMMANDS]
    assert len(set(titles)) == len(titles)
    menus = MANIFEST.contributions.menus
    assert [item.submenu for item in menus["napari/layers/filter"]] == ["napari-dip/restore"]
    known = {command.id for command in COMMANDS}
    assert {item.command for item in menus["napari-dip/restore"]} <= known


@pytest.mark.parametrize("sample", ["micrograph", "deep-field", "scratched-moon", "coarse-coins", "without-flash"])
def test_samples_open_in_the_viewer(make_napari_viewer, sample):
    viewer = make_napari_viewer()
    layers = viewer.open_sample("napari-dip", sample)
    assert layers
    field = np.multiply(layers[0].data.shape[:2], layers[0].scale)
    assert field.tolist() == [256, 256]


def test_the_plugin_is_found_by_its_entry_point():
    manager = PluginManager()
    manager.discover()
    assert manager.get_manifest("napari-dip").display_name == "Deep image prior"
