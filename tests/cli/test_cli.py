"""The shell command as a person types it: files in and out, exit codes, signals, one clear line for bad input."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.wcs import WCS

import napari_dip as dip
from napari_dip import io, samples
from napari_dip.cli import main, restoring
from napari_dip.cli.arguments import build_parser, rule

QUICK = ["--max-steps", "20"]


@pytest.fixture
def noisy(tmp_path):
    rows, columns = np.mgrid[:48, :40]
    scene = 110 + 60 * np.sin(columns / 5) * np.cos(rows / 7)
    values = scene + np.random.default_rng(0).normal(0, 15, scene.shape)
    path, truth = tmp_path / "noisy.png", tmp_path / "truth.png"
    imageio.imwrite(path, np.clip(values, 0, 255).astype(np.uint8))
    imageio.imwrite(truth, scene.astype(np.uint8))
    return path


def run(*words):
    return main([str(word) for word in words])


def test_denoise_writes_a_better_image_and_a_full_report(noisy, tmp_path, capsys):
    out, report = tmp_path / "out.png", tmp_path / "report.json"
    words = ("--truth", tmp_path / "truth.png", "--max-steps", 150, "--preset", "plain")
    assert run("denoise", noisy, "-o", out, "--report", report, *words) == 0
    assert imageio.imread(out).dtype == np.uint8
    told = json.loads(report.read_text())
    assert told["truth"]["psnr_output"] > told["truth"]["psnr_input"] + 3
    assert len(told["truth"]["psnr"]) == len(told["fits"][0]["steps"])
    for key in ("seconds", "steps", "best_step", "ended", "device", "threads", "precision", "seed", "version", "torch",
                "peak_memory_bytes", "filled_values", "settings", "sha256_input", "sha256_output"):  # fmt: skip
        assert told[key] is not None, key
    assert len(told["sha256_output"]) == 64
    assert "PSNR" in capsys.readouterr().out


def test_the_same_seed_writes_the_same_file(noisy, tmp_path):
    for name in ("a", "b"):
        assert run("denoise", noisy, "-o", tmp_path / f"{name}.tif", "--dtype", "float32", *QUICK) == 0
    first, second = (tifffile.imread(tmp_path / f"{name}.tif") for name in "ab")
    assert first.dtype == np.float32
    assert np.array_equal(first, second)


@pytest.mark.parametrize("keeps", [False, True])
def test_inpaint_fills_what_the_mask_says(noisy, tmp_path, keeps):
    mask = np.zeros((48, 40), np.uint8)
    mask[10:14, 5:30] = 255
    imageio.imwrite(tmp_path / "mask.png", 255 - mask if keeps else mask)
    words = ["--mask-keeps"] if keeps else []
    out, report = tmp_path / "out.png", tmp_path / "r.json"
    assert run("inpaint", noisy, "--mask", tmp_path / "mask.png", *words, "-o", out, "--report", report, *QUICK) == 0
    before, after = imageio.imread(noisy), imageio.imread(out)
    assert np.array_equal(before[mask == 0], after[mask == 0])
    assert not np.array_equal(before[mask > 0], after[mask > 0])
    assert json.loads(report.read_text())["filled_values"] == (mask > 0).sum()


def test_stack_and_residual_are_written_too(noisy, tmp_path):
    stack, residual = tmp_path / "stack.tif", tmp_path / "residual.tif"
    code = run("denoise", noisy, "-o", tmp_path / "out.tif", "--keep-every", 5, "--stack-out", stack,
               "--residual-out", residual, "--stop", "FixedSteps(steps=20)")  # fmt: skip
    assert code == 0
    assert tifffile.imread(stack).shape == (4, 48, 40)
    restored, removed = tifffile.imread(tmp_path / "out.tif").astype(float), tifffile.imread(residual)
    assert np.allclose(restored + removed, imageio.imread(noisy), atol=0.51)


def test_a_stack_of_a_fit_that_ended_too_early_is_not_written_and_that_is_said(noisy, tmp_path, capsys):
    words = ("--keep-every", 50, "--stack-out", tmp_path / "stack.tif", "--preset", "quick", "--max-steps", 2)
    assert run("denoise", noisy, "-o", tmp_path / "out.tif", *words) == 1
    assert "stack.tif was not written: there is nothing to write" in capsys.readouterr().err


def test_a_stack_needs_a_word_and_then_does_what_it_says(tmp_path, capsys):
    stack = np.random.default_rng(0).integers(0, 1000, (4, 20, 24), dtype=np.uint16)
    path, out = tmp_path / "stack.ome.tif", tmp_path / "out.tif"
    tifffile.imwrite(path, stack, metadata={"axes": "ZYX"})
    assert run("denoise", path, "-o", out, *QUICK) == 2
    said = capsys.readouterr().err
    assert "(4, 20, 24)" in said
    assert "--plane" in said
    assert run("denoise", path, "-o", out, "--plane", "Z=2", *QUICK) == 0
    assert tifffile.imread(out).shape == (20, 24)
    assert run("denoise", path, "-o", out, "--each", "Z", "--overwrite", "--max-steps", 5) == 0
    assert tifffile.imread(out).shape == stack.shape
    assert run("denoise", path, "-o", out, "--plane", "9", "--overwrite") == 2
    assert "outside 0 to 3" in capsys.readouterr().err


def test_the_file_of_a_volume_says_how_large_its_voxels_are_unless_the_flag_does(tmp_path):
    volume = np.random.default_rng(0).integers(0, 1000, (8, 20, 24), dtype=np.uint16)
    path, out, report = (tmp_path / name for name in ("stack.tif", "out.tif", "r.json"))
    tifffile.imwrite(path, volume, imagej=True, resolution=(10.0, 10.0),
                     metadata={"axes": "ZYX", "unit": "um", "spacing": 0.3})  # fmt: skip
    for words, sizes in (([], [0.3, 0.1, 0.1]), (["--spacing", "2,1,1"], [2, 1, 1])):
        assert run("denoise", path, "-o", out, "--axes", "ZYX", "--report", report, "--stop", "FixedSteps(steps=2)",
                   "--overwrite", "--preset", "quick", *words) == 0  # fmt: skip
        assert json.loads(report.read_text())["settings"]["spacing"] == pytest.approx(sizes)
    assert run("denoise", path, "-o", out, "--axes", "ZYX", "--overwrite", "--spacing", "2") == 2


def test_the_other_images_of_a_file_are_told_of(tmp_path, capsys):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for side in (32, 40):
            file.write(np.random.default_rng(0).integers(0, 255, (side, side), np.uint8))
    words = ("-o", tmp_path / "out.tif", "--overwrite", "--preset", "quick", "--max-steps", 2)
    assert run("denoise", tmp_path / "a.tif", *words) == 0
    assert (
        "a.tif: the first of 2 images is read, and nothing is done to the others: a.tif[1]" in capsys.readouterr().err
    )
    assert run("denoise", f"{tmp_path}/a.tif[1]", *words) == 0
    assert "images" not in capsys.readouterr().err
    assert tifffile.imread(tmp_path / "out.tif").shape == (40, 40)


def test_where_0_is_white_the_restored_image_looks_so_and_masks_do_not(noisy, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", imageio.imread(noisy), photometric="miniswhite")
    words = ("--preset", "quick", "--max-steps", 2, "--outliers", "--outliers-out", tmp_path / "flags.tif")
    assert run("denoise", tmp_path / "a.tif", "-o", tmp_path / "out.tif", *words) == 0
    for name, photometric in (("out", tifffile.PHOTOMETRIC.MINISWHITE), ("flags", tifffile.PHOTOMETRIC.MINISBLACK)):
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as file:
            assert file.pages.first.photometric == photometric


def test_a_small_image_does_not_refine_a_psf_and_that_is_said(noisy, tmp_path, capsys):
    report = tmp_path / "r.json"
    assert run("deconvolve", noisy, "-o", tmp_path / "out.tif", "--model", "GaussianPSF(fwhm=2)", "--refine",
               "--report", report, "--preset", "plain", "--stop", "FixedSteps(steps=2)") == 0  # fmt: skip
    assert "The PSF was not refined: the image does not tell its width" in capsys.readouterr().err
    told = json.loads(report.read_text())
    assert told["settings"]["task"]["refine"] is True
    assert told["fits"][0]["psf"] is None


def test_a_stack_without_names_is_named_by_the_flag(tmp_path):
    stack = np.random.default_rng(0).integers(0, 1000, (5, 20, 24), dtype=np.uint16)
    path, out = tmp_path / "plain.tif", tmp_path / "out.tif"
    tifffile.imwrite(path, stack, metadata=None)
    for words in (["--each", "Z"], ["--plane", "Z=1"], ["--plane", "1"], ["--axes", "TYX"]):
        assert run("denoise", path, "-o", out, "--overwrite", "--max-steps", 3, *words) == 0


def test_dead_pixels_of_a_file_have_no_influence(noisy, tmp_path):
    image = imageio.imread(noisy)
    dead = np.zeros(image.shape, np.uint8)
    dead[4:9, 4:9] = 1
    np.save(tmp_path / "dead.npy", dead)
    for name, value in (("a", 0), ("b", 255)):
        imageio.imwrite(tmp_path / f"{name}.png", np.where(dead, value, image).astype(np.uint8))
        words = ["--missing", tmp_path / "dead.npy", "--fill", *QUICK]
        assert run("denoise", tmp_path / f"{name}.png", "-o", tmp_path / f"{name}_out.png", *words) == 0
    first, second = (imageio.imread(tmp_path / f"{name}_out.png") for name in "ab")
    assert np.array_equal(first, second)


BAD = [
    (["denoise", "nothing.tif", "-o", "out.tif"], "nothing.tif"),
    (["denoise", "{noisy}", "-o", "out.xyz"], "xyz"),
    (["denoise", "{noisy}", "-o", "{noisy}"], "different"),
    (["denoise", "{noisy}", "-o", "a.tif", "--residual-out", "./a.tif", "--overwrite"], "different"),
    (["denoise", "{noisy}", "-o", "a.tif", "--residual-out", "{noisy}", "--overwrite"], "different"),
    (["denoise", "{stack}", "-o", "out.tif", "--plane", "x"], "names no single plane of QYX"),
    (["denoise", "{stack}", "-o", "out.tif", "--plane", "1,2"], "names no single plane of QYX"),
    (["denoise", "{noisy}", "-o", "out.tif", "--plane", "12"], "an image with the axes YX has no planes"),
    (["denoise", "{noisy}", "-o", "out.tif", "--plane", "T=3"], "an image with the axes YX has no planes"),
    (["denoise", "{colour}", "-o", "out.tif", "--plane", "1"], "the file says that it is one colour image"),
    (["denoise", "{noisy}", "-o", "out.tif", "--each", "Z"], "--each Z is no axis of an image with the axes YX"),
    (["denoise", "{noisy}", "-o", "out.tif", "--truth", "unknown.npy"], "has no finite value"),
    (["denoise", "{noisy}", "-o", "nowhere/out.tif"], "nowhere"),
    (["denoise", "{text}", "-o", "out.tif"], "text.tif"),
    (["denoise", "{noisy}", "-o", "out.tif", "--stack-out", "s.tif"], "--keep-every"),
    (["denoise", "{noisy}", "-o", "out.tif", "--std-out", "s.tif", "--preset", "quick"], "there is one fit only"),
    (["guided", "{noisy}", "-o", "out.tif", "--members-out", "s.tif", "--preset", "plain"], "there is no pilot"),
    (["deconvolve", "{noisy}", "-o", "out.tif", "--std-out", "s.tif"], "only denoise, guided and inpaint"),
    (["enhance", "{noisy}", "-o", "o.tif", "--std-out", "s.tif", "--preset", "quick"], "only denoise, guided and"),
    (["inpaint", "{noisy}", "-o", "out.tif", "--members-out", "s.tif"], "--members-out: there will be nothing to"),
    (["denoise", "{noisy}", "-o", "out.tif", "--offset", "0"], "--offset needs --gain"),
    (["denoise", "{noisy}", "-o", "out.tif", "--offset", "9", "--read-noise", "3"], "--offset needs --gain"),
    (["denoise", "{noisy}", "-o", "out.tif", "--offset", "9", "--variance", "{noisy}"], "--variance says it all"),
    (["denoise", "{noisy}", "-o", "out.tif", "--frames", "T"], "image with the axes YX: name it with --axes"),
    (["denoise", "{noisy}", "-o", "out.tif", "--axes", "TYX"], "TYX is 3 letters for the 2 axes of"),
    (["check", "{noisy}", "--axes", "TYX"], "TYX is 3 letters for the 2 axes of"),
    (["check", "four.npy"], "say what its 4 axes are, as --axes ZYX"),
    (["fbc", "four.npy", "--reference", "four.npy"], "say what its 4 axes are, as --axes ZYX"),
    (["denoise", "{noisy}", "-o", "out.tif", "--device", "tpu"], "auto"),
    (["denoise", "{noisy}", "-o", "out.tif", "--truth", "{small}"], "shape"),
    (["denoise", "{noisy}", "-o", "out.png", "--dtype", "float32"], "PNG"),
    (["inpaint", "{noisy}", "--mask", "{small}", "-o", "out.tif"], "mask of shape"),
    (["inpaint", "{noisy}", "-o", "out.tif"], "Nothing is missing"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=range(len(BAD)))
def test_bad_input_is_one_line_exit_2_and_no_file(noisy, tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.tif").write_text("no image")
    imageio.imwrite(tmp_path / "small.png", np.ones((9, 9), np.uint8))
    tifffile.imwrite(tmp_path / "stack.tif", np.ones((5, 32, 32), np.uint8), metadata=None)
    np.save(tmp_path / "four.npy", np.ones((4, 4, 32, 32)))
    np.save(tmp_path / "unknown.npy", np.full((48, 40), np.nan))
    tifffile.imwrite(
        tmp_path / "colour.tif", np.ones((3, 32, 32), np.uint8), photometric="rgb", planarconfig="separate"
    )
    names = {name: f"{name}.tif" for name in ("text", "stack", "colour")} | {"noisy": noisy, "small": "small.png"}
    before = sorted(tmp_path.iterdir())
    assert run(*[word.format(**names) for word in words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_an_existing_file_is_not_overwritten_unasked(noisy, tmp_path, capsys):
    out = tmp_path / "out.tif"
    out.write_bytes(b"precious")
    assert run("denoise", noisy, "-o", out, *QUICK) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"
    assert run("denoise", noisy, "-o", out, "--overwrite", *QUICK) == 0
    assert tifffile.imread(out).shape == (48, 40)


@pytest.mark.parametrize("text", ["Nothing", "FixedSteps(step=3)", "FixedSteps(3)", "__import__('os')", "FixedSteps("])
def test_a_rule_that_is_none_is_refused(noisy, tmp_path, capsys, text):
    with pytest.raises(SystemExit) as ended:
        run("denoise", noisy, "-o", tmp_path / "out.tif", "--stop", text)
    assert ended.value.code == 2
    assert "is no stopping rule" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["denoise", "--max-seconds", "-1"], "-1 is not above 0"),
        (["denoise", "--max-memory", "0"], "0 is not above 0"),
        (["denoise", "--max-steps", "abc"], "'abc' is no whole number from 1 on"),
        (["denoise", "--saturation", "nan"], "'nan' is no finite number"),
        (["denoise", "--gain", "inf"], "'inf' is no finite number"),
        (["denoise", "--spacing", "nan,1"], "'nan,1' is no number"),
        (["denoise", "--outliers", "nan"], "'nan' is no finite number"),
        (["enhance", "--amount", "nan"], "'nan' is no finite number"),
        (["super-resolve", "--factor", "nan"], "'nan' is no number"),
        (["deconvolve", "--model", "GaussianPSF(fwhm=-1)"], "'GaussianPSF(fwhm=-1)' makes no sense: "),
        (["deconvolve", "--model", "GaussianPSF(fwhm=1e999)"], "fwhm is inf: it must be a finite number"),
        (["denoise", "--stop", "HeldOut(patience='a')"], "patience is 'a': it must be a whole number"),
        (["denoise", "--stop", "HeldOut(patience=1.5)"], "patience is 1.5: it must be a whole number"),
        (["denoise", "--gain", "-1"], "argument --gain: PoissonGaussian.gain is -1.0: it must be at least 0"),
        (["deblock", "--quality", "1.5"], "argument --quality: '1.5' is no whole number"),
        (["deblock", "--quality", "0"], "argument --quality: Deblock.quality is 0: it must be at least 1 and at most"),
        (["inpaint", "--widen", "77"], "argument --widen: Inpaint.widen is 77: it must be at least 0 and at most 50"),
    ],
    ids=lambda it: it[-1] if isinstance(it, list) else "",
)
def test_a_value_that_makes_no_sense_is_refused_with_the_reason(noisy, tmp_path, capsys, words, said):
    command, *flags = words
    with pytest.raises(SystemExit) as ended:
        run(command, noisy, "-o", tmp_path / "out.tif", *flags)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_value_that_may_be_left_out_may_be_none_and_a_whole_number_is_a_number_too():
    assert rule("HeldOut(fraction=0.1, patience=90)") == dip.HeldOut(fraction=0.1, patience=90)
    psf = build_parser().parse_args(["deconvolve", "a", "-o", "b", "--model", "GaussianPSF(fwhm=3, fwhm_z=None)"]).model
    assert psf == dip.GaussianPSF(fwhm=3, fwhm_z=None)


SHORT = ["--preset", "quick", "--max-steps", "2"]


def test_a_file_restored_in_place_has_the_digest_it_had_before(noisy, tmp_path):
    path, report = tmp_path / "a.png", tmp_path / "r.json"
    path.write_bytes(noisy.read_bytes())
    assert run("denoise", path, "-o", path, "--overwrite", "--report", report, *SHORT) == 0
    told = json.loads(report.read_text())
    assert (told["sha256_input"], told["sha256_output"]) == (io.sha256(noisy), io.sha256(path))
    assert told["sha256_input"] != told["sha256_output"]


def test_a_truth_that_is_not_known_everywhere_has_a_psnr_and_a_report(noisy, tmp_path):
    truth = imageio.imread(tmp_path / "truth.png").astype(np.float32)
    truth[3, 3], truth[4, 4] = np.nan, np.inf
    np.save(tmp_path / "truth.npy", truth)
    report = tmp_path / "r.json"
    assert run("denoise", noisy, "-o", tmp_path / "out.png", "--truth", tmp_path / "truth.npy", "--report", report,
               *SHORT) == 0  # fmt: skip
    told = json.loads(report.read_text())["truth"]
    assert told["psnr_input"] > 10
    assert told["ssim_output"] is None


@pytest.mark.parametrize("has_room", [True, False])
def test_what_cannot_be_written_after_the_fit_is_kept_elsewhere(noisy, tmp_path, capsys, monkeypatch, has_room):
    (tmp_path / "spare").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spare"))
    written = io.write

    def full(path, *given, **how):
        if has_room and "spare" in str(path):
            return written(path, *given, **how)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(io, "write", full)
    assert run("denoise", noisy, "-o", tmp_path / "out.tif", *SHORT) == 1
    said = capsys.readouterr().err
    assert "out.tif could not be written: [Errno 28] No space left on device" in said
    kept = list(tmp_path.glob("spare/*-out.tif"))
    assert len(kept) == has_room
    assert (str(kept[0]) if kept else "nor could it be kept") in said


def test_a_report_that_cannot_be_written_is_no_bad_input(noisy, tmp_path, capsys, monkeypatch):
    def full(*given, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    assert run("denoise", noisy, "-o", tmp_path / "out.tif", "--report", tmp_path / "r.json", *SHORT) == 1
    assert "r.json could not be written" in capsys.readouterr().err
    assert tifffile.imread(tmp_path / "out.tif").shape == (48, 40)


def test_too_little_memory_outside_the_fit_is_one_line(noisy, tmp_path, capsys, monkeypatch):
    def empty(*given):
        raise MemoryError("Unable to allocate 4 GiB")

    monkeypatch.setattr(restoring, "iterate", empty)
    assert run("denoise", noisy, "-o", tmp_path / "out.tif", *SHORT) == 1
    assert capsys.readouterr().err == "napari-dip: memory does not suffice: Unable to allocate 4 GiB\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_fit_and_the_best_so_far_is_written(noisy, tmp_path, number, code):
    out, report = tmp_path / "out.tif", tmp_path / "report.json"
    words = ["denoise", str(noisy), "-o", str(out), "--report", str(report), "--stop", "FixedSteps(steps=100000)"]
    program = (
        "import sys; from napari_dip.cli import main, restoring; follow = restoring.follow\n"
        "def told(*given): print('fitting', flush=True); return follow(*given)\n"
        "restoring.follow = told; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "fitting\n"  # however long the start took
    time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err == "", "nothing but the result off a terminal"
    assert tifffile.imread(out).shape == (48, 40)
    assert json.loads(report.read_text())["ended"] == "stopped by the user"


def test_doctor_says_what_is_there(capsys):
    assert run("doctor") in (0, 1)
    said = capsys.readouterr().out
    for word in ("cores", "cpu", "GiB", "verdict"):
        assert word in said


def test_doctor_says_how_to_mend_a_torch_without_cuda(capsys, monkeypatch):
    monkeypatch.setattr("napari_dip.engine.devices.has_nvidia_driver", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run("doctor") == 1
    assert "pip install --force-reinstall torch --index-url" in capsys.readouterr().out


def test_the_demo_without_a_display_says_so_and_writes_files(tmp_path, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    monkeypatch.chdir(tmp_path)
    whole = samples.micrograph()
    part = dataclasses.replace(whole, image=whole.image[64:160, 64:160], truth=whole.truth[64:160, 64:160])
    monkeypatch.setattr(samples, "micrograph", lambda seed: part)
    assert run("demo", "--max-steps", 10) == 0
    printed = capsys.readouterr().out
    assert "no display" in printed
    folder = tmp_path / "napari-dip-demo"
    assert str(folder) in printed
    assert {path.name for path in folder.iterdir()} == {"input.tif", "restored.tif", "before-after.png"}
    assert tifffile.imread(folder / "restored.tif").dtype == np.uint16


def test_hot_pixels_are_flagged_replaced_and_written(tmp_path):
    image = np.random.default_rng(0).normal(100, 3, (48, 48)).astype(np.float32)
    image[20, 30] += 500
    tifffile.imwrite(tmp_path / "hot.tif", image)
    files = (tmp_path / "hot.tif", "-o", tmp_path / "out.tif")
    assert run("denoise", *files, "--outliers-out", tmp_path / "flags.tif") == 2
    assert run("denoise", *files, "--outliers", "1.5", "--outliers-out", tmp_path / "flags.tif", "--stop",
               "FixedSteps(steps=30)") == 0  # fmt: skip
    assert np.argwhere(tifffile.imread(tmp_path / "flags.tif")).tolist() == [[20, 30]]
    assert tifffile.imread(tmp_path / "out.tif")[20, 30] < 200


def test_standard_deviation_and_members_are_written_or_why_not(tmp_path, capsys):
    tifffile.imwrite(
        noisy := tmp_path / "large.tif", np.random.default_rng(0).normal(50, 5, (64, 72)).astype(np.float32)
    )
    std, members = tmp_path / "std.tif", tmp_path / "members.tif"
    asked = ("--std-out", std, "--members-out", members, "--members", 3, "--max-steps", 5, "--overwrite")
    assert run("denoise", noisy, "-o", tmp_path / "out.tif", *asked) == 0
    assert tifffile.imread(std).shape == (64, 72)
    assert tifffile.imread(std).min() > 0
    assert tifffile.imread(members).shape == (3, 64, 72)
    std.unlink()
    residual, report = tmp_path / "residual.tif", tmp_path / "r.json"
    words = (*asked, "--stop", "FixedSteps(steps=3)", "--residual-out", residual, "--report", report)
    assert run("denoise", noisy, "-o", tmp_path / "out.tif", *words) == 1
    assert "std.tif was not written: there is no pilot to compare the fits with" in capsys.readouterr().err
    assert not std.exists()
    assert residual.exists()
    assert report.exists()


def test_a_map_of_the_variance_is_read_and_says_it_all(noisy, tmp_path, capsys):
    variance, report = tmp_path / "variance.tif", tmp_path / "report.json"
    tifffile.imwrite(variance, np.full((48, 40), 9.0, np.float32))
    words = ("denoise", noisy, "-o", tmp_path / "out.tif", "--variance", variance, "--report", report, *QUICK)
    assert run(*words) == 0
    assert json.loads(report.read_text())["fits"][0]["noise"]["source"] == "given"
    assert run(*words, "--gain", 2, "--overwrite") == 2
    assert "--variance says it all" in capsys.readouterr().err


def starfield(path, gain, **cards):
    """Write 0.5 electrons per count, read noise of 6 electrons, and what the header says of it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] / 96
    electrons = 100 + 300 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.02)
    counts = (rng.poisson(electrons) + rng.normal(0, 6, electrons.shape)) / 0.5
    hdu = fits.PrimaryHDU(counts.astype(np.float32))
    hdu.header.update({"GAIN": gain, "RDNOISE": 6.0, **cards})
    hdu.writeto(path)
    return path


