"""The structures of the C sources in ctypes; their fields are explained there."""

from __future__ import annotations

import ctypes
from typing import Any

Fields = list[tuple[str, Any]]


def _integers(names: str) -> Fields:
    return [(name, ctypes.c_int64) for name in names.split()]


def _pointers(names: str) -> Fields:
    return [(name, ctypes.c_void_p) for name in names.split()]


class Source(ctypes.Structure):
    """``source_t``"""

    _fields_ = _pointers("data positive winner") + _integers("images height width channels")


class Block(ctypes.Structure):
    """``block_t``"""

    _fields_ = _integers("in_place row column row_step rows columns pitch")


class Units(ctypes.Structure):
    """``units_t``"""

    _fields_ = _integers("images bands count")


class Result(ctypes.Structure):
    """``result_t``"""

    _fields_ = _pointers("data winner bias") + _integers("relu height width channels row_step")


class Phase(ctypes.Structure):
    """``phase_t``"""

    _fields_ = [
        *_integers("pixels last_pixels factors"),
        *_pointers("origin place factor weight"),
        *_integers("packed"),
    ]


class Weight(ctypes.Structure):
    """``weight_t``"""

    _fields_ = _pointers("data") + _integers("channel_step channels vectors")


class Tiling(ctypes.Structure):
    """``tiling_t``"""

    _fields_ = [
        *_integers("rows last_rows columns tile_step product_step channels vectors"),
        *_integers("row_step column_step channel_step"),
        *_pointers("steps"),
    ]


class ImagesJob(ctypes.Structure):
    """``images_job_t``"""

    _fields_ = [
        ("source", Source),
        ("block", Block),
        ("units", Units),
        ("result", Result),
        ("weight", Weight),
        *_integers("winograd"),
        ("tiling", Tiling),
        *_pointers("phases"),
        *_integers("phase_count workers"),
        *_pointers("packed space"),
        *_integers("space_step tiles products"),
    ]


class WeightJob(ctypes.Structure):
    """``weight_job_t``"""

    _fields_ = [
        ("image", Source),
        ("gradient", Source),
        ("image_block", Block),
        ("gradient_block", Block),
        ("units", Units),
        *_integers("winograd"),
        ("tiling", Tiling),
        ("phase", Phase),
        *_integers("rows channels vectors workers"),
        *_pointers("space"),
        *_integers("space_step images gradients tiles products sums bias_sums"),
        *_pointers("out bias"),
        *_integers("add add_bias"),
        *_pointers("taken_part"),
    ]
