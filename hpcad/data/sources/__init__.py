"""What can be packed: one file per kind of input, each a function that returns a Source."""

from hpcad.data.sources.csv_table import csv_source
from hpcad.data.sources.idx import idx_source
from hpcad.data.sources.image_folders import image_source
from hpcad.data.sources.numpy_files import array_source, npy_source, npz_source
from hpcad.data.sources.source import Source
from hpcad.data.sources.text import text_sources

__all__ = [
    "Source",
    "array_source",
    "csv_source",
    "idx_source",
    "image_source",
    "npy_source",
    "npz_source",
    "text_sources",
]