@pytest.mark.parametrize(
    ("gain", "flags", "noise", "said"),
    [
        (
            0.5,
            (),
            {"name": "PoissonGaussian", "gain": 2.0, "read_noise": 12.0, "offset": 0.0},
            "GAIN = 0.5, RDNOISE = 6",
        ),
        (5.0, (), None, "not used, the image has another"),
        (5.0, ("--gain", 2.0), {"name": "PoissonGaussian", "gain": 2.0, "read_noise": 0.0, "offset": 0.0}, ""),
        (
            0.5,
            ("--offset", 1),
            {"name": "PoissonGaussian", "gain": 2.0, "read_noise": 12.0, "offset": 1.0},
            "GAIN = 0.5, RDNOISE = 6",
        ),
        (5.0, ("--read-noise", 30), {"name": "Gaussian", "sigma": 30.0}, ""),
    ],
)
def test_noise_is_what_the_flags_say_or_the_header_where_the_image_agrees(tmp_path, capsys, gain, flags, noise, said):
    path = starfield(tmp_path / "a.fits", gain)
    report = tmp_path / "r.json"
    run("denoise", path, "-o", tmp_path / "b.fits", "--max-steps", 2, "--preset", "quick", "--report", report, *flags)
    assert json.loads(report.read_text())["settings"]["task"]["noise"] == noise
    assert said in capsys.readouterr().err


