"""What a paper has to say of a restored image, from the report of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIP = (
    "D. Ulyanov, A. Vedaldi, V. Lempitsky, Deep image prior. Proceedings of the IEEE Conference on Computer Vision and "
    "Pattern Recognition, 2018, 9446-9454."
)
SPECTRAL = (
    "Z. Shi, P. Mettes, S. Maji, C. G. M. Snoek, On measuring and controlling the spectral bias of the deep image "
    "prior. International Journal of Computer Vision 130, 2022, 885-908 (arXiv:2107.01125)."
)
RIDGE = (
    "S. Herbreteau, C. Kervrann, Towards a unified view of unsupervised non-local methods for image denoising: the "
    "NL-Ridge approach. IEEE International Conference on Image Processing, 2022."
)
BM3D = (
    "K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, Image denoising by sparse 3-D transform-domain collaborative "
    "filtering. IEEE Transactions on Image Processing 16, 2007, 2080-2095."
)


def methods_text(report: Mapping[str, Any]) -> str:
    """Return the methods paragraph and the references of a run, from its `Restoration.report`.

    Raises
    ------
    ValueError
        When that is no such report.
    """
    try:
        return _text(report)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("This is no report of a restoration, or one of another version") from error


def _text(report: Mapping[str, Any]) -> str:
    settings, fits = report["settings"], report["fits"]
    piloted = [fit for fit in fits if fit["pilot"]]
    shrunk = 0.0
    sentences = [
        f"Images were restored {_from(settings['task'])} with napari-dip {report['version']} (task: "
        f"{_words(settings['task'])}; PyTorch {report['torch']}, {report['device']}, {report['precision']}, "
        f"{report['threads']} threads, seed {report['seed']}), by the deep image prior [1].",
        _networks(fits),
        f"The stopping rule was {settings['stop']['name']}; the fits ended for: "
        f"{'; '.join(dict.fromkeys(fit['ended'] for fit in fits))}. The kept steps were "
        f"{_list(fit['best_step'] for fit in fits)} of {_list(fit['last_step'] for fit in fits)}.",
    ]
    sentences += _before(report, fits)
    if settings["task"]["name"] == "Enhance":
        sentences.append("Detail was made stronger for the eye: the result is not for quantification.")
    if piloted:
        fine, rest = (_mean(fit["pilot"][band] for fit in piloted) for band in (0, 1))
        shrunk = _mean(fit["collaborative"] for fit in piloted)
        found = any(score is not None for fit in piloted for score in fit["scores"])  # no score: the weight was fixed
        how = ", of least estimated risk," if found else ""
        sentences.append(
            f"Their sum{_parts(piloted)} was mixed with a closed-form estimate, {_ways(shrunk)}, whose weight{how} "
            f"was {fine:.2f} in fine detail and {rest:.2f} in the rest; the local mean of the measurement was kept."
        )
    if factors := [fit["psf"]["factor"] for fit in fits if fit.get("psf") and fit["psf"]["is_used"]]:
        sentences.append(
            f"The point-spread function was made {_mean(factors):.2f} times as wide, by which it predicted held-out "
            f"pixels best."
        )
    sentences += _noise(fits)
    sentences += _frames(report.get("frames"))
    if report["filled_values"]:
        sentences.append(
            f"{report['filled_values']} of {_product(settings['grid'])} values were missing and filled in; they are "
            f"not measured."
        )
    if settings["grid"] != settings["shape"]:
        sentences.append(
            f"The result has {_times(settings['grid'])} values, the measurement {_times(settings['shape'])}; detail "
            f"finer than the measurement comes from the prior and is not for quantification."
        )
    verdicts = sorted({fit["residual"]["verdict"] for fit in fits if fit["residual"]})
    if verdicts:
        sentences.append(f"Residual: {'; '.join(verdicts)}.")
    references = [DIP, SPECTRAL, *([RIDGE] if piloted else []), *([BM3D] if shrunk else [])]
    return " ".join(sentences) + "\n\n" + "\n".join(f"[{n}] {one}" for n, one in enumerate(references, 1))


def _from(task: Mapping[str, Any]) -> str:
    return "with another image of the scene as a guide" if task.get("guide") else "from themselves alone"


def _words(value: Any) -> str:
    """Return a setting as it may stand in a text: what is not set is left out, of an array its shape is told."""
    if not isinstance(value, Mapping):
        return str(value)
    if "sha256" in value:
        return f"an array of {_times(value['shape'])}"
    told = [f"{name}={_words(one)}" for name, one in value.items() if name != "name" and one not in (None, "", "none")]
    return f"{value['name']}({', '.join(told)})" if told else str(value["name"])


def _before(report: Mapping[str, Any], fits: list[Mapping[str, Any]]) -> list[str]:
    """Return what was done to the measurement before the fits, in sentences."""
    said = []
    if report["settings"].get("stretched"):
        said.append(
            "Values were stretched by a variance-stabilising curve (generalised Anscombe transform) and taken back by "
            "its exact unbiased inverse."
        )
    if any(fit["stripes"] for fit in fits):
        most = max(fit["stripes"] or 0.0 for fit in fits)
        said.append(f"Offsets of lines, {most:.3g} in root mean square at most, were taken off first.")
    if report["outliers"]:
        said.append(f"{report['outliers']} values were flagged as outliers and replaced.")
    return said


def _parts(fits: list[Mapping[str, Any]]) -> str:
    """Return which share each member has, in words; nothing of one alone."""
    members = sorted({fit["member"] for fit in fits})
    shares = [_mean(fit["share"] for fit in fits if fit["member"] == one) for one in members]
    return f" (shares {', '.join(f'{share:.2f}' for share in shares)})" if len(shares) > 1 else ""


def _ways(shrunk: float) -> str:
    """Return of what the pilot was made, in words."""
    if not shrunk:
        return "NL-Ridge [3]"
    return f"{1 - shrunk:.0%} NL-Ridge [3] and {shrunk:.0%} collaborative filtering [4]"


def _networks(fits: list[Mapping[str, Any]]) -> str:
    described = [network for _, network in sorted({(fit["member"], fit["network"]) for fit in fits})]
    counted = [f"{described.count(one)} x {one}" for one in dict.fromkeys(described)]
    return f"Networks, whose spectral bias [2] keeps noise out until they are stopped: {'; '.join(counted)}."


def _noise(fits: list[Mapping[str, Any]]) -> list[str]:
    known = [fit["noise"] for fit in fits if fit["noise"]]
    if not known:
        return []
    first = known[0]
    channels = (
        f"{slope:.4g} x + {at_zero:.4g}" for slope, at_zero in zip(first["slope"], first["at_zero"], strict=True)
    )
    text = (
        f"The variance of the noise, {first['source']}, was {_list(channels)} for an intensity x in the image's units."
    )
    if any(any(fit["reach"]) for fit in fits):
        text += " It was found to be correlated from pixel to pixel."
    if any(fit["clipped"] for fit in fits):
        text += " The bias of clipped values was undone."
    return [text]


def _frames(frames: Mapping[str, Any] | None) -> list[str]:
    if frames is None:
        return []
    farthest = max(abs(value) for place in frames["moved"] for by in place for value in by)
    moved = f", after they were laid upon the first, by up to {farthest:.2f} px," if farthest else ""
    left = f" {frames['outlying']} values that one of them alone had were left out." if frames["outlying"] else ""
    return [f"{frames['count']} exposures of a scene were restored together{moved} as their mean.{left}"]


def _list(values: Any) -> str:
    return ", ".join(str(value) for value in values)


def _times(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


def _mean(values: Any) -> float:
    numbers = list(values)
    return float(sum(numbers)) / len(numbers)


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
