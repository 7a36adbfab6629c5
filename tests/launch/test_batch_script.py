"""`hpcad slurm generate`: the scripts of all sites, kept as files, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hpcad import cli
from hpcad.errors import ConfigError
from hpcad.launch.batch.command import LAUNCHERS
from hpcad.launch.batch.profile import known_sites, load_profile
from hpcad.launch.batch.request import seconds

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
DIGITS = "jobs/digits.toml"
CASES = {
    "generic": [DIGITS, "--site", "generic", "--nodes", "2"],
    "perlmutter": ["jobs/gpt2_124m.toml", "--site", "perlmutter", "--nodes", "2",
                   "--time", "06:00:00", "--account", "m0000_g", "--set", "data.batch=256"],
    "alps": ["jobs/gpt2_124m.toml", "--site", "alps", "--nodes", "2", "--account", "g000"],
    "frontier": [DIGITS, "--site", "frontier", "--nodes", "4", "--account", "ABC000"],
    "lumi": [DIGITS, "--site", "lumi", "--nodes", "2"],
    "juwels": ["jobs/gpt2_124m.toml", "--site", "juwels", "--nodes", "2",
               "--partition", "develbooster", "--ranks-per-node", "2"],
}  # fmt: skip
EXAMPLES = {
    "jobs/digits.generic.sbatch": CASES["generic"],
    "jobs/gpt2_124m.perlmutter.sbatch": [
        word for word in CASES["perlmutter"] if word not in ("--account", "m0000_g")
    ],
}
SCRIPTS = [*GOLDEN.glob("*.sbatch"), *(ROOT / name for name in EXAMPLES)]


@pytest.fixture
def generated(monkeypatch, capsys, plain_environment):
    """What `hpcad slurm generate` prints, run from the project's directory."""
    monkeypatch.chdir(ROOT)

    def generate(*words: str) -> str:
        assert cli.main(["slurm", "generate", *words]) == 0
        return capsys.readouterr().out

    return generate


@pytest.fixture
def refusal(monkeypatch, capsys, plain_environment):
    """The sentence with which `hpcad slurm generate` refuses."""
    monkeypatch.chdir(ROOT)

    def generate(*words: str) -> str:
        assert cli.main(["slurm", "generate", *words]) == ConfigError.exit_code
        printed = capsys.readouterr()
        assert printed.out == ""
        return printed.err

    return generate