def test_cite_says_what_was_done_from_the_report(tmp_path, capsys):
    path, report = starfield(tmp_path / "a.fits", 7.0), tmp_path / "r.json"
    run("denoise", path, "-o", tmp_path / "b.fits", "--preset", "quick", "--seed", 7, *QUICK, "--report", report)
    kept = json.loads(report.read_text())["fits"][0]
    capsys.readouterr()
    assert run("cite", report) == 0
    said = capsys.readouterr().out
    assert "seed 7" in said
    assert f"kept steps were {kept['best_step']} of {kept['last_step']}" in said
    assert f"{kept['pilot'][0]:.2f} in fine detail" in said
    assert "told from the image" in said
    assert all(name in said for name in ("Ulyanov", "Shi", "Herbreteau"))


@pytest.mark.parametrize("text", ["no json", "{}", "[1, 2]", '{"settings": {}, "fits": []}'])
def test_cite_needs_a_report(tmp_path, capsys, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    assert run("cite", path) == 2
    assert "no report" in capsys.readouterr().err


def test_check_says_whether_an_image_is_suited(tmp_path, capsys):
    assert run("check", starfield(tmp_path / "a.fits", 0.5)) == 0
    assert capsys.readouterr().out.startswith("suitable (noise ")
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((5, 64, 64), np.uint8) + np.arange(64, dtype=np.uint8))
    assert run("check", tmp_path / "s.tif", "--axes", "TYX") == 0
    said = capsys.readouterr().out
    assert said.startswith("think twice")
    assert "- There are 5 exposures" in said


