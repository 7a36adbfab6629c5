"""Training data: HDF5 shards with a manifest, one global order, and the loader."""

from hpcad.data.arrays import ArrayDataset
from hpcad.data.batch import Batch, local_part
from hpcad.data.block_order import BlockOrder, BlockShuffle
from hpcad.data.builtin import builtin_names
from hpcad.data.dataset import Dataset, open_dataset
from hpcad.data.inspect import summary
from hpcad.data.loader import Loader
from hpcad.data.manifest import FieldSpec, Manifest
from hpcad.data.merge import merged_source
from hpcad.data.mixture import Mixture
from hpcad.data.order import GlobalOrder
from hpcad.data.pack import pack, pack_all
from hpcad.data.packing_parallel import Provenance
from hpcad.data.ragged import Ragged
from hpcad.data.shard_writer import Layout
from hpcad.data.split import split_sources
from hpcad.data.staged import Staged
from hpcad.data.staging import stage
from hpcad.data.store import DistributedStore
from hpcad.data.verify import VerifyReport, verify_dataset
from hpcad.data.windows import TokenWindows
from hpcad.data.writer import DatasetWriter

__all__ = [
    "ArrayDataset",
    "Batch",
    "BlockOrder",
    "BlockShuffle",
    "Dataset",
    "DatasetWriter",
    "DistributedStore",
    "FieldSpec",
    "GlobalOrder",
    "Layout",
    "Loader",
    "Manifest",
    "Mixture",
    "Provenance",
    "Ragged",
    "Staged",
    "TokenWindows",
    "VerifyReport",
    "builtin_names",
    "local_part",
    "merged_source",
    "open_dataset",
    "pack",
    "pack_all",
    "split_sources",
    "stage",
    "summary",
    "verify_dataset",
]
