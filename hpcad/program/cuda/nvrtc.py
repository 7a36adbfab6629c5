"""NVRTC, NVIDIA's compiler of CUDA C++ as a library, by ctypes. It needs no GPU.

API: NVRTC documentation, https://docs.nvidia.com/cuda/nvrtc/.
"""

from __future__ import annotations

import ctypes
import functools
import os

from hpcad.backend.native.compiler import CompilationError
from hpcad.backend.native.nvidia import find_library

VARIABLE = "HPCAD_NVRTC"


class Nvrtc:
    """A loaded NVRTC.

    Attributes
    ----------
    path : str
    version : tuple of int
        Of the CUDA toolkit it belongs to: (12, 9).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._library = ctypes.CDLL(path)
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def compile(self, source: str, name: str, options: tuple[str, ...]) -> tuple[bytes, str]:
        """Machine code of a source that includes no files, and messages.

        Parameters
        ----------
        source : str
        name : str
            What messages call the file.
        options : tuple of str
            With ``--gpu-architecture=sm_..``: for a real device, not a virtual one.

        Raises
        ------
        CompilationError
            With NVRTC's messages, which show the lines of the source.
        """
        program = ctypes.c_void_p()
        text = source.encode()
        self._call("nvrtcCreateProgram", ctypes.byref(program), text, name.encode(), 0, None, None)
        try:
            encoded = [option.encode() for option in options]
            array = (ctypes.c_char_p * len(encoded))(*encoded)
            status = self._library.nvrtcCompileProgram(program, len(encoded), array)
            log = self._text("nvrtcGetProgramLog", program).decode(errors="replace")
            if status != 0:
                raise CompilationError(
                    f"NVRTC {self.version[0]}.{self.version[1]}, {' '.join(options)}: "
                    f"{self._message(status)}\n{log.rstrip(chr(0)).rstrip()}"
                )
            return self._text("nvrtcGetCUBIN", program), log
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))

    def architectures(self) -> list[str]:
        """The devices it compiles for: ``sm_80``, ``sm_90``..."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", numbers)
        return [f"sm_{number}" for number in numbers]

    def _text(self, function: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"{function}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(function, program, buffer)
        return buffer.raw

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise CompilationError(f"{function} of {self.path}: {self._message(status)}")

    def _message(self, status: int) -> str:
        return self._library.nvrtcGetErrorString(status).decode()


def find_nvrtc(newest: int | None = None) -> Nvrtc | None:
    """The newest NVRTC here; None where there is none.

    ``HPCAD_NVRTC`` names one; else it is looked for in NVIDIA's wheels, in the CUDA toolkit
    (``CUDA_HOME``, ``CUDA_PATH``), and where the dynamic linker looks.

    Parameters
    ----------
    newest : int, optional
        The CUDA version (its first number) of the driver that will load the code: older drivers
        refuse newer code.
    """
    return _find(os.environ.get(VARIABLE, ""), newest)


@functools.cache
def _find(wish: str, newest: int | None) -> Nvrtc | None:
    return find_library("libnvrtc.so", Nvrtc, VARIABLE, wish, newest)