def held(path: Path, text: str) -> None:
    """Compare with the file; HPCAD_GOLDEN=write writes it, for a look at what has changed."""
    if os.environ.get("HPCAD_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text(), f"{path}: HPCAD_GOLDEN=write pytest {__file__} renews it"


@pytest.mark.parametrize("site", CASES)
def test_script_of_a_site(site, generated):
    held(GOLDEN / f"{site}.sbatch", generated(*CASES[site]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_jobs_are_what_is_generated(name, generated):
    held(ROOT / name, generated(*EXAMPLES[name]))


@pytest.mark.parametrize("launcher", [name for name in LAUNCHERS if name != "srun"])
def test_command_of_another_launcher(launcher, generated):
    words = ["jobs/gpt2_124m.toml", "--site", "perlmutter", "--nodes", "2"]
    held(GOLDEN / f"{launcher}.sh", generated(*words, "--launcher", launcher))


def test_every_site_has_a_golden_script():
    assert sorted(CASES) == known_sites()


@pytest.mark.parametrize("script", [*SCRIPTS, *GOLDEN.glob("*.sh")], ids=lambda path: path.name)
def test_bash_reads_it(script):
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say():
    done = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_every_script_has(script):
    lines = script.read_text().splitlines()
    code = lines.index("set -euo pipefail")
    asked = [line.removeprefix("#SBATCH ") for line in lines[:code] if line.startswith("#SBATCH ")]
    assert {"--requeue", "--open-mode=append", "--signal=USR1@180"} <= set(asked)
    # sbatch stops reading options at the first command.
    assert all(not line or line.startswith("#") for line in lines[:code])
    assert not [line for line in lines[code:] if line.startswith("#SBATCH")]
    assert len([line for line in lines if line.startswith("srun -K1 -u")]) == 1


def test_a_file_is_written_once(generated, refusal, tmp_path):
    file = tmp_path / "train.sbatch"
    for _ in range(2):  # the same again is no loss
        assert generated(*CASES["generic"], "--output", str(file)) == f"wrote {file}\n"
    assert file.read_text() == (GOLDEN / "generic.sbatch").read_text()
    file.write_text("changed by hand\n")
    assert "remove it, or choose another name" in refusal(*CASES["generic"], "--output", str(file))
    assert file.read_text() == "changed by hand\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([DIGITS, "--site", "perlmuter", "--nodes", "1"], "did you mean 'perlmutter'?"),
        ([DIGITS, "--site", "own/site.toml", "--nodes", "1"], "no site profile own/site.toml"),
        ([DIGITS, "--site", "generic", "--nodes", "0"], "--nodes must be at least 1, not 0"),
        ([DIGITS, "--site", "alps", "--nodes", "1", "--ranks-per-node", "5"], "has 4 GPUs"),
        ([DIGITS, "--site", "generic", "--nodes", "17"], "smaller than the 34 ranks"),
        ([DIGITS, "--site", "generic", "--nodes", "1", "--time", "2 h"], "'2 h' is not a time"),
        ([DIGITS, "--site", "generic", "--nodes", "1", "--time", "4"], "5 minutes or more"),
        ([DIGITS, "--site", "generic", "--nodes", "1", "--account", "a b"], "not 'a b'"),
        ([DIGITS, "--site", "lumi", "--nodes", "1", "--set", "training.device=gpu"], "AMD GPUs"),
        ([DIGITS, "--site", "generic", "--nodes", "1", "--set", "training.device=gpu"], "no GPUs"),
        ([DIGITS, "--site", "generic", "--nodes", "1", "--launcher", "jsrun"], "known: srun, mpi"),
        (
            [DIGITS, "--site", "generic", "--nodes", "1", "--launcher", "mpirun", "--time", "9"],
            "--time is an option of a batch script",
        ),
    ],
)
def test_what_would_fail_later_is_refused_now(words, said, refusal):
    assert said in refusal(*words)


def test_an_idle_gpu_is_told_of(monkeypatch, capsys, plain_environment):
    monkeypatch.chdir(ROOT)
    assert cli.main(["slurm", "generate", DIGITS, "--site", "alps", "--nodes", "1"]) == 0
    printed = capsys.readouterr()
    assert "leaves the GPUs idle" in printed.err
    assert "leaves the GPUs idle" in printed.out


@pytest.mark.parametrize(
    ("time", "length"),
    [("30", 1800), ("2:30", 150), ("02:00:00", 7200), ("1-12", 129600), ("1-0:30", 88200)],
)
def test_time_limits_as_slurm_reads_them(time, length):
    assert seconds(time) == length


def test_the_masks_of_lumi_hold_the_cores_beside_each_die():
    """The site names the first core of each die, in order; each mask is six cores from there."""
    masks = load_profile("lumi").srun["--cpu-bind"].value.removeprefix("mask_cpu:").split(",")
    first = [49, 57, 17, 25, 1, 9, 33, 41]
    assert [int(mask, 16) for mask in masks] == [0b111111 << core for core in first]


@pytest.mark.parametrize(("rank", "device"), [(0, "3"), (3, "0")])
def test_each_rank_is_shown_its_own_device(rank, device, tmp_path):
    """The command between srun and hpcad, run as one rank would."""
    (start,) = [
        line
        for line in (GOLDEN / "perlmutter.sbatch").read_text().splitlines()
        if "bash -c" in line
    ]
    program = "bash -c 'echo \"$CUDA_VISIBLE_DEVICES $*\"' shown one two"
    done = subprocess.run(
        ["bash", "-c", f"{start.removesuffix(chr(92))} {program}"],
        env={"PATH": os.environ["PATH"], "SLURM_LOCALID": str(rank)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == f"{device} one two\n", done.stderr
