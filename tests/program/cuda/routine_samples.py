"""Hand-written routines in sizes of networks."""

from __future__ import annotations

from hpcad.program.cuda.routines.add_rows import add_rows
from hpcad.program.cuda.routines.take_rows import take_rows

ROUTINES = {
    "embedding": take_rows("float32", "int64", 50257, 65536, 768),
    "embedding, odd": take_rows("float64", "int32", 11, 20, 7, faults=True),
    "gradient of an embedding": add_rows("float32", "int64", 50257, 65536, 768),
    "gradient of an embedding, odd": add_rows("float64", "int32", 11, 20, 7, faults=True),
}