def test_frames_of_one_scene_are_written_as_one_image(tmp_path, capsys):
    rows, columns = np.mgrid[:48, :48]
    scene = 110 + 60 * np.sin(columns / 5) * np.cos(rows / 7)
    stack = (scene + np.random.default_rng(0).normal(0, 15, (2, 4, 48, 48))).astype(np.float32)
    tifffile.imwrite(tmp_path / "s.tif", stack[0], metadata={"axes": "TYX"}, imagej=True)
    words = ["--frames", "T", "--report", tmp_path / "r.json", "--max-steps", 3]
    assert run("denoise", tmp_path / "s.tif", "-o", tmp_path / "one.tif", *words) == 0
    assert tifffile.imread(tmp_path / "one.tif").shape == (48, 48)
    assert json.loads((tmp_path / "r.json").read_text())["frames"]["count"] == 4
    assert "4 frames along T were restored together" in capsys.readouterr().err
    np.save(tmp_path / "p.npy", stack)
    words = ["--frames", "Z", "--axes", "ZYX", "--max-steps", 3]
    assert run("denoise", tmp_path / "s.tif", "-o", tmp_path / "planes.tif", *words) == 0
    words = ["--frames", "T", "--axes", "PTYX", "--plane", "P=1", "--max-steps", 3]
    assert run("denoise", tmp_path / "p.npy", "-o", tmp_path / "one.npy", *words) == 0
    assert np.load(tmp_path / "one.npy").shape == (48, 48)
    assert run("denoise", tmp_path / "s.tif", "-o", tmp_path / "two.tif", "--frames", "P", "--axes", "TYX") == 2
    assert "--frames P is no axis of an image with the axes TYX: name it with --axes" in capsys.readouterr().err


