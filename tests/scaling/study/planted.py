"""hpcad with a mistake: gradients are summed over the ranks, and not averaged."""

import sys

from hpcad.cli import main
from hpcad.parallel import DataParallel


def seed_scale(self):
    self._begin()
    return 1.0


DataParallel.seed_scale = seed_scale
sys.exit(main())
