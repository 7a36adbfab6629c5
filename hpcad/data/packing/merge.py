"""Several datasets as one: their samples one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hpcad.data.dataset import Dataset
from hpcad.data.manifest.contents import FILE_NAME
from hpcad.data.packing.parallel import Provenance
from hpcad.data.packing.split import rows_at_once
from hpcad.data.sources.source import Source
from hpcad.errors import DataError

# What labels and tokens mean; it must not differ.
_MEANINGS = ("class_names", "vocabulary", "tokenizer")


def merged_source(datasets: Sequence[Dataset]) -> Source:
    """The samples of all datasets, in their order, to be packed.

    The metadata are those that all of them agree on, the larger number of ``classes``, and
    ``merged``: the hash and the count of each.

    Raises
    ------
    DataError
        There are fewer than two, or they differ in their fields, or in what their labels or tokens
        mean.
    """
    if len(datasets) < 2:
        raise DataError("merging needs at least two datasets")
    first = datasets[0]
    for other in datasets[1:]:
        _check_equal(first, other)
    stops = np.cumsum([len(dataset) for dataset in datasets])

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for dataset, end in zip(datasets, stops.tolist(), strict=True):
            begin, rows = end - len(dataset), rows_at_once(dataset)
            last = min(stop, end) - begin
            for low in range(max(start - begin, 0), last, rows):
                yield dataset.read(np.arange(low, min(low + rows, last)))

    merged = [[dataset.hash, len(dataset)] for dataset in datasets]
    return Source(
        " and ".join(str(dataset.directory) for dataset in datasets),
        dict(first.manifest.fields),
        int(stops[-1]),
        chunks,
        kind=first.manifest.kind,
        metadata={**_common(datasets), "merged": merged},
        files=tuple(dataset.directory / FILE_NAME for dataset in datasets),
        options={"merged": merged},
        sample_bytes=sum(dataset.manifest.data_bytes for dataset in datasets) / int(stops[-1]),
    )


def merged_provenance(datasets: Sequence[Dataset]) -> Provenance:
    """The sentences of all datasets, each once."""
    manifests = [dataset.manifest for dataset in datasets]
    return Provenance(
        _joined([manifest.source for manifest in manifests]),
        _joined([manifest.licence for manifest in manifests]),
        _joined([manifest.attribution for manifest in manifests]),
    )


def _joined(sentences: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(sentence for sentence in sentences if sentence))


def _check_equal(first: Dataset, other: Dataset) -> None:
    a, b = first.manifest, other.manifest
    if a.kind != b.kind:
        raise DataError(f"{other.directory}: holds {b.kind}, {first.directory} holds {a.kind}")
    if a.fields != b.fields:
        told = [", ".join(f"{name}: {spec}" for name, spec in m.fields.items()) for m in (b, a)]
        raise DataError(
            f"{other.directory}: has the fields {told[0]}; those of {first.directory} are {told[1]}"
        )
    for key in _MEANINGS:
        if a.metadata.get(key) != b.metadata.get(key):
            raise DataError(
                f"{other.directory}: has other metadata {key!r} than {first.directory}, so its "
                "numbers mean something else; pack the sources together instead"
            )


def _common(datasets: Sequence[Dataset]) -> dict[str, Any]:
    found = {
        key: value
        for key, value in datasets[0].metadata.items()
        if all(dataset.metadata.get(key) == value for dataset in datasets[1:])
    }
    if all("classes" in dataset.metadata for dataset in datasets):
        found["classes"] = max(dataset.metadata["classes"] for dataset in datasets)
    return found
