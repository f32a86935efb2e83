"""Every picture of the documentation, made by the product itself.

    python docs/pictures.py                          # all of them: several minutes of fits
    python docs/pictures.py --only stop              # one of them
    xvfb-run -s "-screen 0 1600x1000x24" python docs/pictures.py --only window    # without a display
    python docs/pictures.py --max-steps 20 --into /tmp/pictures                   # drafts, to try the script out

A draft, made with --max-steps, says so in the file (the PNG text "draft"), and the tests refuse drafts in docs/.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import tifffile
import torch
from astropy.io import fits
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from skimage import data
from skimage.transform import resize

import napari_dip as dip
from napari_dip import samples

HERE = Path(__file__).parent / "pictures"
GAP = 8  # px of white between two images
LARGEST = 300_000  # bytes of a picture
WINDOW = (1400, 860)  # px
LONGEST = 3600  # s that a window's run may take


@dataclass(frozen=True)
class Drawing:
    """How the pictures of this call are made."""

    into: Path
    max_steps: int | None
    device: str
    data: Path | None  # images that are not scikit-image's

    def save(self, name: str, pixels: np.ndarray) -> None:
        """Write 8-bit pixels as a small PNG; a palette where the file would be large."""
        path = self.into / f"{name}.png"
        picture, notes = Image.fromarray(pixels), PngInfo()
        notes.add_text("Software", f"napari-dip {dip.__version__}")
        if self.max_steps is not None:
            notes.add_text("draft", f"at most {self.max_steps} steps")
        picture.save(path, optimize=True, pnginfo=notes)
        if path.stat().st_size > LARGEST:
            picture.convert("RGB").quantize(256).save(path, optimize=True, pnginfo=notes)
        size = path.stat().st_size
        if size > LARGEST:
            raise SystemExit(f"{path} has {size:,} bytes, {LARGEST:,} are allowed")
        print(f"{path}: {pixels.shape[1]} x {pixels.shape[0]}, {size / 1000:.0f} kB")


def before_after(drawing: Drawing) -> None:
    """Draw the dim micrograph, and the same restored, at one contrast."""
    sample = samples.micrograph()
    result = dip.restore(sample.image, max_steps=drawing.max_steps, device=drawing.device)
    print(f"before-after: {decibels(sample, sample.image):.2f} -> {decibels(sample, result.image):.2f} dB, "
          f"step {result.best_step}, {result.ended}")  # fmt: skip
    drawing.save("before-after", beside(sample.image, result.image, limits=span(sample.truth), zoom=2))


def inpaint(drawing: Drawing) -> None:
    """Draw the scratched moon, and the same with the scratches filled."""
    sample = samples.scratched_moon()
    task, rule = (
        dip.Inpaint(sample.missing),
        dip.HeldOut(ceiling=800),
    )  # shorter than the default, for the sake of whoever waits for the pictures
    result = dip.restore(sample.image, task, stop=rule, max_steps=drawing.max_steps, device=drawing.device)
    print(f"inpaint: step {result.best_step}, {result.ended}")
    drawing.save("inpaint", beside(sample.image, result.image, limits=span(sample.truth), zoom=2))


def hole(drawing: Drawing) -> None:
    """Draw a part of a picture of a cup with a wide hole in its rim, and the same with the hole filled."""
    image = data.coffee()[120:280, 200:360]
    rows, columns = np.mgrid[:160, :160] - 80
    missing = (rows / 22) ** 2 + (columns / 18) ** 2 < 1
    result = dip.restore(image, dip.Inpaint(missing), max_steps=drawing.max_steps, device=drawing.device)
    print(f"hole: step {result.best_step}, {result.ended}")
    marked = np.where(missing[..., None], 255, image)
    drawing.save("hole", beside(marked, result.image, image, limits=(0, 255), zoom=2))


def text(drawing: Drawing) -> None:
    """Draw a part of a portrait with words over it and a hole in it, and the same without."""
    whole = Image.fromarray(data.astronaut()).crop((60, 0, 412, 352))
    truth = np.asarray(whole.resize((176, 176), Image.Resampling.LANCZOS))
    marked = Image.fromarray(truth)
    pen = ImageDraw.Draw(marked)
    font = ImageFont.truetype(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", 9)
    for line in range(6):
        pen.text((4, 8 + 30 * line), "what was written over an image", fill=(255, 255, 0), font=font)
    pen.rectangle((150, 36, 165, 51), fill=(255, 255, 0))
    task = dip.Inpaint(mask_colour="#ffff00", tolerance=90, widen=1)
    result = dip.restore(np.asarray(marked), task, max_steps=drawing.max_steps, device=drawing.device)
    print(f"text: step {result.best_step}, {result.ended}")
    drawing.save("text", beside(np.asarray(marked), result.image, truth, limits=(0, 255), zoom=2))


def super_resolve(drawing: Drawing) -> None:
    """Draw the middle of the coins with large pixels, the same super-resolved, and the truth."""
    sample = samples.coarse_coins()
    crop = sample.image[16:48, 16:48]
    result = dip.restore(crop, dip.SuperResolve(4), max_steps=drawing.max_steps, device=drawing.device)
    truth = sample.truth[64:192, 64:192]
    cubic = resize(crop.astype(float), truth.shape, order=3, mode="edge")
    error = [10 * np.log10(255**2 / np.mean((one - truth) ** 2)) for one in (cubic, result.image)]
    print(f"super-resolve: cubic {error[0]:.2f}, result {error[1]:.2f} dB, step {result.best_step}, {result.ended}")
    shown = [crop.repeat(4, 0).repeat(4, 1), result.image, truth]
    drawing.save("super-resolve", beside(*shown, limits=(0, 255), zoom=2))


def guided(drawing: Drawing) -> None:
    """Draw a part of the portrait without flash, its guide, and the restored one."""
    sample = samples.without_flash()
    part = np.s_[40:168, 64:192]
    image, guide, truth = sample.image[part], sample.guide[part], sample.truth[part]
    result = dip.restore(image, dip.Guided(guide), max_steps=drawing.max_steps, device=drawing.device)
    error = [10 * np.log10(255**2 / np.mean((one - truth) ** 2)) for one in (image.astype(float), result.image)]
    print(f"guided: {error[0]:.2f} -> {error[1]:.2f} dB, step {result.best_step}, {result.ended}")
    drawing.save("guided", beside(image, guide, result.image, limits=(0, 255), zoom=2))


def deblock(drawing: Drawing) -> None:
    """Draw the compressed cat, and the same without the traces of JPEG."""
    sample = samples.compressed_cat()
    result = dip.restore(sample.image, dip.Deblock(), max_steps=drawing.max_steps, device=drawing.device)
    print(f"deblock: {decibels(sample, sample.image):.2f} -> {decibels(sample, result.image):.2f} dB")
    drawing.save("deblock", beside(sample.image, result.image, limits=(0, 255), zoom=2))


def enhance(drawing: Drawing) -> None:
    """Draw the hazy moon, and the same with stronger detail."""
    sample = samples.hazy_moon()
    task = dip.Enhance(amount=2, size=12)
    result = dip.restore(sample.image, task, max_steps=drawing.max_steps, device=drawing.device)
    drawing.save("enhance", beside(sample.image, result.image, limits=span(sample.truth), zoom=2))


def deconvolve(drawing: Drawing) -> None:
    """Draw a part of the deep field through the air, the same deconvolved, and the truth."""
    sample = samples.blurred_stars()
    part = np.s_[64:160, 64:160]
    task = dip.Deconvolve(model=dip.MoffatPSF(5.0, beta=3.0))
    result = dip.restore(sample.image[part], task, max_steps=drawing.max_steps, device=drawing.device)
    print(f"deconvolve: step {result.best_step}, {result.ended}")
    truth = sample.truth[part]
    low, high = np.percentile(truth, [0.1, 99])
    drawing.save("deconvolve", beside(sample.image[part], result.image, truth, limits=(low, high), zoom=3))


def nuclei(drawing: Drawing) -> None:
    """Draw a plane and a section of real nuclei (the example volume of StarDist, BSD-3), and the same deconvolved."""
    if drawing.data is None:
        print("nuclei: needs --data FOLDER, with vol3d/stardist_img3d.tif")
        return
    volume = tifffile.imread(drawing.data / "vol3d" / "stardist_img3d.tif")
    floor = float(np.percentile(volume, 1))
    task = dip.Deconvolve(model=dip.GaussianPSF(fwhm=1.8, fwhm_z=2.9), floor=floor)
    result = dip.restore(volume, task, preset="quick", axes="ZYX", max_steps=drawing.max_steps, device=drawing.device)
    print(f"nuclei: step {result.best_step}, {result.ended}; {'; '.join(result.notes)}")
    limits = span(volume)
    planes = [beside(*(each[at] for each in (volume, result.image)), limits=limits, zoom=5)
              for at in (np.s_[15], np.s_[:, 30])]  # fmt: skip
    drawing.save("nuclei", np.concatenate([planes[0], np.full((GAP, *planes[0].shape[1:]), 255, np.uint8), planes[1]]))


def m51(drawing: Drawing) -> None:
    """Draw a part of M51 (IRAF's test image dev$pix, 600 s in B, © 1986 AURA), fitted, and at a resolution of 2 px.

    The profile is the Moffat that benchmarks/seeing.py fits to three of its stars.
    """
    if drawing.data is None:
        print("M51: needs --data FOLDER, with astro/M51.fits")
        return
    crop = fits.getdata(drawing.data / "astro" / "M51.fits")[140:300, 260:420].astype(np.float32)
    task = dip.Deconvolve(model=dip.MoffatPSF(fwhm=2.21, beta=2.97), resolution=2.0)
    result = dip.restore(crop, task, max_steps=drawing.max_steps, device=drawing.device)
    print(f"M51: step {result.best_step}, {result.ended}; {'; '.join(result.notes)}")
    low, high = np.percentile(crop, [1, 99.8])
    stretched = [np.arcsinh(8 * (each - low) / (high - low)) for each in (crop, result.estimate, result.image)]
    drawing.save("M51", beside(*stretched, limits=(0, float(np.arcsinh(8))), zoom=2))


def bands(drawing: Drawing) -> None:
    """Plot what of each frequency band a decoder has learned over the steps, without and with spectral control."""
    clean = data.camera()[80:176, 200:296] / 255
    noisy = clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape)
    problem = dip.Problem(torch.from_numpy(noisy.astype(np.float32))[None], (1, *clean.shape))
    curves = {}
    for name, control in (("plain", None), ("controlled", dip.SpectralControl(adapt=True))):
        prior = dip.Prior(dip.Decoder(width=32, control=control), dip.Fourier(), learning_rate=0.001)
        steps, amplitudes, errors = [], [], []
        for iterate in dip.fit(problem, prior, torch.device("cpu")):
            if iterate.step % 50 == 0 or iterate.step == 10:
                shown = iterate.x[0].numpy().astype(float)
                steps.append(iterate.step)
                amplitudes.append(dip.fbc(shown, noisy, bands=5).magnitude[0])
                errors.append(-10 * np.log10(np.mean((shown - clean) ** 2)))
            if iterate.step >= (drawing.max_steps or 3000):
                break
        curves[name] = steps, np.array(amplitudes), np.array(errors)
        print(f"bands, {name}: best {max(errors):.2f} dB, last {errors[-1]:.2f} dB")
    drawing.save("bands", banded(curves))


def stop(drawing: Drawing) -> None:
    """Plot the held-out score over the steps, and what the rule cannot see: the distance from the truth."""
    sample = samples.micrograph()
    rule = dip.HeldOut(patience=5000, ceiling=1000)  # goes on, so that the rise is seen
    steps, errors = [], []
    for progress in dip.iter_restore(sample.image, preset="plain", stop=rule, max_steps=drawing.max_steps):
        if progress.score is not None:
            steps.append(progress.step)
            errors.append(float(np.mean((progress.image() - sample.truth) ** 2)))
    drawing.save("stop", plotted(steps, progress.fit.scores, errors))


def window(drawing: Drawing) -> None:
    """Draw the window at the end of a run."""
    import napari

    from napari_dip.gui.widget import DeepImagePrior

    if drawing.max_steps is not None:
        print(f"window: stopped after {drawing.max_steps} steps")
    viewer = napari.Viewer(title="napari", show=True)
    viewer.window.resize(*WINDOW)
    sample = samples.micrograph()
    viewer.add_image(sample.image, name=sample.name)
    dock = DeepImagePrior(viewer)
    viewer.window.add_dock_widget(dock, name="Deep image prior", area="right")
    finish_run(dock, drawing)
    side_by_side(viewer)
    pump(1.0)
    drawing.save("window", np.ascontiguousarray(viewer.window.screenshot(flash=False, canvas_only=False)[..., :3]))
    viewer.close()


def finish_run(dock: Any, drawing: Drawing) -> None:
    """Press Run and wait for the end."""
    pump(0.5)
    dock.run()
    if dock.session is None:
        raise SystemExit(f"The run did not start: {dock.place.text()}")
    started = time.perf_counter()
    while dock.session.is_busy and time.perf_counter() - started < LONGEST:
        pump(0.1)
        last = dock.session.last
        if drawing.max_steps is not None and last is not None and last.step >= drawing.max_steps:
            dock.stop()
    if dock.session.state not in ("finished", "stopped"):
        raise SystemExit(f"The run is {dock.session.state}: {dock.message.text()}")


def side_by_side(viewer: Any) -> None:
    """Show each layer in a place of its own, all at once."""
    grid = viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid  # moved in napari 0.9
    grid.enabled = True
    grid.shape = (1, -1)
    viewer.reset_view()


def pump(seconds: float) -> None:
    """Let the window live for a while."""
    from qtpy.QtWidgets import QApplication

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def beside(*images: np.ndarray, limits: tuple[float, float], zoom: int) -> np.ndarray:
    """Return images as one 8-bit picture, white between them, every pixel a square of `zoom` pixels."""
    low, high = limits
    shown = [255 * np.clip((one.astype(float) - low) / (high - low), 0, 1) for one in images]
    large = [one.astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1) for one in shown]
    white = np.full((large[0].shape[0], GAP, *large[0].shape[2:]), 255, np.uint8)
    return np.concatenate([part for one in large for part in (white, one)][1:], axis=1)


def span(truth: np.ndarray) -> tuple[float, float]:
    """Return the contrast limits that suit the clean image, for the noisy one too."""
    low, high = np.percentile(truth, [0.1, 99.9])
    margin = 0.1 * (high - low)
    return float(low - margin), float(high + margin)


def decibels(sample: samples.Sample, image: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of an image, the peak being the range of the truth."""
    return float(10 * np.log10(float(np.ptp(sample.truth)) ** 2 / np.mean((image.astype(float) - sample.truth) ** 2)))


def plotted(steps: list[int], scores: list[float], errors: list[float]) -> np.ndarray:
    """Return a plot of both curves, each over its own axis, with their lowest points marked, as pixels."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, left = plt.subplots(figsize=(7.2, 3.6), dpi=110, layout="constrained")
    right = left.twinx()
    for axes, values, colour, name in (
        (left, scores, "tab:blue", "held-out error: all that the rule sees"),
        (right, errors, "tab:orange", "error against the truth (counts²)"),
    ):
        axes.plot(steps, values, color=colour)
        axes.axvline(steps[int(np.argmin(values))], color=colour, linestyle=":")
        axes.set_ylabel(name, color=colour)
        lowest = min(values)
        axes.set_ylim(0.98 * lowest, max(1.25 * lowest, 1.05 * values[-1]))
    left.set_xlabel("step")
    left.set_xlim(0, steps[-1])
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    plt.close(figure)
    return pixels


def banded(curves: dict[str, tuple[list[int], np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return plots side by side of bands' amplitudes and of PSNR over the steps, as pixels."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(curves), figsize=(8.4, 3.4), dpi=110, layout="constrained", sharey=True)
    others = [panel.twinx() for panel in panels]
    for panel, other, (name, (steps, amplitudes, errors)) in zip(panels, others, curves.items(), strict=True):
        for index, row in enumerate(amplitudes.T):
            panel.plot(
                steps,
                row,
                color=plt.get_cmap("viridis")(index / 5),
                label=f"to {(index + 1) / 10:.1f}",
            )
        other.plot(steps, errors, color="tab:red", linestyle="--")
        panel.set(title=name, xlabel="step", ylim=(0, 1.1))
        other.set_ylim(14, 1 + max(each.max() for _, _, each in curves.values()))
    panels[0].set_ylabel("amplitude, measurement = 1")
    panels[0].legend(title="cycles per px", fontsize=7, title_fontsize=7)
    others[-1].set_ylabel("PSNR in dB (dashed)", color="tab:red")
    others[0].set_yticklabels([])
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    plt.close(figure)
    return pixels


PICTURES: dict[str, Callable[[Drawing], None]] = {
    "before-after": before_after,
    "inpaint": inpaint,
    "hole": hole,
    "text": text,
    "super-resolve": super_resolve,
    "guided": guided,
    "deblock": deblock,
    "enhance": enhance,
    "deconvolve": deconvolve,
    "nuclei": nuclei,
    "M51": m51,
    "bands": bands,
    "stop": stop,
    "window": window,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PICTURES))
    parser.add_argument("--max-steps", type=int, help="drafts")
    parser.add_argument("--into", type=Path, default=HERE)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, help="a folder with vol3d/stardist_img3d.tif and astro/M51.fits")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    drawing = Drawing(options.into, options.max_steps, options.device, options.data)
    for name in [options.only] if options.only else PICTURES:
        PICTURES[name](drawing)


if __name__ == "__main__":
    main()
