"""What the documentation says is so: links, code, names, flags, defaults, and who imports whom."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_dip as dip
from napari_dip.cli.arguments import build_parser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text(page)) if kind == language]


def prose(page: Path) -> str:
    return BLOCK.sub("", text(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Python-Markdown makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def tables(page: Path) -> dict[str, list[list[str]]]:
    """Return the rows of all tables below each heading, without their heads."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in prose(page).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith("|---"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return {heading: rows[1:] for heading, rows in found.items()}


# Links and code


@each_page
def test_every_relative_link_and_picture_is_there(page):
    for _, target in LINK.findall(prose(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{target}: there is no such heading"


@each_page
def test_every_block_of_python_compiles(page):
    for body in blocks(page, "python"):
        compile(body, str(page), "exec")


@each_page
def test_every_public_name_exists(page):
    for dotted in re.findall(r"\bdip\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", text(page)):
        first, *rest = dotted.split(".")
        assert hasattr(dip, first), f"dip.{dotted}"
        if rest and isinstance(getattr(dip, first), type):
            assert hasattr(getattr(dip, first), rest[0]), f"dip.{dotted}"


@each_page
def test_every_keyword_of_a_public_class_or_function_exists(page):
    for body in blocks(page, "python"):
        for call in ast.walk(ast.parse(body)):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("dip."):
                target = dip
                for name in ast.unparse(call.func).split(".")[1:]:
                    target = getattr(target, name)
                known = _parameters(target)
                assert {word.arg for word in call.keywords} <= known, ast.unparse(call)


def _parameters(target: object) -> set[str]:
    return set(inspect.signature(target).parameters)


def test_the_worked_examples_of_extending_run(tmp_path, script):
    program = "\n".join(blocks(DOCS / "extending.md", "python"))
    program += (
        "\ndip.TASKS = (*dip.TASKS, Deblur)\n"
        "from napari_dip.cli.arguments import build_parser\n"
        "options = build_parser().parse_args(['deblur', 'in.tif', '-o', 'out.tif', '--sigma', '2.5'])\n"
        "assert options.sigma == 2.5 and options.task is Deblur\n"
    )
    path = tmp_path / "extending.py"
    path.write_text(program, encoding="utf-8")
    script(path, tmp_path)


def test_the_operators_of_the_guide_run(tmp_path, script):
    program = tmp_path / "operators.py"
    program.write_text("\n".join(blocks(DOCS / "guides/bring-your-own-operator.md", "python")), encoding="utf-8")
    script(program, tmp_path)


# The shell


def commands(page: Path) -> list[str]:
    lines = [line.strip() for body in blocks(page, "sh") for line in body.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("napari-dip ")]


@each_page
def test_every_command_of_the_shell_is_understood(page, capsys):
    for command in commands(page):
        try:
            build_parser().parse_args(shlex.split(command)[1:])
        except SystemExit as error:
            pytest.fail(f"{command}: {capsys.readouterr().err or error}")


@each_page
def test_every_flag_exists(page):
    known = _flags(build_parser())
    for span in re.findall(r"`([^`\n]+)`", prose(page)):
        if span.split()[0] not in ("pip", "python", "mkdocs", "xvfb-run"):
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", span):
                assert flag in known, f"{flag} in `{span}`"


def _flags(parser) -> set[str]:
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                found |= _flags(one)
    return found


def test_every_flag_is_documented():
    """Besides those that every shell command has."""
    said = "\n".join(text(page) for page in PAGES)
    missing = {flag for flag in _flags(build_parser()) if not re.search(rf"(?<![\w-]){flag}(?![\w-])", said)}
    assert missing <= {"-h", "--help", "--version", "--no-denoise-known", "--out", "--preset", "--device", "--seed",
                       "--fill", "--headless"}  # fmt: skip


def test_the_readme_has_the_two_commands_on_lines_of_their_own():
    lines = [line for body in blocks(ROOT / "README.md", "sh") for line in body.splitlines()]
    assert 'pip install ".[all]" && napari-dip demo' in lines
    assert 'pip install -e ".[all,test]" && pytest' in lines


# Settings and reference

DESCRIBED = (
    *dip.TASKS,
    *dip.NETWORKS,
    *dip.RULES,
    dip.Prior,
    dip.Noise,
    dip.Coordinates,
    dip.Guide,
    dip.Fourier,
    dip.SpectralControl,
    *dip.NOISES,
    *dip.DEGRADATIONS,
)


@pytest.mark.parametrize("kind", DESCRIBED, ids=lambda kind: kind.__name__)
def test_every_field_is_in_the_settings_with_its_default(kind):
    rows = tables(DOCS / "settings.md").get(kind.__name__, [])
    assert f"### {kind.__name__}\n" in text(DOCS / "settings.md")
    said = {name.strip("`"): eval(default.strip("`"), vars(dip).copy()) for name, default, _ in rows}  # noqa: S307
    default = kind()
    assert said == {field.name: getattr(default, field.name) for field in dataclasses.fields(kind)}


def test_every_preset_is_in_the_settings():
    for preset in dip.PRESETS:
        assert f"`{preset.name}`" in text(DOCS / "settings.md")


def test_every_field_of_the_report_is_in_the_settings():
    rows = tables(DOCS / "settings.md")["The report"]
    said = [name for row in rows if len(row) == 2 for name in re.findall(r"`(\w+)`", row[0])]
    report = dip.restore(np.eye(16), stop=dip.FixedSteps(1)).report()
    assert set(said) == {*report, *report["settings"], *report["fits"][0]}


def test_every_public_name_is_in_the_reference():
    said = set(re.findall(r"^::: napari_dip\.(\w+)$", text(DOCS / "reference.md"), re.MULTILINE))
    said |= set(re.findall(r"^`([A-Z]+)` is the tuple", text(DOCS / "reference.md"), re.MULTILINE))
    assert said - {"samples"} == set(dip.__all__)


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r":\s+([\w/-]+\.md)$", text(ROOT / "mkdocs.yml"), re.MULTILINE))
    assert named == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


