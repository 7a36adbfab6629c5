"""What a file system may hold after the power went off, given what had been done until then.

The rules are those of POSIX, with a rename that is atomic, as in "All File Systems Are Not Created
Equal" (Pillai et al., OSDI 2014), and no more than that:

- What was written to a file and not flushed by `fsync` is there, is missing, or is there in part:
  up to any byte, or any of its pages; pages that are missing may be zeros or old rubbish.
- A change of a directory's entries that was not flushed by `fsync` of that directory is there or
  not, each of them independently of all others and of what the files hold. Flushing a file does
  not flush its name.
- Flushing counts for what the rank itself did before, and for what others did before a collective
  that they and it have passed; not for what merely happened to be earlier on the day.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .recording import Event

PAGE = 4096

#: What may have become of data that was not flushed.
FATES = ("lost", "whole", "prefix", "holes", "rubbish")


class ImpossibleError(Exception):
    """Some operation needs another one that is not among those that were done."""


@dataclass(eq=False)
class Folder:
    """A directory: its changes are in `Change`."""


@dataclass(eq=False)
class File:
    """A file: what was flushed, and what was written."""

    name: str
    flushed: bytes = b""
    written: bytes = b""


Node = Folder | File


@dataclass(eq=False)
class Change:
    """One change of a directory, which is there or not: names and what they stand for then."""

    folder: Folder
    entries: dict[str, Node | None]
    rank: int
    meetings: int
    flushed: bool = False


@dataclass
class Tree:
    """The names and bytes that a disk holds; a folder is a dict."""

    entries: dict[str, Tree | bytes] = field(default_factory=dict)

    def key(self) -> tuple:
        """Return the same for the same names and bytes."""
        return tuple(
            (name, hash(node) if isinstance(node, bytes) else node.key())
            for name, node in sorted(self.entries.items())
        )

    def put(self, place: Path) -> None:
        """Make it real in an empty directory."""
        for name, node in self.entries.items():
            if isinstance(node, bytes):
                (place / name).write_bytes(node)
            else:
                (place / name).mkdir()
                node.put(place / name)


class Machine:
    """A machine on which some operations were done, and then the power went off.

    Parameters
    ----------
    events : iterable of Event

    Raises
    ------
    ImpossibleError
        They cannot have been all.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.top = Folder()
        self._changes: list[Change] = []
        self._now: dict[Folder, dict[str, Node]] = {self.top: {}}
        self._files: dict[int, File] = {}
        for event in events:
            if event.name != "returned":
                getattr(self, f"_{event.name}")(event)
        reachable = self._reachable()
        self._certain = [c for c in self._changes if c.flushed]
        self.uncertain = [c for c in self._changes if not c.flushed and c.folder in reachable]
        self.torn = [f for f in self._files.values() if f in reachable and f.written != f.flushed]

    @property
    def possibilities(self) -> int:
        """How many states :meth:`states` would have without a limit."""
        return 2 ** len(self.uncertain) * len(FATES) ** len(self.torn)

    def states(self, limit: int, choose: random.Random) -> Iterator[Tree]:
        """Yield what the disk may hold: everything, or as many as `limit` drawn from it."""
        numbers: Iterable[int] = range(self.possibilities)
        if self.possibilities > limit:
            numbers = self._drawn(limit, choose)
        for number in numbers:
            yield self._state(number, choose)

    def _drawn(self, limit: int, choose: random.Random) -> Iterator[int]:
        """Yield nothing and everything of what was not flushed, one more or less, and any."""
        count = len(self.uncertain) + len(self.torn)
        yield self._number([0] * count)
        yield self._number([1] * count)
        for _ in range(limit // 2 - 1):
            usual = choose.randrange(2)
            fates = [usual] * count
            fates[choose.randrange(count)] = 1 - usual
            yield self._number(fates)
        for _ in range(limit - limit // 2 - 1):
            yield choose.randrange(self.possibilities)

    # -- one state ------------------------------------------------------------------------------

    def _number(self, fates: Sequence[int]) -> int:
        """Return the number of a state: a fate for all files, then for all changes."""
        number = 0
        for index, fate in enumerate(fates):
            number = number * (len(FATES) if index < len(self.torn) else 2) + fate
        return number

    def _state(self, number: int, choose: random.Random) -> Tree:
        lost = set()
        for change in reversed(self.uncertain):
            number, keep = divmod(number, 2)
            if not keep:
                lost.add(change)
        contents = {}
        for file in reversed(self.torn):
            number, fate = divmod(number, len(FATES))
            contents[file] = _after(file, FATES[fate], choose)
        entries: dict[Folder, dict[str, Node]] = {}
        for change in self._changes:
            if change not in lost:
                _apply(change, entries.setdefault(change.folder, {}))
        return self._tree(self.top, entries, contents)

    def _tree(
        self,
        folder: Folder,
        entries: dict[Folder, dict[str, Node]],
        contents: dict[File, bytes],
    ) -> Tree:
        tree = Tree()
        for name, node in entries.get(folder, {}).items():
            if isinstance(node, Folder):
                tree.entries[name] = self._tree(node, entries, contents)
            else:
                tree.entries[name] = contents.get(node, node.written)
        return tree

    def _reachable(self) -> set[Node]:
        """Return what some state has a name for."""
        named: dict[Folder, dict[str, set[Node | None]]] = {}
        for change in self._changes:
            names = named.setdefault(change.folder, {})
            for name, node in change.entries.items():
                if change.flushed:
                    names[name] = {node}
                else:
                    names.setdefault(name, {None}).add(node)
        found: set[Node] = set()
        waiting: list[Node | None] = [self.top]
        while waiting:
            node = waiting.pop()
            if node is None or node in found:
                continue
            found.add(node)
            if isinstance(node, Folder):
                for nodes in named.get(node, {}).values():
                    waiting.extend(nodes)
        return found

    # -- the operations -------------------------------------------------------------------------

    def _folder(self, path: Path) -> Folder:
        folder = self.top
        for name in path.parts:
            node = self._now[folder].get(name)
            if not isinstance(node, Folder):
                raise ImpossibleError(path)
            folder = node
        return folder

    def _change(self, event: Event, entries: dict[str, Node | None]) -> None:
        folder = self._folder(event.path.parent)
        change = Change(folder, entries, event.rank, event.meetings)
        _apply(change, self._now[folder])
        self._changes.append(change)

    def _make_directory(self, event: Event) -> None:
        node = self._now[self._folder(event.path.parent)].get(event.path.name)
        if node is None:
            node = Folder()
            self._now[node] = {}
        # Who finds it there may count on it as if it had made it.
        self._change(event, {event.path.name: node})

    def _create(self, event: Event) -> None:
        file = self._files[event.file] = File(event.path.name)
        self._change(event, {event.path.name: file})

    def _pwrite(self, event: Event) -> None:
        file = self._written(event)
        offset, data = event.detail
        before = file.written.ljust(offset, b"\0")
        file.written = before[:offset] + data + before[offset + len(data) :]

    def _fsync(self, event: Event) -> None:
        file = self._written(event)
        file.flushed = file.written

    def _written(self, event: Event) -> File:
        if event.file not in self._files:
            raise ImpossibleError(event.path)
        return self._files[event.file]

    def _fsync_directory(self, event: Event) -> None:
        folder = self._folder(event.path)
        for change in self._changes:
            before = change.rank == event.rank or change.meetings < event.meetings
            if change.folder is folder and before:
                change.flushed = True

    def _rename(self, event: Event) -> None:
        node = self._now[self._folder(event.path.parent)].get(event.path.name)
        if node is None:
            raise ImpossibleError(event.path)
        assert event.path.parent == event.detail.parent
        self._change(event, {event.path.name: None, event.detail.name: node})

    def _unlink(self, event: Event) -> None:
        if event.path.name not in self._now[self._folder(event.path.parent)]:
            raise ImpossibleError(event.path)
        self._change(event, {event.path.name: None})

    _rmdir = _unlink


def _apply(change: Change, entries: dict[str, Node]) -> None:
    for name, node in change.entries.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def _after(file: File, fate: str, choose: random.Random) -> bytes:
    """Return what a file holds when that has become of what was not flushed."""
    old, new = file.flushed, file.written
    if fate == "lost":
        return old
    if fate == "whole":
        return new
    if fate == "prefix":
        end = choose.randrange(len(new))
        return new[:end] + old[end:]
    pages = list(range(0, len(new), PAGE))
    gone = set(choose.sample(pages, choose.randint(1, len(pages))))
    if fate == "rubbish":
        return b"".join(
            choose.randbytes(len(new[p : p + PAGE])) if p in gone else new[p : p + PAGE]
            for p in pages
        )
    kept = old.ljust(len(new), b"\0")
    return b"".join((kept if p in gone else new)[p : p + PAGE] for p in pages)
