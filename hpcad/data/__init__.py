"""Training data: HDF5 shards with a manifest, one global order, and the loader."""

from hpcad.data.arrays import ArrayDataset
from hpcad.data.batch import Batch, local_part
from hpcad.data.builtin import builtin_names
from hpcad.data.dataset import Dataset, open_dataset
from hpcad.data.inspect import summary
from hpcad.data.loading.loader import Loader
from hpcad.data.manifest.contents import FieldSpec, Manifest
from hpcad.data.mixture import Mixture
from hpcad.data.order.block_order import BlockOrder, BlockShuffle
from hpcad.data.order.global_order import GlobalOrder
from hpcad.data.packing.merge import merged_source
from hpcad.data.packing.pack import pack, pack_all
from hpcad.data.packing.parallel import Provenance
from hpcad.data.packing.split import split_sources
from hpcad.data.packing.writer import DatasetWriter
from hpcad.data.ragged import Ragged
from hpcad.data.shards.writer import Layout
from hpcad.data.staging.stage import stage
from hpcad.data.staging.staged import Staged
from hpcad.data.store.distributed import DistributedStore
from hpcad.data.verify import VerifyReport, verify_dataset
from hpcad.data.windows import TokenWindows

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