def test_super_resolve_writes_finer_pixels_where_the_old_ones_were(tmp_path, capsys):
    values = np.random.default_rng(0).normal(100, 5, (24, 20)).astype(np.float32)
    cards = {"CRPIX1": 5.5, "CRPIX2": 4.0, "CRVAL1": 10.0, "CRVAL2": -3.0, "CD1_1": -2e-4, "CD1_2": 3e-5,
             "CD2_1": 3e-5, "CD2_2": 2e-4, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}  # fmt: skip
    header = fits.Header(cards)
    fits.PrimaryHDU(values[None], header).writeto(tmp_path / "low.fits")
    assert run("super-resolve", tmp_path / "low.fits", "-o", tmp_path / "fine.fits", "--factor", "2,1.5",
               "--degradation", "GaussianBlur(sigma=0.5)", "--max-steps", 3) == 0  # fmt: skip
    told = capsys.readouterr().err
    assert "not for quantification" in told
    assert "degraded again" in told
    with fits.open(tmp_path / "fine.fits") as hdus:
        assert hdus[0].shape == (1, 48, 30)
        old, new = WCS(header, naxis=2), WCS(hdus[0].header, naxis=2)
    edges = np.array([(x, y) for x in (-0.5, 19.5) for y in (-0.5, 23.5)])
    finer = np.array([(x, y) for x in (-0.5, 29.5) for y in (-0.5, 47.5)])
    np.testing.assert_allclose(new.wcs_pix2world(finer, 0), old.wcs_pix2world(edges, 0), rtol=0, atol=1e-10)


