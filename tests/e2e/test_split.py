"""A split network among real processes: killed in the midst of an epoch it goes on, and what was spent stays spent."""

from __future__ import annotations

import signal

import pytest

from silo.charter import TWO_PARTY_WORDS, Privacy, Vertical
from silo.privacy import events
from silo.privacy.verify import verify
from silo.protocols.vertical.context import MODELS
from tests.e2e.conftest import Found
from tests.e2e.site import SCRIPTS, Site

pytest.importorskip("opacus")

NAMES = ("ash", "birch")
LABEL = events.dumps(events.Gaussian(8.0))
ROWS = events.dumps(events.Composed((events.Gaussian(4.0), events.Gaussian(4.0))))
SCORING = events.dumps(events.Gaussian(4.0))


def spent(site: Site, name: str) -> dict[str, int]:
    """What the ledger holds, recomputed from its records."""
    books = verify(site.keys(name) / "state" / "ledger.db").books
    return {event: count for event, count in books.datasets["rows"].events.items() if count}


@pytest.mark.slow
def test_a_killed_fit_goes_on_and_what_it_spent_stays_spent(found: Found) -> None:
    site = found(
        names=NAMES,
        script=SCRIPTS / "split_party.py",
        terms={"two_party": TWO_PARTY_WORDS},
        privacy=[Privacy(name, "rows", 30.0, 1e-5) for name in NAMES],
        vertical=Vertical(MODELS, label="ash", passes=10),
    )
    relay = site.relay()
    # Four batches an epoch: the sixth is in the second epoch.
    victim, other = site.join("ash", "kill=6"), site.join("birch")
    assert victim.end() == -signal.SIGKILL, victim.stderr
    assert other.end() not in (0, -signal.SIGKILL)
    assert "ash" in other.stderr
    before = spent(site, "ash")
    assert before == {LABEL: 2}
    assert spent(site, "birch") == {ROWS: 2}
    relay.kill()

    site.relay()
    members = [site.join(name) for name in NAMES]
    for process in members:
        assert process.end() == 0, process.stderr
    assert "'epochs': [1, 2, 3]" in members[0].stdout
    # The second epoch was paid for twice; scoring showed activations once more.
    assert spent(site, "ash") == {LABEL: 2 + 3}
    assert spent(site, "birch") == {ROWS: 2 + 3, SCORING: 1}
