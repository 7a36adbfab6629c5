"""The user guide: its programs run, its tables are true, its links lead somewhere.

A block marked ``python`` is a complete program and is run here; a block marked ``text`` right after
it is what it prints. Fragments are marked ``py``, and what a shell printed ``console``.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import re
import sys
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launched import mpirun, run_bounded

import hpcad.errors
import hpcad.numpy
from hpcad.data.commands import add_parsers
from hpcad.errors import HpcadError
from hpcad.models import REGISTRY
from hpcad.parallel import World
from hpcad.training.job import Job, load_job
from hpcad.training.job_fields import plain

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
QUIET = {"OPENBLAS_NUM_THREADS": "1"}

_FENCE = re.compile(
    r"^```(?P<kind>\w*)(?P<rest>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_ROW = re.compile(r"^\| `(?P<key>\w+)` \|(?P<rest>.*)\|$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Program:
    """A ``python`` block: where it stands, its text, and what it must print (None: not stated)."""

    page: str
    line: int
    text: str
    printed: str | None

    @property
    def in_ranks(self) -> bool:
        """Whether it is meant for several ranks as well."""
        return "hpcad.init(" in self.text

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def fences(page: str) -> list[re.Match[str]]:
    return list(_FENCE.finditer(read(page)))


def programs() -> Iterator[Program]:
    for page in PAGES:
        found = fences(page)
        for block, after in itertools.zip_longest(found, found[1:]):
            if block["kind"] != "python" or "title=" in block["rest"]:
                continue
            text = read(page)
            follows = after is not None and not text[block.end() : after.start()].strip()
            printed = after["text"] if after and follows and after["kind"] == "text" else None
            yield Program(page, text.count("\n", 0, block.start()) + 1, block["text"], printed)


PROGRAMS = list(programs())


def prose(page: str) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", read(page))


# -- programs ------------------------------------------------------------------------------


def test_there_are_programs_to_run():
    assert len(PROGRAMS) >= 10
    assert any(program.in_ranks for program in PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program_runs_and_prints_what_the_page_says(program, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program.text, encoding="utf-8")
    words = [sys.executable, "-W", "error", path]
    done = run_bounded(words, timeout=60, env=QUIET, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert program.printed is None or done.stdout == program.printed


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.in_ranks], ids=str)
def test_program_prints_the_same_on_two_ranks(program, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program.text, encoding="utf-8")
    done = mpirun(2, [path], env=QUIET, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert program.printed is None or done.stdout == program.printed


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_file_runs_and_learns(example, ranks, tmp_path):
    if ranks is None:
        done = run_bounded([sys.executable, example], timeout=60, env=QUIET, cwd=tmp_path)
    else:
        done = mpirun(ranks, [example], env=QUIET, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = [float(word) for word in re.findall(r"loss (\d+\.\d+)", done.stdout)]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_is_shown_as_it_is(example):
    title = f'title="docs/examples/{example.name}"'
    shown = [b["text"] for page in PAGES for b in fences(page) if title in b["rest"]]
    assert shown == [example.read_text(encoding="utf-8")]


def test_every_block_says_what_it_is():
    known = {"python", "py", "text", "console", "toml", "json"}
    assert {block["kind"] for page in PAGES for block in fences(page)} <= known


# -- the job file --------------------------------------------------------------------------


def type_words(annotation: Any) -> str:
    """How the page calls a type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("`none`" if a is types.NoneType else type_words(a) for a in arguments)
    if origin is typing.Literal:
        return ", ".join(f'`"{choice}"`' for choice in arguments)
    if origin is tuple:
        return f"list of {len(arguments)} {type_words(arguments[0])}s"
    if origin is list:
        return f"list of {type_words(arguments[0])}s"
    names = {bool: "`true` or `false`", int: "whole number", float: "number", str: "string"}
    return names[annotation]


