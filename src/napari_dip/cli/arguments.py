"""Flags, made from the fields of the tasks and rules."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import math
import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import napari_dip as dip
from napari_dip.cli import check, cite, demo, doctor, fbc, restoring
from napari_dip.engine.arrays import role
from napari_dip.engine.fields import check_value, notes
from napari_dip.engine.problem import Role

CHOICES: dict[Any, tuple[type, ...]] = {dip.Degradation: dip.DEGRADATIONS, dip.PSF: dip.PSFS}
"""What can be chosen for a task's field of each protocol."""

DESCRIPTION = "Restore any scientific image from that image alone, by the deep image prior."
EXAMPLES = """examples:
  napari-dip denoise noisy.tif -o clean.tif
  napari-dip inpaint scratched.png --mask scratches.png -o whole.png
  napari-dip super-resolve small.tif --factor 3 -o fine.tif
  napari-dip denoise stack.tif --plane 12 -o plane12.tif
  napari-dip demo
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each sub-command's function is its default `command`."""
    parser = argparse.ArgumentParser(
        "napari-dip", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"napari-dip {dip.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for task in dip.TASKS:
        summary = (task.__doc__ or "").splitlines()[0]
        one = commands.add_parser(command_of(task), help=summary, description=summary)
        add_files(one)
        add_fields(one, task)
        add_run(one)
        one.set_defaults(command=restoring.restore_file, task=task, parser=one, prior=None)
    summary = "Restore a noisy sample in napari, or without a display into napari-dip-demo/."
    one = commands.add_parser("demo", help=summary, description=summary)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--device", default="auto", metavar="NAME")
    one.add_argument("--max-steps", type=_positive, metavar="N", help="end the fit at the latest then")
    one.add_argument("--headless", action="store_true", help="write files, even where there is a display")
    one.set_defaults(command=demo.run)
    summary = "Say whether an image is suited for it, before a fit."
    one = commands.add_parser("check", help=summary, description=summary)
    one.add_argument("image", metavar="IN", help="TIFF (also as IN[1]), FITS (also as IN[SCI,1]), PNG, JPEG or NPY")
    one.add_argument("--axes", metavar="ZYX", help="what each axis of IN is: Z depth, T time, C channel, S colour")
    one.add_argument("--saturation", type=_finite, metavar="VALUE", help="from here on pixels are missing")
    one.set_defaults(command=check.run)
    add_fbc(commands)
    summary = "Print what a paper has to say of a result, and what to cite."
    one = commands.add_parser("cite", help=summary, description=summary)
    one.add_argument("report", metavar="REPORT.json", help="what --report wrote")
    one.set_defaults(command=cite.run)
    summary = "Say what this machine has for a fit, and what is wrong with it."
    one = commands.add_parser("doctor", help=summary, description=summary)
    one.set_defaults(command=doctor.run)
    return parser


def command_of(task: type) -> str:
    """Return the sub-command of a task: `super-resolve` of SuperResolve."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", task.__name__).lower()


def add_fbc(commands: Any) -> None:
    summary = "Print how much of each frequency band of a reference an image has."
    one = commands.add_parser("fbc", help=summary, description=summary)
    one.add_argument("image", metavar="OUT", help="what was restored")
    one.add_argument("--reference", required=True, metavar="IN", help="what it is compared with: the measurement, or "
                     "a clean image")  # fmt: skip
    one.add_argument("--bands", type=_positive, metavar="N", help="default: 8, and 5 with --published")
    one.add_argument("--published", action="store_true", help="the measure of Shi et al. 2022, for comparison")
    one.add_argument("-o", "--out", metavar="FILE", help="the same numbers as .csv or .json")
    one.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    one.add_argument("--axes", metavar="ZYX", help="what each axis of IN is: Z depth, T time, C channel, S colour")
    one.set_defaults(command=fbc.run)


def add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IN", help="TIFF (also as IN[1]), FITS (also as IN[SCI,1]), PNG, JPEG or NPY")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="the restored image; its suffix decides")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--stack-out", metavar="FILE", help="averaged outputs, with --keep-every")
    parser.add_argument("--residual-out", metavar="FILE", help="what was removed: IN minus the restored image")
    parser.add_argument("--std-out", metavar="FILE", help="standard deviation: how far noise may have moved a value")
    parser.add_argument("--members-out", metavar="FILE", help="images that differ as OUT may differ from the truth: "
                        "derive from each what you want the error of")  # fmt: skip
    parser.add_argument("--members", type=_positive, default=16, metavar="N", help="how many of them (default 16)")
    parser.add_argument("--report", metavar="FILE.json", help="the record of the run")
    parser.add_argument(
        "--truth", metavar="FILE", help="a clean image, for PSNR and SSIM in the report; used for nothing else"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", metavar="REPORT.json", help="what another run was asked for, as its --report "
                        "says: the defaults of the flags that are not given here")  # fmt: skip
    parser.add_argument("--preset", choices=[preset.name for preset in dip.PRESETS], default="standard",
                        help="how much time the result may take; default: standard")  # fmt: skip
    parser.add_argument("--stop", type=rule, metavar="RULE", help=f"one of {', '.join(_names(dip.RULES))}, as "
                        "FixedSteps or 'FixedSteps(steps=800)'; default: the preset's, else the task's")  # fmt: skip
    parser.add_argument("--max-steps", type=_positive, metavar="N", help="end each fit at the latest then")
    parser.add_argument("--max-seconds", type=_above_zero, metavar="S", help="end the run at the latest then")
    parser.add_argument("--max-memory", type=_above_zero, metavar="GIB", help="the run may take so much: what needs "
                        "more is fitted in tiles; default: what is free")  # fmt: skip
    parser.add_argument("--tile", type=_positive, metavar="PX", help="fit in tiles of this side, whatever is free")
    parser.add_argument("--keep-every", type=_positive, default=0, metavar="N", help="steps between kept outputs")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same CPU: same bits (default 0)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cuda, mps or cpu")
    parser.add_argument("--dtype", choices=["source", "float32"], default="source", help="of OUT")
    parser.add_argument("--missing", "--dq", metavar="FILE", help="non-zero pixels must have no influence, such as "
                        "dead ones, or those with a data-quality flag")  # fmt: skip
    parser.add_argument("--fill", action=argparse.BooleanOptionalAction, default=False,
                        help="missing pixels come back restored")  # fmt: skip
    parser.add_argument("--saturation", type=_finite, metavar="VALUE", help="from here on pixels are missing")
    parser.add_argument("--outliers", type=outliers, metavar="FWHM", nargs="?", const=dip.Outliers(), help="flag and "
                        "replace hot pixels and cosmic rays: sharper than a spot so wide, default 1.5 px")  # fmt: skip
    parser.add_argument("--outliers-out", metavar="FILE", help="1 where a value was flagged")
    parser.add_argument("--axes", metavar="ZYX", help="what each axis of IN is: Z depth, T time, C channel, S colour")
    parser.add_argument("--each", default="", metavar="Z", help="axes that get one fit per index")
    parser.add_argument("--spacing", type=_sizes, metavar="Z,Y,X", help="size of a voxel along each axis that is "
                        "fitted together, in one unit; default: of volumes, what the file says")  # fmt: skip
    parser.add_argument("--plane", metavar="N", help="restore one plane only: 12, or Z=12,T=0")


def add_fields(parser: argparse.ArgumentParser, task: type) -> None:
    """Add one flag for each field of a task."""
    hints = get_type_hints(task, include_extras=True)
    for field in dataclasses.fields(task):
        hint = hints[field.name]
        flag = "--" + field.name.replace("_", "-")
        note = notes(hint).get("tooltip", "")
        if _plain(hint) is dip.NoiseLaw:
            noise = parser.add_argument_group("noise", "in the units of IN; default: what FITS headers say, where the "
                                              "image agrees with it, else told from the image")  # fmt: skip
            gain, read_noise = (_checked(dip.PoissonGaussian, name, _finite) for name in ("gain", "read_noise"))
            noise.add_argument("--gain", type=gain, metavar="G", help="units per electron: shot noise")
            noise.add_argument("--read-noise", type=read_noise, metavar="R", help="standard deviation without light")
            noise.add_argument("--variance", metavar="FILE", help="variance of every value: instead of these")
            noise.add_argument(
                "--offset", type=_finite, metavar="O", help="value without light, with a gain: default 0"
            )
        elif role(hint) is Role.FILE:
            continue
        elif role(hint) is Role.AXIS:
            parser.add_argument(flag, metavar="T", help=note)
        elif role(hint) is Role.MASK:
            parser.add_argument(flag, metavar="FILE", help=f"{note}; also a layer of the same size in any format read")
            parser.add_argument(f"{flag}-keeps", action="store_true", help="non-zero marks what is known instead")
        elif role(hint) is not None:
            parser.add_argument(flag, metavar="FILE", help=f"{note}; in any format read")
        elif _plain(hint) in CHOICES:
            kinds = CHOICES[_plain(hint)]
            parser.add_argument(flag, type=_one_of(kinds, field.name), default=_default(field), metavar="NAME",
                                help=f"{note}: {', '.join(_names(kinds))}; values as 'Name(value=1)'")  # fmt: skip
        elif _plain(hint) is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default, help=note)
        elif get_origin(_plain(hint)) is Literal:
            parser.add_argument(flag, choices=get_args(_plain(hint)), default=field.default, help=note)
        elif get_origin(_plain(hint)) in (tuple, Union, types.UnionType):
            several = _checked(task, field.name, _numbers)
            parser.add_argument(flag, type=several, default=field.default, help=f"{note}; several with commas",
                                metavar="VALUE")  # fmt: skip
        else:
            parse = {int: _whole, float: _finite}.get(_plain(hint), _plain(hint))
            parser.add_argument(flag, type=_checked(task, field.name, parse), default=field.default, help=note,
                                metavar="VALUE")  # fmt: skip


def rule(text: str) -> dip.StoppingRule:
    """Return the stopping rule that "Name" or "Name(field=value, ...)" describes."""
    return _spec(text, dip.RULES, "stopping rule", "FixedSteps(steps=800)")  # type: ignore[no-any-return]


def _one_of(kinds: tuple[type, ...], what: str) -> Callable[[str], Any]:
    """Return a parser of texts that describe one of these dataclasses."""
    return lambda text: _spec(text, kinds, what, "Name(value=1)")


def _spec(text: str, kinds: tuple[type, ...], what: str, example: str) -> Any:
    try:
        node = ast.parse(text, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        values = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        chosen = {kind.__name__: kind for kind in kinds}[call.func.id]
        if not set(values) <= {field.name for field in dataclasses.fields(chosen)}:
            raise ValueError
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no {what.replace('_', ' ')}; there are {', '.join(_names(kinds))}, with values as {example!r}"
        ) from error
    try:
        return chosen(**values)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} makes no sense: {error}") from error


def outliers(text: str) -> dip.Outliers:
    """Return the outliers that are sharper than a spot of so many px."""
    try:
        return dip.Outliers(_finite(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _numbers(text: str) -> float | tuple[float, ...]:
    """Return one number, or several that commas part."""
    try:
        values = tuple(_finite(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, and no list of numbers as 2,3") from None
    return values[0] if len(values) == 1 else values


def _sizes(text: str) -> tuple[float, ...]:
    found = _numbers(text)
    return found if isinstance(found, tuple) else (found,)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _names(kinds: tuple[type, ...]) -> list[str]:
    return [kind.__name__ for kind in kinds]


def _checked(kind: type, name: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser of a field's value, which the engine is asked about: so argparse can name the flag."""

    def parsed(text: str) -> Any:
        value = parse(text)
        try:
            check_value(kind, name, value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return value

    return parsed


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _positive(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return value


def _above_zero(text: str) -> float:
    value = _finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _plain(hint: Any) -> Any:
    """Return the type of a field without its notes and without None."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    parts = [part for part in get_args(hint) if part is not type(None)]
    return _plain(parts[0]) if len(parts) == 1 and type(None) in get_args(hint) else hint
