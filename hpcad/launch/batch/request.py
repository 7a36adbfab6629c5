"""What a user asks a launcher for: a job file, a site, nodes, and what goes with them; checked."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from hpcad.errors import ConfigError
from hpcad.launch.batch.profile import Profile
from hpcad.training.job import Job

WARNING_SECONDS = 180  # between the signal and the end of the job
_SLURM_IS_EARLY = 60  # the signal may come so many seconds before that
_WORD = re.compile(r"[A-Za-z0-9_.,+@-]+")  # accounts and partitions
_TIME = re.compile(
    r"(?:(?P<days>\d+)-(?P<h1>\d+)(?::(?P<m1>\d+)(?::(?P<s1>\d+))?)?"
    r"|(?:(?P<h2>\d+):)?(?P<m2>\d+):(?P<s2>\d+)|(?P<m3>\d+))"
)


@dataclass(frozen=True)
class Request:
    """A job on the nodes of a site.

    Attributes
    ----------
    job, path, overrides
        The job, its file as it was named, and what ``--set`` replaced in it.
    profile, site
        The site, and how it was named on the command line.
    nodes, ranks_per_node : int
    time : str
        As Slurm reads it.
    account, partition : str or None
    """

    job: Job
    path: str
    overrides: tuple[str, ...]
    profile: Profile
    site: str
    nodes: int
    ranks_per_node: int
    time: str = "01:00:00"
    account: str | None = None
    partition: str | None = None

    @property
    def ranks(self) -> int:
        return self.nodes * self.ranks_per_node

    @property
    def training(self) -> list[str]:
        """What follows the program's name, quoted for a shell."""
        settings = ["--set", *self.overrides] if self.overrides else []
        return [shlex.quote(word) for word in ("train", self.path, *settings)]

    @property
    def generation(self) -> str:
        """The command that writes the same script again."""
        words = ["hpcad", "slurm", "generate", self.path, "--site", self.site]
        words += ["--nodes", str(self.nodes)]
        if self.ranks_per_node != self.profile.node.ranks:
            words += ["--ranks-per-node", str(self.ranks_per_node)]
        if self.time != Request.time:
            words += ["--time", self.time]
        for name in ("account", "partition"):
            if value := getattr(self, name):
                words += [f"--{name}", value]
        words += ["--set", *self.overrides] if self.overrides else []
        return " ".join(map(shlex.quote, words))


def check(request: Request) -> None:
    """Refuse what would fail, or would run otherwise than meant, after hours in a queue.

    Raises
    ------
    ConfigError
    """
    node, job = request.profile.node, request.job
    if request.nodes < 1:
        raise ConfigError(f"--nodes must be at least 1, not {request.nodes}")
    if request.ranks_per_node < 1:
        raise ConfigError(f"--ranks-per-node must be at least 1, not {request.ranks_per_node}")
    if node.gpus and request.ranks_per_node > node.gpus:
        raise ConfigError(
            f"--ranks-per-node {request.ranks_per_node}: a node of {request.profile.site.title} "
            f"has {node.gpus} GPUs, and two ranks would share one; ask for at most {node.gpus}"
        )
    if job.data.batch < request.ranks:
        raise ConfigError(
            f"{request.path}: the global batch, [data] batch = {job.data.batch}, is smaller than "
            f"the {request.ranks} ranks ({request.nodes} nodes, {request.ranks_per_node} ranks "
            "each); take fewer nodes, or --set data.batch=..."
        )
    if job.training.device == "gpu" and node.gpu != "nvidia":
        has = "AMD GPUs, for which hpcad has no code" if node.gpus else "no GPUs"
        raise ConfigError(
            f"{request.path}: [training] device = 'gpu', but the nodes of "
            f"{request.profile.site.title} have {has}; say --set training.device=cpu, or take "
            "another site"
        )
    for option, word in (("--account", request.account), ("--partition", request.partition)):
        if word is not None and not _WORD.fullmatch(word):
            raise ConfigError(f"{option} must be a word such as my_project, not {word!r}")
    shortest = WARNING_SECONDS + _SLURM_IS_EARLY
    if seconds(request.time) <= shortest:
        raise ConfigError(
            f"--time {request.time} is too short: the job is told to save up to {shortest} s "
            "before its end, which would be at its start; give it 5 minutes or more"
        )


def seconds(time: str, option: str = "--time") -> int:
    """Return how long a time limit is: ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``.

    Raises
    ------
    ConfigError
        It is none of these.
    """
    found = _TIME.fullmatch(time)
    if found is None:
        raise ConfigError(
            f"{option} {time!r} is not a time limit that Slurm reads; say 02:00:00 (two hours) or "
            "1-12:00:00 (a day and a half)"
        )
    part = {name: int(text or 0) for name, text in found.groupdict().items()}
    hours = part["days"] * 24 + part["h1"] + part["h2"]
    return hours * 3600 + (part["m1"] + part["m2"] + part["m3"]) * 60 + part["s1"] + part["s2"]


def notes(request: Request) -> list[str]:
    """What is allowed, and perhaps not what was meant."""
    job, node, found = request.job, request.profile.node, []
    if node.gpu == "nvidia" and job.training.device == "cpu":
        found.append(
            "The job computes on the CPU and leaves the GPUs idle: --set training.device=gpu."
        )
    if node.gpu == "amd":
        found.append(
            "hpcad has no code for AMD GPUs: the ranks compute on the cores beside their GPU."
        )
    if not job.checkpoint.enabled:
        found.append("The job saves no checkpoints: when it is requeued it begins anew.")
    return found


def requested(
    job: Job, path: str, overrides: Sequence[str], profile: Profile, site: str, **rest: object
) -> Request:
    """Return a checked request; what is None in ``rest`` is left at its default."""
    given = {key: value for key, value in rest.items() if value is not None}
    given.setdefault("ranks_per_node", profile.node.ranks)
    plain = Request(job, path, tuple(overrides), profile, site, nodes=0, ranks_per_node=0)
    request = dataclasses.replace(plain, **given)  # type: ignore[arg-type]  # by the parser's types
    check(request)
    return request
