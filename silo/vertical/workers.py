"""Long work of one party in processes of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from silo.protocols.vertical.work import Work

_WORTH_PROCESSES: Final = 20_000
"""Rows below which starting processes takes longer than what they save."""


def work(threads: int, rows: int) -> Work:
    """Long work in processes of this party: the interpreter lock keeps threads from multiplying at once."""
    if threads < 2 or rows < _WORTH_PROCESSES:
        return Work()
    from sklearn.utils.parallel import Parallel, delayed

    def run(job: Any, items: Iterable[Any]) -> list[bytes]:
        listed = list(items)
        if len(listed) < 2:
            return [job(item) for item in listed]
        found: list[bytes] = Parallel(n_jobs=threads)(delayed(job)(item) for item in listed)
        return found

    return Work(threads, run)