def test_super_resolve_is_compared_with_a_truth_of_its_own_size(tmp_path, capsys):
    rows, columns = np.mgrid[:40, :32]
    truth = (110 + 60 * np.sin(columns / 5) * np.cos(rows / 7)).astype(np.uint8)
    imageio.imwrite(tmp_path / "truth.png", truth)
    imageio.imwrite(tmp_path / "low.png", truth.reshape(20, 2, 16, 2).mean((1, 3)).astype(np.uint8))
    words = ["super-resolve", tmp_path / "low.png", "-o", tmp_path / "fine.png", "--truth", tmp_path / "truth.png"]
    assert run(*words, "--max-steps", 3) == 0
    assert imageio.imread(tmp_path / "fine.png").shape == (40, 32)
    assert "PSNR" in capsys.readouterr().out
    assert run(*words, "--factor", "3", "--overwrite") == 2
    assert "has shape (40, 32), the result (60, 48)" in capsys.readouterr().err


@pytest.mark.parametrize("blur", [["--psf", "psf.tif"], ["--model", "MoffatPSF(fwhm=2.5)"]], ids=lambda it: it[0])
def test_super_resolve_takes_the_blur_of_the_optics(noisy, tmp_path, monkeypatch, capsys, blur):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("psf.tif", np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32))
    assert run("super-resolve", noisy, "-o", "out.png", *blur, "--max-steps", 3) == 0
    assert imageio.imread("out.png").shape == (96, 80)
    assert ("divided by its sum, 16" in capsys.readouterr().err) == (blur[0] == "--psf")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "Seeing"], "'Seeing' is no model; there are GaussianPSF, MoffatPSF, MicroscopePSF"),
        (["--factor", "1"], "leaves the pixels as they are"),
        (["--factor", "12"], "is not between 1.5 and 8"),
        (["--factor", "two"], "'two' is no number"),
        (["--degradation", "Blur"], "there are Box, AntialiasedBicubic, Lanczos, GaussianBlur"),
    ],
)
def test_super_resolve_refuses_in_one_line_what_it_cannot_do(noisy, tmp_path, capsys, flags, words):
    try:
        code = run("super-resolve", noisy, "-o", tmp_path / "out.png", *flags)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert words in capsys.readouterr().err


