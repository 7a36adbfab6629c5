"""An H100 as the library describes one, so that it looks for plans where there is no GPU.

The figures are those that NVIDIA publishes for the SXM card. Nothing is run, and nothing here says
how fast a plan is.
"""

from __future__ import annotations

import json


def described(cudnn):
    """Properties of the device, for ``cudnn.pygraph(device_property=...)``."""
    return cudnn.create_device_properties(json.dumps({**FIGURES, "cudnnVersion": _version(cudnn)}))


def _version(cudnn):
    return cudnn.backend_version()


FIGURES = {
    "version": 1,
    "deviceName": "H100",
    "deviceVer": 900,
    "driverVer": 13000,
    "cudaDeviceId": 0,
    "pciDeviceId": 0x2330,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "multiProcessorCount": 132,
    "smCountOrigin": 0,
    "smClockRateKHz": 1_980_000,
    "memClockRateKHz": 2_619_000,
    "l2CacheSize": 50 << 20,
    "totalGlobalMem": 80 << 30,
    "warpSize": 32,
    "maxGridSize": [2**31 - 1, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "maxCtasPerSM": 32,
    "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536,
    "maxSharedMemoryPerBlock": 48 << 10,
    "maxSharedMemoryPerBlockOptin": 227 << 10,
    "reservedSharedMemoryPerBlock": 1 << 10,
}
