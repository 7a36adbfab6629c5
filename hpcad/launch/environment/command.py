"""The command: read the environment once, send it to all nodes, unpack, verify, rename."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from hpcad.errors import HpcadError, LaunchError
from hpcad.launch.environment import group as ranks
from hpcad.launch.environment.contents import Contents, contents_of, lasting
from hpcad.launch.environment.digest import digest_of, room_of, state_of
from hpcad.launch.environment.group import Group
from hpcad.launch.environment.place import Place
from hpcad.launch.environment.relocation import relocate
from hpcad.launch.environment.stream import receive, send


def broadcast(to: str, environment: str | None = None) -> int:
    """Copy a virtual environment to a disk of every node. Collective; returns the exit code.

    Rank 0 prints the line that a shell needs to use the copy.

    Parameters
    ----------
    to : str
        The directory of the copy, on a disk of each node; variables in it are each node's.
    environment : str, optional
        The environment; that of this Python by default.

    Raises
    ------
    LaunchError
        On every rank: it could not be done on some node, which is named. No node then has a part
        of a copy; a copy that was there before is still there.
    """
    group = ranks.joined()
    if group is None:
        return 0
    signal.signal(signal.SIGTERM, _end)  # so that what is not whole is removed
    try:
        _broadcast(group, to, environment)
    except HpcadError:
        raise  # on all ranks
    except BaseException:
        group.abort()  # or raise, where there are no others
        raise
    finally:
        ranks.finished()
    return 0


def _broadcast(group: Group, to: str, environment: str | None) -> None:
    began = time.monotonic()
    root = Path(os.path.abspath(environment or sys.prefix))
    contents = group.agreed(lambda: contents_of(root) if group.rank == 0 else None)
    plan = json.loads(group.broadcast(_plan(contents)))
    place = group.agreed(lambda: Place(_expanded(to)))
    try:
        sent = _copy(group, place, contents, plan)
    finally:
        place.close()
    paths = group.gather(str(place.path))
    if group.rank == 0:
        seconds = time.monotonic() - began
        print(_report(plan, sent, paths, seconds), file=sys.stderr)
        print(f'export PATH={shlex.quote(f"{place.path}/bin")}:"$PATH"', flush=True)


def _plan(contents: Contents | None) -> bytes | None:
    """What all nodes must know, from rank 0."""
    if contents is None:
        return None
    return json.dumps(
        {
            "root": str(contents.root),
            "outside": contents.outside,
            "state": state_of(lasting(contents.files)),
            "room": room_of(contents.files),
            "files": len(contents.files),
            "run": secrets.token_hex(8),
        }
    ).encode()


def _copy(group: Group, place: Place, contents: Contents | None, plan: dict[str, Any]) -> int:
    """Make the copies that are missing; how many those were."""
    missing = not place.is_whole(plan["state"])
    count = sum(group.gather(missing))
    if not count:
        return 0
    group.agreed(lambda: place.open(plan["room"], plan["run"], group.rank) if missing else None)
    group.agreed(lambda: place.check_own() if missing else None)
    folder = place.partial if missing else None
    digest = group.agreed(lambda: _transfer(group, contents, folder))
    expected = group.broadcast(digest.encode()).decode()
    group.agreed(lambda: _verify(place, expected) if missing else None)
    group.agreed(lambda: _settle(place, plan) if missing else None)
    group.agreed(lambda: place.publish(plan["state"]) if missing else None)
    return count


def _transfer(group: Group, contents: Contents | None, folder: Path | None) -> str:
    if contents is not None:
        return send(group, contents.files, folder)
    receive(group, folder)
    return ""


def _verify(place: Place, expected: str) -> None:
    found = digest_of(place.files())
    if found != expected:
        raise LaunchError(
            f"what was unpacked in {place.partial} is not what was sent (BLAKE2b {found[:12]}, not "
            f"{expected[:12]}): the environment changed meanwhile, or this disk is not reliable; "
            "start it again"
        )


def _settle(place: Place, plan: dict[str, Any]) -> None:
    relocate(place.partial, Path(plan["root"]), place.path, plan["outside"])


def _expanded(to: str) -> Path:
    text = os.path.expanduser(os.path.expandvars(to))
    if "$" in text or not text:
        raise LaunchError(f"{to!r} names a variable that is not set on this node")
    return Path(os.path.abspath(text))


def _report(plan: dict[str, Any], sent: int, paths: list[str], seconds: float) -> str:
    size = f"{plan['files']:,} files, {plan['room'] / 2**20:,.0f} MiB"
    nodes = "1 node" if len(paths) == 1 else f"{len(paths)} nodes"
    if sent:
        text = f"{plan['root']} ({size}) was copied to {sent} of {nodes} in {seconds:.1f} s"
    else:
        text = f"{plan['root']} ({size}) is on {nodes} already, verified in {seconds:.1f} s"
    if len(set(paths)) > 1:
        text += f"; it lies in other directories on other nodes, such as {paths[-1]}"
    return f"hpcad: {text}"


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
