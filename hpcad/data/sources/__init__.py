"""What can be packed: one file per kind of input, each a function that returns a Source."""

from hpcad.data.sources.csv_table import csv_source
from hpcad.data.sources.hdf5_fields import FieldMap, parse_fields, read_mapping
from hpcad.data.sources.hdf5_mapping import hdf5_source
from hpcad.data.sources.idx import idx_source
from hpcad.data.sources.image_folders import image_source
from hpcad.data.sources.numpy_files import array_source, npy_source, npz_source
from hpcad.data.sources.parquet import parquet_source
from hpcad.data.sources.source import Source
from hpcad.data.sources.text import text_sources

__all__ = [
    "FieldMap",
    "Source",
    "array_source",
    "csv_source",
    "hdf5_source",
    "idx_source",
    "image_source",
    "npy_source",
    "npz_source",
    "parquet_source",
    "parse_fields",
    "read_mapping",
    "text_sources",
]