# Architecture


def test_the_engine_imports_what_the_architecture_says():
    said = {
        module.strip("`"): set(re.findall(r"`(\w+)`", imports))
        for module, imports in tables(DOCS / "architecture.md")["Who may import whom"]
    }
    folder = ROOT / "src/napari_dip/engine"
    found = {path.stem: _imports(path) for path in folder.glob("*.py") if path.stem != "__init__"}
    for inner in folder.glob("*/__init__.py"):  # a folder counts as one module
        name = inner.parent.name
        found[name] = set().union(*map(_imports, inner.parent.glob("*.py"))) - {name}
    assert said == found


def _imports(path: Path) -> set[str]:
    """Return the modules of the engine that one of them imports."""
    found = set()
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_dip"):
            inside = node.module.removeprefix("napari_dip").removeprefix(".engine").strip(".")
            found |= {inside.split(".")[0]} if inside else {alias.name for alias in node.names}
    return found


def test_every_module_is_in_the_architecture():
    package = ROOT / "src/napari_dip"
    layout = next(body for body in blocks(DOCS / "architecture.md", "text"))
    for path in (
        *package.glob("*.py"),
        *(p for room in ("engine", "cli", "gui") for p in (package / room).glob("*.py")),
    ):
        if path.name != "__init__.py":
            assert path.name in layout, path


# Pictures and figures


def test_pictures_are_small():
    for path in (DOCS / "pictures").glob("*.png"):
        assert path.stat().st_size <= 300_000, path


def test_pictures_are_no_drafts():
    drafts = []
    for path in (DOCS / "pictures").glob("*.png"):
        with Image.open(path) as picture:
            drafts += [path.name] if "draft" in picture.info else []
    assert not drafts, "make them with docs/pictures.py"


def test_no_figure_is_left_to_fill_in():
    left = [f"{page.name}: {what}" for page in PAGES for what in re.findall(r"\{\{FIGURE: ([^}]*)\}\}", text(page))]
    assert not left
