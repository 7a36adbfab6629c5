"""Somebody else's HDF5 file, opened so that nothing but itself is read.

A path may lead through soft links, and through external links into other files; a dataset may be
virtual or keep its bytes in any file of the system. All of these are refused, unless they were
allowed, and then each is told. Filters are those that HDF5 and h5py bring along: others would load
code from wherever HDF5 looks for plugins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.data.sources.hdf5_heap import check_heaps
from hpcad.errors import DataError

# Deflate, shuffle, Fletcher32, szip, n-bit, scale-offset, and LZF, which is part of h5py.
_FILTERS = (1, 2, 3, 4, 5, 6, 32000)
_MOST_INFLATED = 1032  # times the bytes of the file: deflate makes no more of it
_MOST_TEXT = 1000  # characters of a constant


class ForeignFile:
    """An open HDF5 file of anybody's; see :func:`open_foreign`.

    Attributes
    ----------
    path : Path
    notes : list of str
        What else is read, where links are allowed.
    others : list of Path
        The other files among these.
    """

    def __init__(self, path: Path, file: h5py.File, allow_links: bool) -> None:
        self.path, self.notes = path, list[str]()
        self.others: list[Path] = []
        self._file, self._allow_links = file, allow_links
        self._size = path.stat().st_size

    def dataset(self, name: str) -> h5py.Dataset:
        """A dataset of numbers in any layout.

        Raises
        ------
        DataError
            There is none under this path; it leads out of the file; it claims more than the file
            can hold; it has an unknown filter.
        """
        found = self.thing(name)
        if not isinstance(found, h5py.Dataset):
            if not isinstance(found, h5py.Group):
                raise DataError(f"{self.path}: {name} is neither a group nor a dataset")
            raise DataError(f"{self.path}: {name} is a group, not a dataset; {self._inside(found)}")
        creation = found.id.get_create_plist()
        outside = creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count()
        if outside:
            self._allow(*self._elsewhere(name, found, creation))
        for k in range(creation.get_nfilters()):
            number = creation.get_filter(k)[0]
            if number not in _FILTERS:
                raise DataError(
                    f"{self.path}: {name} has the filter {number}, which needs a plugin; rewrite "
                    "the file without it, for example with h5repack -f GZIP=1"
                )
        if found.id.get_type().get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM):
            claimed = (found.size or 0) * found.dtype.itemsize
            if not outside and found.file == self._file and claimed > _MOST_INFLATED * self._size:
                raise DataError(
                    f"{self.path}: {name} claims {claimed} bytes, which cannot be in a file of "
                    f"{self._size}; it was never written in full, or is damaged"
                )
        return found

    def constant(self, name: str, attribute: str = "") -> str | np.generic:
        """A single number or text: of an attribute, or of a dataset without dimensions.

        Raises
        ------
        DataError
            There is no such thing, or it is more than one.
        """
        where = f"{self.path}: {name}" + (f", attribute {attribute!r}" if attribute else "")
        if attribute:
            holder = self.thing(name)
            if attribute not in holder.attrs:
                known = ", ".join(map(str, [*holder.attrs][:20])) or "none"
                raise DataError(f"{where} does not exist; its attributes are: {known}")
        found = self.thing(name).attrs.get_id(attribute) if attribute else self.dataset(name).id
        if found.dtype.kind == "O":  # of variable length, or a reference
            check_heaps(Path(h5py.h5i.get_file_id(found).name.decode()))
        try:
            value = self.thing(name).attrs[attribute] if attribute else self.dataset(name)[()]
        except (OSError, TypeError) as error:
            raise DataError(f"{where} cannot be read ({error})") from error
        if np.shape(value) == (1,):
            value = value[0]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            return value[:_MOST_TEXT]
        if isinstance(value, np.generic) and value.dtype.kind in "iufb":
            return value
        raise DataError(f"{where} is not one number or text, but {type(value).__name__}")

    def thing(self, name: str) -> h5py.Group | h5py.Dataset:
        """The group or dataset under a path, over hard links alone if nothing else is allowed."""
        found = self._file["/"]
        for part in [part for part in name.split("/") if part]:
            if not isinstance(found, h5py.Group):
                raise DataError(f"{self.path}: {found.name} is a dataset; it holds no {part!r}")
            link = found.get(part, getlink=True)
            if link is None:
                raise DataError(f"{self.path}: there is no {name}; {self._inside(found)}")
            if not isinstance(link, h5py.HardLink):
                self._allow(*self._link(name, link))
            try:
                found = found[part]
            except (KeyError, OSError, ValueError) as error:
                raise DataError(f"{self.path}: {name} cannot be opened ({error})") from error
        return found

    def _allow(self, note: str, others: list[str]) -> None:
        if not self._allow_links:
            raise DataError(
                f"{note}; only what is in the file itself is read. If the place is right, allow it "
                "with --allow-links"
            )
        if note not in self.notes:
            self.notes.append(note)
            self.others += [self.path.parent / other for other in others if other not in ("", ".")]

    def _link(self, name: str, link: Any) -> tuple[str, list[str]]:
        if isinstance(link, h5py.ExternalLink):
            target = f"an external link to {link.path} in the file {link.filename}"
            return f"{self.path}: {name} leads over {target}", [link.filename]
        return f"{self.path}: {name} leads over a soft link to {link.path}", []

    def _elsewhere(self, name: str, found: h5py.Dataset, creation: Any) -> tuple[str, list[str]]:
        if creation.get_layout() == h5py.h5d.VIRTUAL:
            files = sorted({source.file_name for source in found.virtual_sources()})
            return f"{self.path}: {name} is a virtual dataset of {', '.join(files)}", files
        count = creation.get_external_count()
        files = [creation.get_external(k)[0].decode() for k in range(count)]
        return f"{self.path}: {name} has its bytes in {', '.join(files)}", files

    def _inside(self, group: h5py.Group) -> str:
        return f"{group.name} holds: " + (", ".join([*group][:20]) or "nothing")


@contextmanager
def open_foreign(path: Path, allow_links: bool) -> Iterator[ForeignFile]:
    """Open a file for reading; HDF5's errors while it is open become a :class:`DataError`."""
    try:
        # Without locks: somebody may still hold one, and some file systems hang on them.
        with h5py.File(path, "r", locking=False) as file:
            yield ForeignFile(path, file, allow_links)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # all of h5py's ways
        if not path.exists():
            raise DataError(f"{path}: there is no such file") from error
        raise DataError(f"{path}: is not an HDF5 file, or damaged ({error})") from error
