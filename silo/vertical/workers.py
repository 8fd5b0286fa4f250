"""Long work of one party in processes of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from silo.protocols.vertical.boosting.ciphers import Work


def work(threads: int) -> Work:
    """Long work in processes of this party: the interpreter lock keeps threads from multiplying at once."""
    if threads < 2:
        return Work()
    from sklearn.utils.parallel import Parallel, delayed

    def run(job: Any, items: Iterable[Any]) -> list[bytes]:
        listed = list(items)
        if len(listed) < 2:
            return [job(item) for item in listed]
        found: list[bytes] = Parallel(n_jobs=threads)(delayed(job)(item) for item in listed)
        return found

    return Work(threads, run)
