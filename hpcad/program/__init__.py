"""The compiled step: a captured program, improved, planned and replayed."""

from hpcad.program.compiled import Compiled, compile
from hpcad.program.emission.executable import Executable
from hpcad.program.emission.report import Report

__all__ = ["Compiled", "Executable", "Report", "compile"]
