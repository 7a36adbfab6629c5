"""``python -m hpcad`` is the command line ``hpcad``."""

import sys

from hpcad.cli import main

sys.exit(main())
