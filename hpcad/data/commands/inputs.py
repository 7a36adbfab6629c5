"""Kinds of input for ``hpcad data pack``: which options each understands, and how it is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from hpcad.data import sources
from hpcad.data.commands.options import names
from hpcad.data.sources import FieldMap, Source, parse_fields, read_mapping
from hpcad.data.sources.csv_table import LABEL_TYPES
from hpcad.errors import ConfigError

# Options that only some kinds of input understand; with any other they are refused, not ignored.
OPTIONS = {
    "label": ("csv", "parquet"),
    "label_type": ("csv",),
    "delimiter": ("csv",),
    "dtype": ("csv", "parquet"),
    "columns": ("parquet",),
    "split": ("text",),
    "tokenizer": ("text",),
    "class_names": ("idx", "npz", "npy", "csv"),
    "fields": ("idx", "npy", "csv", "images"),
    "field": ("hdf5",),
    "mapping": ("hdf5",),
    "rows": ("hdf5",),
    "window": ("hdf5",),
    "stride": ("hdf5",),
    "axis": ("hdf5",),
    "allow_links": ("hdf5",),
}


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add what can be packed, and how."""
    kinds = parser.add_argument_group("what to pack").add_mutually_exclusive_group(required=True)
    kinds.add_argument("--idx", nargs="+", metavar="FILE", help="IDX inputs [and labels], .gz too")
    kinds.add_argument("--npz", metavar="FILE", help="an archive; each array is a field")
    kinds.add_argument("--npy", nargs="+", metavar="FILE", help="one array per field")
    kinds.add_argument("--csv", metavar="FILE", help="a table of numbers, with --label COLUMN")
    kinds.add_argument("--parquet", nargs="+", metavar="FILE", help="tables; needs pyarrow")
    kinds.add_argument("--images", metavar="FOLDER", help="one folder of images per class")
    kinds.add_argument("--text", metavar="FILE", help="a text as tokens")
    kinds.add_argument("--hdf5", nargs="+", metavar="FILE", help="HDF5 files of any layout")

    how = parser.add_argument_group("how")
    how.add_argument("--fields", metavar="NAMES", help="field names (default x,y)")
    how.add_argument("--class-names", metavar="NAMES", help="names of the classes 0,1,...")
    how.add_argument("--label", metavar="COLUMN", help="CSV, Parquet: the label column")
    how.add_argument("--label-type", choices=LABEL_TYPES, help="CSV: what labels are")
    how.add_argument("--delimiter", help="CSV: between cells (default a comma)")
    how.add_argument("--dtype", help="CSV, Parquet: of the numbers")
    how.add_argument("--columns", metavar="NAMES", help="Parquet: the columns to take")
    how.add_argument(
        "--split", type=float, metavar="SHARE", help="text: make OUT/train (this share) and OUT/val"
    )
    how.add_argument(
        "--tokenizer",
        metavar="WHAT",
        help="text: characters (default), bytes, or a JSON file {token: id}",
    )
    _add_hdf5(parser.add_argument_group("HDF5 files"))


def _add_hdf5(group: Any) -> None:
    group.add_argument(
        "--field",
        action="append",
        metavar="NAME=PATH[@ATTRIBUTE][,KEY=VALUE]",
        help="a field, with keys window, stride, axis, dtype of its own; may be given many times",
    )
    group.add_argument("--mapping", metavar="FILE", help="a TOML file with [fields.NAME] instead")
    how = group.add_mutually_exclusive_group()
    how.add_argument(
        "--rows", action="store_true", default=None, help="each place of the axis (default)"
    )
    how.add_argument("--window", type=int, metavar="N", help="N places of the axis")
    group.add_argument("--stride", type=int, metavar="M", help="from window to window (default N)")
    group.add_argument("--axis", type=int, metavar="K", help="which one (default 0)")
    group.add_argument(
        "--allow-links",
        action="store_true",
        default=None,
        help="follow links, and read virtual datasets and external storage; says what is read",
    )


def read_inputs(options: argparse.Namespace) -> list[Source]:
    """The sources that the options name; one, or the two parts of a text.

    Raises
    ------
    ConfigError
        An option does not belong to this kind of input.
    DataError
        The input is missing or damaged.
    """
    kind = next(kind for kind in _READERS if getattr(options, kind) is not None)
    for option, kinds in OPTIONS.items():
        if getattr(options, option) is not None and kind not in kinds:
            allowed = " and ".join(f"--{kind}" for kind in kinds)
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} goes with {allowed}, not with --{kind}; leave it out")
    return _READERS[kind](options)


def _idx(options: argparse.Namespace) -> list[Source]:
    if len(options.idx) > 2:
        raise ConfigError(f"--idx takes inputs and labels, not {len(options.idx)} files")
    classes = names(options.class_names)
    return [sources.idx_source(*options.idx, fields=_fields(options), class_names=classes)]


def _npz(options: argparse.Namespace) -> list[Source]:
    return [sources.npz_source(options.npz, class_names=names(options.class_names))]


def _npy(options: argparse.Namespace) -> list[Source]:
    classes = names(options.class_names)
    return [sources.npy_source(*options.npy, fields=_fields(options), class_names=classes)]


def _csv(options: argparse.Namespace) -> list[Source]:
    text: str | None = options.label
    is_index = text is not None and text.lstrip("-").isdecimal()
    source = sources.csv_source(
        options.csv,
        label=int(text) if text is not None and is_index else text,
        label_type=options.label_type or "auto",
        delimiter=(options.delimiter or ",").replace("\\t", "\t"),
        dtype=options.dtype or "float32",
        fields=_fields(options),
        class_names=names(options.class_names),
    )
    return [source]


def _parquet(options: argparse.Namespace) -> list[Source]:
    columns = names(options.columns)
    source = sources.parquet_source(
        options.parquet, columns=columns, label=options.label, dtype=options.dtype
    )
    return [source]


def _images(options: argparse.Namespace) -> list[Source]:
    return [sources.image_source(options.images, fields=_fields(options))]


def _text(options: argparse.Namespace) -> list[Source]:
    tokenizer = options.tokenizer or "characters"
    return sources.text_sources(options.text, split=options.split, tokenizer=tokenizer)


def _hdf5(options: argparse.Namespace) -> list[Source]:
    if (options.field is None) == (options.mapping is None):
        raise ConfigError(
            "--hdf5 needs either --field NAME=PATH, once or more, or --mapping FILE.toml"
        )
    given = {name: getattr(options, name) for name in ("window", "stride", "axis")}
    defaults = {name: value for name, value in given.items() if value is not None}
    fields: list[FieldMap]
    if options.mapping is not None:
        fields = read_mapping(options.mapping, **defaults)
    else:
        fields = parse_fields(options.field, **defaults)
    return [sources.hdf5_source(options.hdf5, fields, allow_links=bool(options.allow_links))]


_READERS: dict[str, Callable[[argparse.Namespace], list[Source]]] = {
    "idx": _idx,
    "npz": _npz,
    "npy": _npy,
    "csv": _csv,
    "parquet": _parquet,
    "images": _images,
    "text": _text,
    "hdf5": _hdf5,
}


def _fields(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(names(options.fields) or ("x", "y"))
