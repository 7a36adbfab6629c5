"""Two hosts and a slow cable, or several and a switch, on one machine: network namespaces.

A namespace lives as long as a process is inside of it. Here that is a ``sleep`` with an end, so
nothing is left on the machine even where the test is killed. Nothing is attached to the machine's
own network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from launched import run_bounded

ADDRESSES = ("10.77.0.1", "10.77.0.2")
_TOOLS = ("ip", "tc", "nsenter", "unshare", "sleep", "bash")
# Options before the host are rsh's; its words are a command for a shell, as rsh takes them.
_REMOTE_SHELL = """#!/bin/bash
while [[ "$1" == -* ]]; do shift; done
case $1 in
{cases}
esac
shift
exec nsenter --net=/proc/$holder/ns/net unshare --uts sh -c 'hostname "$0"; exec sh -c "$*"' \
    host$holder "$@"
"""


@dataclass
class Hosts:
    """Namespaces that see each other at their addresses, on devices called ``eth0``.

    Attributes
    ----------
    addresses : sequence of str
    holders : list of int
        Processes that are inside.
    shell : Path
        A program that runs a command on a host, as rsh does.
    """

    addresses: Sequence[str]
    holders: list[int]
    shell: Path

    @property
    def names(self) -> list[str]:
        """The names that they give themselves."""
        return [f"host{holder}" for holder in self.holders]

    def mpirun(
        self, arguments: Sequence[str | Path], *, timeout: float, cwd: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run this Python on all hosts, one rank each; MPICH, over TCP."""
        mpirun = Path(sys.executable).parent / "mpirun"
        words = [mpirun, "-launcher", "rsh", "-launcher-exec", self.shell, "-iface", "eth0"]
        # Else MPICH finds that both "hosts" share memory.
        words += ["-genv", "UCX_TLS", "tcp,self", "-genv", "UCX_NET_DEVICES", "eth0"]
        words += ["-genv", "OPENBLAS_NUM_THREADS", "1"]
        count = str(len(self.addresses))
        words += ["-hosts", ",".join(self.addresses), "-ppn", "1", "-n", count, sys.executable]
        command = [self.shell, self.addresses[0], *words, *arguments]
        return run_bounded(command, timeout=timeout, cwd=cwd)


@contextmanager
def two_hosts(rate: str, folder: Path, seconds: int) -> Iterator[Hosts]:
    """Make two hosts; skip the test where that is impossible.

    Parameters
    ----------
    rate : str
        Of the cable, each way, as ``tc`` takes it: ``"1gbit"``.
    folder : Path
        For the remote shell.
    seconds : int
        After which the hosts are gone in any case.
    """
    require_namespaces()
    with ExitStack() as stack:
        holders = [stack.enter_context(_namespace(seconds)) for _ in ADDRESSES]
        _run(holders[0], f"ip link add eth0 type veth peer name eth0 netns {holders[1]}")
        for holder, address in zip(holders, ADDRESSES, strict=True):
            _run(holder, "ip link set lo up")
            _run(holder, f"ip address add {address}/24 dev eth0")
            _run(holder, "ip link set eth0 up")
            _slow_down(holder, rate)
        for holder in holders:
            _wait_for_cable(holder)
        yield Hosts(ADDRESSES, holders, _remote_shell(ADDRESSES, holders, folder))


@contextmanager
def switched_hosts(count: int, folder: Path, seconds: int, *, slow: str) -> Iterator[Hosts]:
    """Make hosts around a switch, of which the last sends slowly; skip where that is impossible.

    Parameters
    ----------
    folder : Path
        For the remote shell.
    seconds : int
        After which the hosts are gone in any case.
    slow : str
        The rate of the last host's device, as ``tc`` takes it: ``"100mbit"``.
    """
    require_namespaces()
    addresses = [f"10.78.0.{i + 1}" for i in range(count)]
    with ExitStack() as stack:
        switch = stack.enter_context(_namespace(seconds))
        _run(switch, "ip link add bridge0 type bridge")
        _run(switch, "ip link set bridge0 up")
        holders = [stack.enter_context(_namespace(seconds)) for _ in addresses]
        for i, (holder, address) in enumerate(zip(holders, addresses, strict=True)):
            _run(holder, f"ip link add eth0 type veth peer name port{i} netns {switch}")
            _run(switch, f"ip link set port{i} master bridge0 up")
            _run(holder, "ip link set lo up")
            _run(holder, f"ip address add {address}/24 dev eth0")
            _run(holder, "ip link set eth0 up")
        _slow_down(holders[-1], slow, "128kb")
        for holder in holders:
            _wait_for_cable(holder)
        yield Hosts(addresses, holders, _remote_shell(addresses, holders, folder))


def _slow_down(holder: int, rate: str, bucket: str = "256kb") -> None:
    # Packets are up to 64 KB long before they are cut: bucket and queue must hold some.
    _run(holder, f"tc qdisc add dev eth0 root tbf rate {rate} burst {bucket} latency 50ms")


def require_namespaces() -> None:
    """Skip the test unless this process may make network namespaces, and MPI is MPICH."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    probe = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "cable", "type", "veth"], check=False
    )
    if probe.returncode:
        pytest.skip("this kernel, or container, allows no network namespaces with veth")
    mpirun = Path(sys.executable).parent / "mpirun"
    said = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=False)
    if "HYDRA" not in said.stdout:
        pytest.skip("written for MPICH's mpirun")


@contextmanager
def _namespace(seconds: int) -> Iterator[int]:
    """A network namespace and a process inside of it; both end with the block."""
    own = os.readlink("/proc/self/ns/net")
    with subprocess.Popen(["unshare", "--net", "sleep", str(seconds)]) as holder:
        try:
            end = time.monotonic() + 5
            while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
                assert time.monotonic() < end, "unshare made no namespace"
                time.sleep(0.01)
            yield holder.pid
        finally:
            holder.kill()


def _wait_for_cable(holder: int) -> None:
    """A device is not up when ``ip`` returns, but when the kernel has seen the other end."""
    for _ in range(500):
        if "state UP" in _run(holder, "ip link show eth0"):
            return
        time.sleep(0.01)
    pytest.skip("the cable between two network namespaces did not come up in 5 seconds")


def _run(holder: int, command: str) -> str:
    words = ["nsenter", f"--net=/proc/{holder}/ns/net", *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command!r} failed: {done.stderr.strip()}")
    return done.stdout


def _remote_shell(addresses: Sequence[str], holders: Sequence[int], folder: Path) -> Path:
    pairs = zip(addresses, holders, strict=True)
    cases = "\n".join(f"{address}) holder={holder};;" for address, holder in pairs)
    path = folder / "remote-shell"
    path.write_text(_REMOTE_SHELL.replace("{cases}", cases))
    path.chmod(0o755)
    return path
