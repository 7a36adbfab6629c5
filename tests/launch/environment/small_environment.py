"""A small virtual environment with everything in it that names its place."""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

HPCAD = Path(__file__).parents[3] / "hpcad"
BIG = 17 << 20  # bytes: more than one piece of the stream


def small_environment(folder: Path) -> Path:
    """Make it: hpcad's first modules and another package are installed in editable mode."""
    root = folder / "slow" / "venv"
    venv.create(root, symlinks=True, with_pip=False)
    packages = root / f"lib/python3.{sys.version_info.minor}/site-packages"
    source = folder / "slow" / "source"
    (source / "hpcad").mkdir(parents=True)
    for name in ("__init__.py", "errors.py"):
        shutil.copy2(HPCAD / name, source / "hpcad")
    (source / "notes").mkdir()  # no package: stays behind
    (source / "notes" / "large.txt").touch()
    (packages / "_editable_impl_hpcad.pth").write_text(f"{source}\n")
    other = folder / "slow" / "other"
    other.mkdir()
    (other / "__init__.py").write_text("answer = 42\n")
    finder = f"MAPPING: dict[str, str] = {{'other': {str(other)!r}}}\n" + _FINDER
    (packages / "__editable___other_1_0_finder.py").write_text(finder)
    (packages / "__editable__.other-1.0.pth").write_text(
        "import __editable___other_1_0_finder; __editable___other_1_0_finder.install()\n"
    )
    with (packages / "big.dat").open("wb") as file:
        file.write(b"hpcad")
        file.truncate(BIG)
    (packages / "read_only.py").write_text("x = 1\n")
    (packages / "read_only.py").chmod(0o444)
    script = root / "bin" / "say"
    script.write_text(f"#!{root}/bin/python\nimport hpcad, other, sys\n{_SAY}")
    script.chmod(0o755)
    (root / "link").symlink_to(packages / "big.dat")
    return root


_SAY = "print(hpcad.__file__, other.__file__, other.answer, sys.prefix)\n"
# What the finder of setuptools does, for packages.
_FINDER = """
import importlib.util, sys

class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MAPPING:
            return importlib.util.spec_from_file_location(name, MAPPING[name] + "/__init__.py")

def install():
    sys.meta_path.append(Finder)
"""
