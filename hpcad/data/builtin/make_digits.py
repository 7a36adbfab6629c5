"""How the embedded digits were made: ``python make_digits.py DIRECTORY`` (needs scikit-learn).

scikit-learn carries the test half of the UCI set, 1,797 images of 8x8 pixels with values 0 to 16.
Their order follows the writers, so cutting off the end would ask how well a network does on other
hands, which is another and harder question than whether it learns. The split here is random within
each class: the samples of a class are put in the order of :class:`hpcad.data.GlobalOrder` with the
class as seed, and the first fifth goes to the test set (rounded by largest remainder, 360 in all).
Both parts keep the original order of their samples.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import numpy as np

from hpcad.data import GlobalOrder, Provenance, pack_all
from hpcad.data.sources import array_source
from hpcad.data.sources.source import label_metadata

TEST_SAMPLES = 360
SHARD_SAMPLES = 512  # three training shards: small, but a real shard set

PROVENANCE = Provenance(
    source="UCI Machine Learning Repository: Optical Recognition of Handwritten Digits (1998), "
    "https://doi.org/10.24432/C50P49; the 1,797 test samples, as in sklearn.datasets.load_digits",
    licence="CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    attribution="E. Alpaydin and C. Kaynak: Optical Recognition of Handwritten Digits. "
    "UCI Machine Learning Repository, 1998. Changed: split anew, packed into HDF5 shards.",
)


def split(labels: np.ndarray, test_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of training and test samples, stratified by class."""
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    shares = np.array([len(m) for m in members]) * test_samples / len(labels)
    counts = np.floor(shares).astype(int)
    largest = np.argsort(counts - shares, kind="stable")[: test_samples - counts.sum()]
    counts[largest] += 1
    chosen = [
        m[GlobalOrder(len(m), seed=label).ids(0, 0, int(counts[label]))]
        for label, m in enumerate(members)
    ]
    test = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), test), test


def make(out: Path) -> None:
    """Write ``out/train`` and ``out/test``."""
    # By name, because hpcad itself neither needs nor knows scikit-learn.
    digits = importlib.import_module("sklearn.datasets").load_digits()
    images = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    names = [str(digit) for digit in range(10)]
    jobs = []
    for part, chosen in zip(("train", "test"), split(labels, TEST_SAMPLES), strict=True):
        source = array_source({"x": images[chosen], "y": labels[chosen]}, origin=part)
        source.metadata.update(label_metadata(labels[chosen], part, names))
        source.metadata["largest_value"] = 16
        jobs.append((source, out / part))
    pack_all(jobs, shard_samples=SHARD_SAMPLES, provenance=PROVENANCE, progress=print)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    make(parser.parse_args().out)
