"""``hpcad data pack``, ``inspect`` and ``verify``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from hpcad.data import sources
from hpcad.data.inspect import format_bytes, summary
from hpcad.data.pack import SHARD_MB, Provenance, pack_all
from hpcad.data.shard_writer import Layout
from hpcad.data.sources import Source
from hpcad.data.sources.csv_table import LABEL_TYPES
from hpcad.data.verify import verify_dataset
from hpcad.errors import ConfigError, DataError

# Options that only some kinds of input understand; with any other they are refused, not ignored.
_OPTIONS = {
    "label": ("csv",),
    "label_type": ("csv",),
    "delimiter": ("csv",),
    "dtype": ("csv",),
    "split": ("text",),
    "class_names": ("idx", "npz", "npy", "csv"),
    "fields": ("idx", "npy", "csv", "images"),
}


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Register ``data`` with its three commands; each sets ``func(namespace) -> exit code``."""
    data = subparsers.add_parser("data", help="pack, inspect and verify datasets")
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    _add_pack(commands.add_parser("pack", help="make HDF5 shards of your files"))

    inspect = commands.add_parser("inspect", help="say what a dataset holds")
    inspect.add_argument("dataset", help="its directory, or builtin:NAME")
    inspect.set_defaults(func=_inspect)

    verify = commands.add_parser("verify", help="compare every byte with the checksums")
    verify.add_argument("dataset", help="its directory, or builtin:NAME")
    verify.set_defaults(func=_verify)


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="directory to make")
    kinds = parser.add_argument_group("what to pack").add_mutually_exclusive_group(required=True)
    kinds.add_argument("--idx", nargs="+", metavar="FILE", help="IDX inputs [and labels], .gz too")
    kinds.add_argument("--npz", metavar="FILE", help="an archive; each array is a field")
    kinds.add_argument("--npy", nargs="+", metavar="FILE", help="one array per field")
    kinds.add_argument("--csv", metavar="FILE", help="a table of numbers, with --label COLUMN")
    kinds.add_argument("--images", metavar="FOLDER", help="one folder of images per class")
    kinds.add_argument("--text", metavar="FILE", help="characters as tokens")

    how = parser.add_argument_group("how")
    how.add_argument("--fields", metavar="NAMES", help="field names (default x,y)")
    how.add_argument("--class-names", metavar="NAMES", help="names of the classes 0,1,...")
    how.add_argument("--label", metavar="COLUMN", help="CSV: name or index of the label column")
    how.add_argument("--label-type", choices=LABEL_TYPES, help="CSV: what labels are")
    how.add_argument("--delimiter", help="CSV: between cells (default a comma)")
    how.add_argument("--dtype", help="CSV: of the numbers (default float32)")
    how.add_argument(
        "--split", type=float, metavar="SHARE", help="text: make OUT/train (this share) and OUT/val"
    )

    shards = parser.add_argument_group("shards")
    shards.add_argument("--shard-samples", type=int, metavar="N", help="samples per shard")
    shards.add_argument("--shard-mb", type=float, default=SHARD_MB, help="MiB per shard")
    shards.add_argument("--layout", choices=("contiguous", "chunked"), default="contiguous")
    shards.add_argument("--compress", type=int, default=0, metavar="1-9", help="chunks, by deflate")
    shards.add_argument("--force", action="store_true", help="replace a dataset that is there")

    told = parser.add_argument_group("sentences kept in the manifest")
    told.add_argument("--source", default="", help="where the data come from")
    told.add_argument("--licence", default="", help="how they may be used")
    told.add_argument("--attribution", default="", help="whom to name")
    parser.set_defaults(func=_pack)


def _pack(options: argparse.Namespace) -> int:
    kind = next(kind for kind in _READERS if getattr(options, kind) is not None)
    for option, kinds in _OPTIONS.items():
        if getattr(options, option) is not None and kind not in kinds:
            allowed = " and ".join(f"--{kind}" for kind in kinds)
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} goes with {allowed}, not with --{kind}; leave it out")
    found = _READERS[kind](options)
    places = [options.out]
    if len(found) == 2:
        places = [options.out / "train", options.out / "val"]
    pack_all(
        list(zip(found, places, strict=True)),
        shard_samples=options.shard_samples,
        shard_mb=options.shard_mb,
        layout=Layout(options.layout == "chunked", options.compress),
        provenance=Provenance(options.source, options.licence, options.attribution),
        force=options.force,
        progress=_say,
    )
    return 0


def _inspect(options: argparse.Namespace) -> int:
    _say(summary(options.dataset))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from hpcad.parallel import init

    world = init()  # under mpirun the ranks take the shards in turn
    report = verify_dataset(options.dataset, _say, world.communicator)
    if not world.is_root:
        return 0 if report.ok else DataError.exit_code
    for problem in report.problems:
        _say(problem)
    rate = format_bytes(report.nbytes / max(report.seconds, 1e-9))
    _say(
        f"{report.shards - len(report.problems)} of {report.shards} shards are good; "
        f"{format_bytes(report.nbytes)} in {report.seconds:.2f} s, {rate}/s"
    )
    return 0 if report.ok else DataError.exit_code


def _idx(options: argparse.Namespace) -> list[Source]:
    if len(options.idx) > 2:
        raise ConfigError(f"--idx takes inputs and labels, not {len(options.idx)} files")
    names = _names(options.class_names)
    return [sources.idx_source(*options.idx, fields=_fields(options), class_names=names)]


def _npz(options: argparse.Namespace) -> list[Source]:
    return [sources.npz_source(options.npz, class_names=_names(options.class_names))]


def _npy(options: argparse.Namespace) -> list[Source]:
    names = _names(options.class_names)
    return [sources.npy_source(*options.npy, fields=_fields(options), class_names=names)]


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
        class_names=_names(options.class_names),
    )
    return [source]


def _images(options: argparse.Namespace) -> list[Source]:
    return [sources.image_source(options.images, fields=_fields(options))]


def _text(options: argparse.Namespace) -> list[Source]:
    return sources.text_sources(options.text, split=options.split)


_READERS: dict[str, Callable[[argparse.Namespace], list[Source]]] = {
    "idx": _idx,
    "npz": _npz,
    "npy": _npy,
    "csv": _csv,
    "images": _images,
    "text": _text,
}


def _fields(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(_names(options.fields) or ("x", "y"))


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _say(line: str) -> None:
    """The one place in this room that prints."""
    print(line, flush=True)
