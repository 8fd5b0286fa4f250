"""A hospital trains twice and publishes a count; an auditor then recomputes what it cost, from one exported file.

Run `python examples/audit_a_budget.py` (needs torch, Opacus and dp-accounting: `pip install '.[dp]'`).
The same with commands: `silo ledger export`, `silo ledger verify`, `silo ledger report`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from torch import nn

import silo
from silo.privacy import export
from silo.privacy.errors import LedgerForked
from silo.privacy.verify import recompute, verify


def hospital(folder: Path) -> Path:
    """Open a budget, train twice, be refused a third time, publish a count without noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(500, 4)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int64)
    privacy = silo.DPSGD(sampling=0.1, steps=30, clip=1.0, lot=50.0, noise_multiplier=1.7)
    with silo.Ledger.open(folder / "ledger.db") as ledger:
        account = ledger.add("admissions", silo.Budget(epsilon=3.0, delta=1e-5))
        for attempt in (1, 2, 3):
            try:
                fitted = silo.fit_private(nn.Linear(4, 2), (x, y), privacy=privacy, ledger=ledger)
                print(f"training {attempt}: epsilon {fitted.epsilon:.3f}, {fitted.total_epsilon:.3f} in all")
            except silo.PrivacyBudgetExceeded as refusal:
                print(f"training {attempt}: {refusal}")
        account.release_unprotected("the number of patients, in the annual report")
    return folder / "ledger.db"


def auditor(ledger: Path, folder: Path) -> None:
    """Nothing but the exported file, and a line that the auditor kept from an earlier visit."""
    file = folder / "for-the-auditor.jsonl"
    count = export.write(export.read(ledger), file)
    found = verify(file)
    print(f"the auditor reads {count} records, and they hold together")
    for one in recompute(found.books):
        print(
            f"{one.dataset}: epsilon by PLD {one.pld:.3f}, RDP {one.rdp:.3f}, PRV {one.prv:.3f}; "
            f"budget {one.limit:g} at delta {one.delta:g}; {one.unprotected} release without noise"
        )
    kept = str(found.sealed)
    shorter = folder / "rolled-back.jsonl"
    shorter.write_text("".join(file.read_text().splitlines(keepends=True)[:-3]))
    print(f"a ledger cut at its end still holds together: {verify(shorter).records} records")
    try:
        verify(shorter, witnesses=[kept])
    except LedgerForked as found_out:
        print(f"with the kept line it does not: {str(found_out).split(':')[0].split('.jsonl ')[1]}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        auditor(hospital(folder), folder)


if __name__ == "__main__":
    main()
