"""The checks that need no network: versions, extras, processor, disk, and the files of the federation."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sqlite3
import ssl
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from silo import database
from silo.charter import Charter
from silo.charter.show import warnings
from silo.doctor import Finding
from silo.errors import SiloError
from silo.identity import Identity

EXTRAS = {
    "demo": ["sklearn"],
    "torch": ["torch"],
    "audit": ["dp_accounting", "scipy"],
    "dp": ["torch", "opacus", "dp_accounting", "scipy"],
    "he": ["gmpy2", "tenseal"],
    "vertical": ["rbcl", "sklearn", "narwhals"],
    "report": ["matplotlib", "jinja2"],
    "bench": ["flwr"],
}
_LITTLE = 10**9
_TOO_LITTLE = 10**8
_SLOW_FLUSH = 0.5


def check_version() -> Finding:
    """Python, OpenSSL and the libraries that the sum rests on."""
    found = [f"Silo {_version('silo-privacy')}", f"Python {platform.python_version()}", ssl.OPENSSL_VERSION]
    found += [f"{name} {_version(name)}" for name in ("cryptography", "websockets", "numpy")]
    text = ", ".join(found)
    if not ssl.HAS_TLSv1_3:
        return Finding(
            "version", "failed", text, "this Python has no TLS 1.3: install one with OpenSSL 1.1.1 or newer"
        )
    if int(_version("cryptography").split(".")[0]) < 50:
        return Finding(
            "version", "failed", text, "run `pip install --upgrade cryptography`: 50 or newer is needed"
        )
    return Finding("version", "ok", text)


def check_extras() -> Finding:
    """Which optional parts are there; none of them is needed to take part in a sum."""
    there = {
        extra: all(importlib.util.find_spec(module) is not None for module in modules)
        for extra, modules in EXTRAS.items()
    }
    found = ", ".join(
        f"{extra} {'installed' if state else 'not installed'}" for extra, state in there.items()
    )
    return Finding("extras", "ok", found)


def check_processor() -> Finding:
    """AES instructions: without them masks are some ten times slower, and not otherwise different."""
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Finding("processor", "ok", f"{cores}; AES instructions cannot be asked on {sys.platform}")
    flags = {
        flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()
    }
    if "aes" in flags:
        return Finding("processor", "ok", f"{cores}, with AES instructions")
    advice = "masking will be slow: use a machine, or a virtual processor type, with AES instructions"
    return Finding("processor", "warning", f"{cores}, without AES instructions", advice)


def check_disk(directory: Path) -> Finding:
    """Space, and whether a flushed SQLite write works here: the journal depends on it."""
    try:
        free = shutil.disk_usage(directory).free
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=".silo-doctor-", dir=directory) as scratch:
            connection = database.connect(
                Path(scratch) / "try.db", "CREATE TABLE IF NOT EXISTS t (x)", "FULL"
            )
            with database.writing(connection):
                connection.execute("INSERT INTO t VALUES (1)")
            connection.close()
        took = time.perf_counter() - started
    except (OSError, sqlite3.Error) as problem:
        advice = "use a local disk that this user may write, not a network share"
        return Finding(
            "disk", "failed", f"{directory} cannot hold the journal ({type(problem).__name__})", advice
        )
    found = f"{directory}: {free / 1e9:.1f} GB free, flushed writes work ({took * 1000:.0f} ms)"
    if free < _TOO_LITTLE:
        return Finding("disk", "failed", found, "free some space: the journal must never fail in a round")
    if free < _LITTLE:
        return Finding("disk", "warning", found, "less than 1 GB is left: free some space")
    if took > _SLOW_FLUSH:
        return Finding("disk", "warning", found, "flushing is slow: use a local disk")
    return Finding("disk", "ok", found)


def check_clock(charter: Charter, now: datetime) -> Finding:
    """This clock against the charter's and the certificates' dates."""
    if now < charter.created:
        return Finding(
            "clock",
            "failed",
            f"this computer says {now:%Y-%m-%d %H:%M} UTC, before the charter was made "
            f"({charter.created:%Y-%m-%d %H:%M})",
            "set the clock, for example with `timedatectl set-ntp true`",
        )
    try:
        charter.check_dates(now)
    except SiloError as problem:
        return Finding("clock", "failed", str(problem), "if the date above is not today's, set the clock")
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC, within all dates of the charter")


def check_charter(charter: Charter, now: datetime) -> Finding:
    """Whether everybody signed, and what ends soon."""
    if charter.unsigned:
        return Finding(
            "charter",
            "failed",
            f"not signed by {', '.join(charter.unsigned)}",
            f"there, run `silo charter sign {charter.path} --identity keys/NAME`",
        )
    soon = warnings(charter, now)
    if soon:
        return Finding("charter", "warning", "; ".join(soon), "plan a new charter")
    return Finding("charter", "ok", f"{charter.name}, signed by all {len(charter.members)} members")


def check_identity(identity: Identity, charter: Charter | None) -> Finding:
    """Whether the charter knows this identity."""
    if charter is not None:
        try:
            charter.recognise(identity)
        except SiloError as problem:
            return Finding("identity", "failed", str(problem), "send your card to the coordinator again")
    return Finding("identity", "ok", f"{identity.name}, {identity.card.fingerprint}")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "0 (not installed)"