def test_a_guide_is_read_from_its_file(noisy, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert run("guided", noisy, "--guide", tmp_path / "truth.png", "-o", out, "--max-steps", 3) == 0
    assert imageio.imread(out).shape == (48, 40)
    imageio.imwrite(tmp_path / "small.png", np.zeros((20, 20), np.uint8))
    assert run("guided", noisy, "--guide", tmp_path / "small.png", "-o", out, "--overwrite") == 2
    assert "A guide of shape (20, 20) does not fit" in capsys.readouterr().err
    assert run("guided", noisy, "-o", out, "--overwrite") == 2
    assert "--guide FILE is missing: Another image of the scene" in capsys.readouterr().err


def test_deblock_takes_the_tables_of_the_file_and_refuses_what_is_no_jpeg(noisy, tmp_path, capsys):
    compressed = tmp_path / "in.jpg"
    imageio.imwrite(compressed, imageio.imread(tmp_path / "truth.png"), quality=12)
    report = tmp_path / "report.json"
    assert run("deblock", compressed, "-o", tmp_path / "out.png", "--report", report, *QUICK) == 0
    tables = json.loads(report.read_text())["settings"]["task"]["tables"]
    assert tables["luma"][:3] == [67, 46, 42]
    assert run("deblock", noisy, "-o", tmp_path / "other.png", *QUICK) == 2
    assert "This is not a JPEG, as far as its values tell" in capsys.readouterr().err


def test_inpaint_takes_a_colour_of_the_picture_as_mask(tmp_path, capsys):
    image = np.full((32, 32, 3), 90, np.uint8)
    image[10:14, 5:25] = (255, 0, 0)
    imageio.imwrite(tmp_path / "in.png", image)
    words = ("inpaint", tmp_path / "in.png", "-o", tmp_path / "out.png", "--mask-colour")
    assert run(*words, "#ff0000", "--report", tmp_path / "report.json", *QUICK) == 0
    assert json.loads((tmp_path / "report.json").read_text())["filled_values"] == 3 * 80
    assert run(*words, "red", "--overwrite", *QUICK) == 2
    assert "'red' is no colour" in capsys.readouterr().err


def test_fbc_prints_the_bands_and_writes_them(noisy, tmp_path, capsys):
    table = tmp_path / "bands.csv"
    assert run("fbc", noisy, "--reference", noisy, "--out", table) == 0
    assert capsys.readouterr().out.count("1.000        1.000  ########") == 8
    lines = table.read_text().splitlines()
    assert lines[0] == "channel,from,to,magnitude,correlation"
    assert len(lines) == 9
    assert run("fbc", noisy, "--reference", noisy, "--out", table) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run("fbc", noisy, "--reference", tmp_path / "truth.png", "--published", "--out", tmp_path / "b.json") == 0
    assert [row["magnitude"] <= 1 for row in json.loads((tmp_path / "b.json").read_text())] == [True] * 5
    capsys.readouterr()
    assert run("fbc", noisy, "--reference", noisy, "--out", tmp_path / "nowhere" / "b.csv") == 2
    assert capsys.readouterr().out == ""
    assert run("fbc", noisy, "--reference", noisy, "--out", tmp_path / "bands.txt") == 2


def test_the_settings_of_a_report_are_the_defaults_of_the_next_run(noisy, tmp_path):
    first, second, third = (tmp_path / name for name in ("first.json", "second.json", "third.json"))
    words = ("--gain", 0.5, "--read-noise", 3, "--seed", 4, "--stop", "FixedSteps(steps=3)", "--preset", "quick")
    assert run("denoise", noisy, "-o", tmp_path / "a.png", "--report", first, *words) == 0
    assert run("denoise", noisy, "-o", tmp_path / "b.png", "--report", second, "--settings", first) == 0
    assert run("denoise", noisy, "--seed", 5, "-o", tmp_path / "c.png", "--report", third, "--settings", first) == 0
    one, same, other = (json.loads(path.read_text()) for path in (first, second, third))
    assert same["settings"] == one["settings"]
    assert same["sha256_output"] == one["sha256_output"]
    assert (other["seed"], other["settings"]["asked"]) == (5, one["settings"]["asked"])


def test_settings_of_another_task_or_of_nothing_are_refused(noisy, tmp_path, capsys):
    report, words = tmp_path / "report.json", ("-o", tmp_path / "a.png", "--stop", "FixedSteps(steps=1)")
    assert run("super-resolve", noisy, *words, "--report", report) == 0
    assert run("denoise", noisy, "-o", tmp_path / "b.png", "--settings", report) == 2
    assert "is of SuperResolve, not of Denoise" in capsys.readouterr().err
    assert run("denoise", noisy, "-o", tmp_path / "b.png", "--settings", noisy) == 2
    assert "no report of a restoration" in capsys.readouterr().err


def test_what_a_file_said_is_left_to_the_next_file(tmp_path):
    """Its noise and its saturation are of that image: another one has its own, or none."""
    rows, columns = np.mgrid[:96, :80]
    electrons, rng = 200 + 100 * np.sin(columns / 9) * np.cos(rows / 12), np.random.default_rng(0)
    values = (rng.poisson(electrons) + rng.normal(0, 2, electrons.shape)).astype(np.float32)
    first, report = tmp_path / "first.fits", tmp_path / "first.json"
    header = fits.Header({"GAIN": 1.0, "RDNOISE": 2.0, "SATURATE": 9000.0})
    fits.PrimaryHDU(values, header).writeto(first)
    np.save(tmp_path / "second.npy", values)
    brief = ("--stop", "FixedSteps(steps=2)")
    assert run("denoise", first, "-o", tmp_path / "a.fits", "--report", report, *brief) == 0
    told = json.loads(report.read_text())
    assert told["settings"]["saturation"] == 9000
    assert told["settings"]["asked"]["task"]["noise"] is not None
    second = tmp_path / "second.json"
    words = ("--report", second, "--settings", report)
    assert run("denoise", tmp_path / "second.npy", "-o", tmp_path / "b.npy", *words) == 0
    told = json.loads(second.read_text())
    assert told["settings"]["saturation"] is None
    assert told["settings"]["asked"]["task"]["noise"] is None
    assert told["settings"]["asked"]["stop"]["steps"] == 2


def test_an_image_that_no_report_holds_must_be_given_again(noisy, tmp_path, capsys):
    variance, report, out = tmp_path / "variance.npy", tmp_path / "report.json", tmp_path / "a.png"
    np.save(variance, np.full((48, 40), 225.0))
    brief = ("--stop", "FixedSteps(steps=1)")
    assert run("denoise", noisy, "-o", out, "--variance", variance, "--report", report, *brief) == 0
    again = ("denoise", noisy, "-o", tmp_path / "b.png", "--settings", report)
    assert run(*again) == 2
    assert "had --variance" in capsys.readouterr().err
    assert run(*again, "--variance", variance) == 0
    assert run("denoise", noisy, "-o", out, "--gain", 1, "--report", report, "--overwrite", *brief) == 0
    assert run(*again, "--variance", variance, "--overwrite") == 0  # instead of the gain of the report


@pytest.mark.parametrize(
    ("part", "value"),
    [("psf", "//elsewhere/psf.tif"), ("floor", json.loads("[" * 600 + "]" * 600)), ("align", [1])],
)
def test_a_report_names_no_file_and_breaks_nothing(noisy, tmp_path, capsys, part, value):
    report = tmp_path / "report.json"
    words = ("-o", tmp_path / "a.png", "--report", report, "--stop", "FixedSteps(steps=1)")
    assert run("deconvolve", noisy, *words) == 0
    found = json.loads(report.read_text())
    found["settings"]["asked"]["task"][part] = value
    report.write_text(json.dumps(found))
    capsys.readouterr()
    code = run("deconvolve", noisy, "-o", tmp_path / "b.png", "--settings", report)
    assert "elsewhere" not in capsys.readouterr().err
    assert code == (0 if part == "psf" else 2)