def default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return plain(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return plain(field.default_factory())
    return "required"


def shown_default(cell: str) -> Any:
    if cell == "required":
        return cell
    word = cell.strip("`")
    return None if word == "none" else tomllib.loads(f"value = {word}")["value"]


def tables() -> dict[str, str]:
    """Heading -> text of every part of the page on job files."""
    parts = re.split(r"^#+ (.*)$", read("guide/job-file.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def schemas() -> dict[str, tuple[type, list[str]]]:
    """Heading -> dataclass, and those of its fields that the heading's table lists."""
    sections = {f.name: typing.get_type_hints(Job)[f.name] for f in dataclasses.fields(Job)}
    result = {"Top level": (Job, ["name", "seed"])}
    for name, kind in sections.items():
        if dataclasses.is_dataclass(kind) and name != "model":
            result[f"`[{name}]`"] = (kind, [f.name for f in dataclasses.fields(kind)])
    for kind, entry in REGISTRY.items():
        names = [f.name for f in dataclasses.fields(entry.config)]
        result[f'`kind = "{kind}"`'] = (entry.config, names)
    return result


@pytest.mark.parametrize("heading", sorted(schemas()))
def test_job_file_page_lists_the_keys_as_they_are(heading):
    cls, names = schemas()[heading]
    hints = typing.get_type_hints(cls)
    expected = [
        (f.name, type_words(hints[f.name]), str(f.metadata.get("bounds", "")), default_of(f))
        for f in dataclasses.fields(cls)
        if f.name in names
    ]
    shown = []
    for row in _ROW.finditer(tables()[heading]):
        kind, limits, default, meaning = (cell.strip() for cell in row["rest"].split(" | "))
        assert meaning
        shown.append((row["key"], kind, limits, shown_default(default)))
    assert shown == expected


def test_job_file_page_has_no_section_that_is_gone():
    described = {h for h in tables() if h == "Top level" or h.startswith(("`[", "`kind"))}
    assert described == {*schemas(), "`[model]`"}


def test_job_file_shown_in_full_is_valid(tmp_path):
    (block,) = [b for b in fences("guide/job-file.md") if b["kind"] == "toml"]
    path = tmp_path / "job.toml"
    path.write_text(block["text"], encoding="utf-8")
    models = {kind: entry.config for kind, entry in REGISTRY.items()}
    assert load_job(path, models=models).data.batch == 32


# -- other tables --------------------------------------------------------------------------


def test_errors_page_lists_every_class_with_its_code():
    shown = re.findall(r"^\| `(\w+Error)` \| (\d+) \|", read("guide/errors.md"), re.MULTILINE)
    classes = [c for c in vars(hpcad.errors).values() if isinstance(c, type)]
    expected = {c.__name__: str(c.exit_code) for c in classes if issubclass(c, HpcadError)}
    assert dict(shown) == expected


def test_data_page_names_every_option_of_pack():
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers())
    pack = parser
    for word in ("data", "pack"):
        choices = next(a for a in pack._actions if isinstance(a, argparse._SubParsersAction))
        pack = choices.choices[word]
    options = {o for action in pack._actions for o in action.option_strings} - {"-h", "--help"}
    text = read("guide/data.md")
    assert [option for option in sorted(options) if option not in text] == []


def test_differentiation_page_names_functions_that_exist():
    text = read("guide/differentiation.md")
    named = set(re.findall(r"`hnp\.(\w+)", text))
    assert len(named) > 10
    assert [name for name in sorted(named) if not hasattr(hpcad.numpy, name)] == []
    table = text.partition("| you want | call |")[2].partition("\n\n")[0]
    called = re.findall(r"(\w+)\(", table)
    methods = {"f", "pullback", "pushforward", "watch", "gradient", "backward"}
    assert [name for name in called if name not in methods and not hasattr(hpcad, name)] == []


def test_launching_page_lists_the_attributes_of_the_world():
    part = read("guide/launching.md").partition("## The world")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    listed = re.findall(r"`(\w+)`", " ".join(cells))
    assert sorted(listed) == sorted([*(f.name for f in dataclasses.fields(World)), "is_root"])


def test_targets_of_make_that_a_page_names_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {name for page in PAGES for name in re.findall(r"(?:`|\$ )make ([a-z-]+)", read(page))}
    assert {"train", "test"} <= named <= set(targets)


# -- links and navigation ------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    """The anchors that MkDocs makes of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain_titles = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    return {re.sub(r"[-\s]+", "-", title) for title in plain_titles}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_resolve(page):
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = ((DOCS / page).parent / target).resolve() if target else DOCS / page
        assert path.is_file(), f"{page}: {link}"
        assert path.is_relative_to(DOCS), f"{page}: {link} leaves the documentation"
        if anchor:
            assert anchor in anchors(path.relative_to(DOCS).as_posix()), f"{page}: {link}"


def test_navigation_lists_every_page_once():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = text.partition("\nnav:\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r": (\S+\.md)$", nav, re.MULTILINE)) == PAGES


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("guide/")])
def test_files_of_the_project_that_a_page_names_exist(page):
    named = re.findall(r"\b(?:jobs|docs/examples)/[\w.]+\.(?:toml|sbatch|py)\b", read(page))
    assert [name for name in named if not (ROOT / name).is_file()] == []
