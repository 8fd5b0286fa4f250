"""The outbox says how many bytes left; the relay counts how many came. They are equal, to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from silo.identity import Identity
from silo.outbox import LINK, Outbox
from silo.relay import Relay
from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, Site


def outbox(site: Site, name: str) -> Path:
    return site.keys(name) / "state" / "outbox.db"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("rounds=2", "size=300000"), id="in pieces"),
        pytest.param(("rounds=4", "gate=2:late"), id="with time to breathe", marks=pytest.mark.slow),
    ],
)
def test_the_bytes_of_the_outbox_are_those_of_the_wire(found: Found, words: tuple[str, ...]) -> None:
    site = found()
    late = site.home / "late"
    words = tuple(word.replace("late", str(late)) for word in words)
    identity = Identity.load(site.keys("relay"))
    with Relay(site.charter, identity, host="127.0.0.1", port=site.port, once=True) as relay:
        members = [site.join(name, *words) for name in MEMBERS]
        if len(words) == 2 and "gate" in words[1]:
            # Signs of life and acknowledgements are bytes too.
            for name in MEMBERS:
                with pytest.raises(AssertionError):
                    members[MEMBERS.index(name)].end(0.6)
            late.touch()
        for process in members:
            assert process.end() == 0, process.stderr
        counted = {name: relay.server.traffic.from_party[name] for name in MEMBERS}
    relay.raise_error()
    for name in MEMBERS:
        with Outbox.open_to_read(outbox(site, name)) as box:
            assert box.total_bytes() == counted[name], name
            *messages, link = list(box.rows())
            assert (link.kind, link.protection, link.recipient) == (LINK, "transport", "relay")
            assert 0 < link.size < 5000
            assert all(one.kind != LINK for one in messages)
            verified = box.verify(site.people[name].public)
            assert verified.unsealed == 0


def test_the_outbox_of_two_runs_and_of_a_failed_one_still_adds_up(found: Found) -> None:
    site = found()
    identity = Identity.load(site.keys("relay"))
    with Relay(site.charter, identity, host="127.0.0.1", port=site.port) as relay:
        runs = (("rounds=2",), ("rounds=2",), ("rounds=2", "raise=2", "text=no"))
        for number, words in enumerate(runs):
            members = [site.join(name, *words, f"home={site.home}/run{number}-{name}") for name in MEMBERS]
            for process in members:
                assert process.end() == (0 if number < 2 else 1), process.stderr
        counted = {name: relay.server.traffic.from_party[name] for name in MEMBERS}
    for name in MEMBERS:
        with Outbox.open_to_read(outbox(site, name)) as box:
            assert box.total_bytes() == counted[name], name
            assert sum(one.kind == LINK for one in box.rows()) == len(runs)


def test_the_audit_finds_it_where_the_operations_page_says(found: Found) -> None:
    site = found()
    site.relay()
    members = [site.join(name, "rounds=1") for name in MEMBERS]
    for process in members:
        assert process.end() == 0, process.stderr
    keys = site.keys(MEMBERS[0])
    card = keys / f"{MEMBERS[0]}.card.toml"
    audit = site.silo("audit", "audit", "outbox", str(keys), "--card", str(card), "--json")
    assert audit.end() == 0, audit.stderr
    with Outbox.open_to_read(outbox(site, MEMBERS[0])) as box:
        assert str(box.total_bytes()) in json.dumps(json.loads(audit.stdout))
    assert (keys / "state" / "journal.db").is_file()
