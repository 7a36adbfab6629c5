"""Site profiles: those of hpcad, one of a user's own, and the errors that name file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcad.errors import ConfigError
from hpcad.launch.batch.profile import Setting, known_sites, load_profile

DOCS = Path(__file__).resolve().parents[2] / "docs" / "sites"
OWN = """\
[site]
title = "the machine down the hall"
documentation = []

[node]
ranks = 2
gpus = 2
gpu = "nvidia"

[devices]
variable = "CUDA_VISIBLE_DEVICES"
order = [1, 0]
why = "crossed cables"

[directives]
--mem = ["0", "all memory"]

[environment]
NCCL_DEBUG = ["WARN", "says what fails"]

[modules]
cuda = ["13.0", "the driver's own"]
"""


def own(tmp_path: Path, old: str = "", new: str = "") -> str:
    assert old in OWN
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(old, new, 1) if old else OWN)
    return str(path)


def test_a_profile_of_ones_own(tmp_path):
    profile = load_profile(own(tmp_path))
    assert (profile.name, profile.node.ranks, profile.node.cpus_per_rank) == ("own", 2, None)
    assert profile.devices.order == [1, 0]
    assert profile.directives == {"--mem": Setting("0", "all memory")}
    assert profile.modules["cuda"].value == "13.0"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[site]", "[sight]", "own.toml:1: a site profile has no section [sight]; did you mean"),
        ("[modules]", "[[modules]]", "own.toml:21: modules must be a section"),
        ("ranks = 2", "rank = 2", "own.toml:6: [node] has no key 'rank'; did you mean 'ranks'?"),
        ("ranks = 2", "ranks = 0", "own.toml:6: [node] ranks must be at least 1, not 0"),
        ("ranks = 2", "ranks = 3", "3 ranks would share 2 GPUs"),
        ('gpu = "nvidia"', "", "gpus = 2 and gpu = 'none' contradict each other"),
        ("[1, 0]", "[1, 1]", "own.toml:12: [devices] order must name each of the 2 GPUs"),
        ("--mem", "-m", "own.toml:16: [directives] -m is not a long option"),
        ("--mem", "--time", "[directives] --time is written by hpcad itself"),
        ('"0"', '"0 --exclusive"', "[directives] --mem must be one word without quotes"),
        ('["0", "all memory"]', '"0"', "[directives] --mem must be two strings"),
        ('"all memory"', '" "', '["value", "why it has it"]'),
        ('"WARN"', '"WARN\\nrm -r x"', "own.toml:19: [environment] NCCL_DEBUG must be two strings"),
        ("NCCL_DEBUG", "NCCL-DEBUG", "NCCL-DEBUG is not the name of a variable"),
        ("ranks = 2", "ranks =", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, old, new, said):
    with pytest.raises(ConfigError) as caught:
        load_profile(own(tmp_path, old, new))
    assert said in str(caught.value)


def test_a_section_that_is_missing(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN.partition("[node]")[0])
    with pytest.raises(ConfigError, match=r"own.toml: a site profile needs a section \[node\]"):
        load_profile(str(path))


@pytest.mark.parametrize("site", known_sites())
def test_the_page_of_a_site_explains_every_setting(site):
    page = (DOCS / f"{site}.md").read_text(encoding="utf-8")
    profile = load_profile(site)
    for table in (profile.directives, profile.srun, profile.environment):
        for name, setting in table.items():
            shown = f"`{name}={setting.value}`" if setting.value else f"`{name}`"
            assert f"| {shown} |" in page, f"docs/sites/{site}.md does not explain {shown}"
    assert [link for link in profile.site.documentation if link not in page] == []
