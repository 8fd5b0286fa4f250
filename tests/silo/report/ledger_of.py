"""A ledger with everything an auditor can meet in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from silo.crypto import labels
from silo.crypto.rng import SystemRng
from silo.identity import Identity
from silo.privacy import events
from silo.privacy.budget import Budget
from silo.privacy.dataset import Description
from silo.privacy.errors import LedgerForked, PrivacyBudgetExceeded
from silo.privacy.head import Head, Witnessed
from silo.privacy.ledger import Ledger
from silo.privacy.verify import verify
from tests.silo.privacy.books_of import START, Clock

STEP = events.PoissonSampled(0.1, events.Gaussian(2.0))
DETAILS: Mapping[str, str] = {
    "mechanism": "DP-SGD",
    "sampling q": "0.1",
    "steps T": "20",
    "noise multiplier sigma": "2.0",
    "clip C": "1.0",
    "normaliser L": "30.0",
    "generator": "AES-128-CTR, seeded by the operating system",
    "observer": "whoever sees the model after every step",
}


def rich(folder: Path, word: str = "") -> Path:
    """Six data sets; `word` stands in every free text. Returns the file."""
    path = folder / "ledger.db"
    owner = Identity.create("mercy", folder / "mercy", passphrase=None, rng=SystemRng(), now=START)
    partner = Identity.create("northside", folder / "northside", passphrase=None, rng=SystemRng(), now=START)
    with Ledger.open(path, owner, now=Clock()) as book:
        clinic = book.add(
            "clinic",
            Budget(1.0, 1e-3),
            Description(unit="patient", about={f"{word}source": f"{word}the heart clinic"}),
        )
        model = f"{word}train a model of the heart"
        for chunk in (8, 8, 4):
            with clinic.reserve(STEP, chunk, purpose=model, details=DETAILS, plan="plan-a") as reserved:
                for _ in range(chunk):
                    reserved.token().use(STEP)
        clinic.commit(bytes(range(32)), purpose=model, plan="plan-a")
        stopped = clinic.reserve(STEP, 10, purpose=f"{word}stopped early", details=DETAILS, plan="plan-b")
        stopped.token().use(STEP)
        stopped.token().use(STEP)
        stopped.close()
        witnessed = book.substance
        signature = partner.signing.sign(labels.LEDGER_WITNESS, witnessed.head.witness_bytes("mercy"))
        line = Witnessed("mercy", "northside", witnessed, signature)
        book.witness([str(line)], {"northside": str(witnessed)})

        with pytest.raises(PrivacyBudgetExceeded):
            clinic.reserve(STEP, 500, purpose=f"{word}five hundred steps", details=DETAILS)
        ages = book.add("ages", Budget(1.1, 1e-3), Description("patient", 1, "clinic", "derived"))
        with ages.reserve(
            events.Laplace(8.0), purpose=f"{word}histogram of ages", details={f"{word}bins": f"{word}10"}
        ) as reserved:
            reserved.token().use(events.Laplace(8.0))

        ward = book.add("ward", Budget(2.0, 1e-5), Description("visit", 1, content=bytes(32)))
        skellam = events.Skellam(4.0e6, 400.0, 1600.0)
        ward.reserve(skellam, purpose=f"{word}noised sum", details={"clip (L2, per unit)": "1.0"})
        for name in ("east", "west"):
            part = book.add(name, Budget(2.0, 1e-5), Description("visit", 1, "ward", "part"))
            with part.reserve(events.Gaussian(8.0), purpose=f"{word}mean of {name}") as reserved:
                reserved.token().use(events.Gaussian(8.0))
        ward.release_unprotected(f"{word}number of rows", {f"{word}why": f"{word}agreed by telephone"})

        scans = book.add("scans", Budget(3.0, 1e-5), Description("patient"))
        for plan in ("scan-1", "scan-2"):
            sampled = events.PoissonSampled(0.01, events.Gaussian(1.0))
            with scans.reserve(sampled, 50, purpose=f"{word}train on scans", plan=plan) as reserved:
                for _ in range(50):
                    reserved.token().use(sampled)

        with pytest.raises(LedgerForked):
            book.check_continues(Head(book.books.ledger, 9999, bytes(32)), "northside")
        book.adjust(
            "clinic",
            events.EpsilonDelta(0.05, 1e-6),
            1,
            reason=f"{word}a table that was published in 2024",
            lift=True,
        )
    return path


def witness_of(path: Path) -> tuple[list[str], dict[str, bytes]]:
    """The partner's line as the partner keeps it, and the partner's card."""
    books = verify(path).books
    folder = path.parent
    card = Identity.load(folder / "northside", None).card
    return [str(one) for one in books.witnessed.values()], {"northside": card.key}
