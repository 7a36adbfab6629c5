"""Each site's page has a row for every word of that site's script, with a page and a verdict."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcad.launch.batch.profile import known_sites, load_profile

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs" / "sites"
VERDICTS = ("confirmed", "not found", "differs")


def words_of(script: str) -> set[str]:
    """Directives, variables, modules and options of srun."""
    step = script[script.index("\nsrun ") :].partition('"$venv/bin/hpcad"')[0]
    return {
        *re.findall(r"^#SBATCH (--[\w-]+)", script, re.MULTILINE),
        *re.findall(r"^export (\w+)=", script, re.MULTILINE),
        *re.findall(r"^module load (\S+)", script, re.MULTILINE),
        *re.findall(r"(?<= )(--?\w[\w-]*)", step.partition("bash -c")[0]),
        *re.findall(r"export (\w+)=", step),
    }


def rows_of(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def words_of_row(setting: str) -> set[str]:
    """Names without values, of what stands in code."""
    code = re.findall(r"`([^`]+)`", setting)
    return {word.partition("=")[0] for text in code for word in text.removeprefix("srun ").split()}


@pytest.mark.parametrize("site", known_sites())
def test_every_word_of_the_script_has_a_row(site):
    script = (HERE / "golden" / f"{site}.sbatch").read_text()
    rows = rows_of((PAGES / f"{site}.md").read_text())
    told = set().union(*(words_of_row(row[0]) for row in rows))
    wanted = words_of(script)
    assert {"--nodes", "--signal", "-K1", "-u"} <= wanted
    assert wanted - told == set()
    # And no row is about what the script no longer has; the golden ones give no account to all.
    stale = {word for word in told - wanted if word.startswith("-") or word.isupper()}
    assert stale - {"--account"} == set()


@pytest.mark.parametrize("site", known_sites())
def test_values_are_those_of_the_script(site):
    script = (HERE / "golden" / f"{site}.sbatch").read_text().replace("'", "")
    for name, setting in load_profile(site).directives.items():  # the golden one may replace them
        script += f"\n{name}={setting.value}"
    for row in rows_of((PAGES / f"{site}.md").read_text()):
        for text in re.findall(r"`([^`]+=[^`]+)`", row[0]):
            assert text in script, f"{site}: {text}"


@pytest.mark.parametrize("site", known_sites())
def test_every_row_names_a_page_and_a_verdict(site):
    page = (PAGES / f"{site}.md").read_text()
    rows = rows_of(page)
    assert len(rows) > 8
    for setting, said, where, verdict in rows:
        assert said, setting
        assert re.search(r"\[[^\]]+\]\(https://[^)]+\)", where), setting
        assert verdict.startswith(VERDICTS), setting
    never = (
        "never on a cluster" if site == "generic" else "**The script was never run at this site.**"
    )
    assert never in page
