"""Strong scaling on this machine: a fixed global batch, divided among more and more ranks.

    python benchmarks/strong_scaling.py [--models mlp,cnn] [--ranks 1,2] [--json FILE]

It starts mpirun itself. benchmarks/README.md says what is measured and how to read it.
"""

from __future__ import annotations

import sys

from scaling_common import STRONG, run_study

if __name__ == "__main__":
    sys.exit(run_study(STRONG))
