"""What the figures were measured on: processor, versions, and how much of the machine was free."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any, Final

_TELLING_FLAGS: Final = ("aes", "vaes", "avx2", "avx512f", "sha_ni", "sve2")
_LIBRARIES: Final = ("silo-privacy", "numpy", "cryptography")


def describe(*, watch: float = 0.5) -> dict[str, Any]:
    """Describe this machine; `watch` is for how many seconds its idle cores are counted.

    Names no host, user or path: a report is made to be shown.
    """
    return {
        "processor": _processor(),
        "instructions": [flag for flag in _TELLING_FLAGS if flag in _flags()],
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "free_cores": free_cores(watch),
        "load_average": load_average(),
        "memory_bytes": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "openssl": _openssl(),
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """Runnable processes over the last minute, or None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def free_cores(watch: float) -> float | None:
    """How many cores were idle for the next `watch` seconds, or None where the system does not say."""
    before = _jiffies()
    time.sleep(watch)
    after = _jiffies()
    if before is None or after is None or after[1] <= before[1]:
        return None
    idle = (after[0] - before[0]) / (after[1] - before[1])
    return round(idle * (os.cpu_count() or 1), 2)


def _jiffies() -> tuple[int, int] | None:
    """Idle and total processor time since the start, as Linux counts it."""
    try:
        with open("/proc/stat", encoding="ascii") as lines:
            fields = [int(field) for field in lines.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    return fields[3] + fields[4], sum(fields)


def _cpuinfo() -> dict[str, str]:
    """The first processor's entry; empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _flags() -> frozenset[str]:
    entry = _cpuinfo()
    return frozenset(f"{entry.get('flags', '')} {entry.get('features', '')}".split())


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _openssl() -> str:
    """The one that makes the keystreams; Python's own `ssl` may be another."""
    from cryptography.hazmat.backends.openssl import backend

    return str(backend.openssl_version_text())
