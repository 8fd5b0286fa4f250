"""A second look at what stands above the protocol: journal, caps, consent, catching up, pooled statistics."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import silo
from silo import joining, members, statistics, updates
from silo.agreement import Round
from silo.cli import cli
from silo.crypto.errors import ParameterError
from silo.crypto.masking import Plain
from silo.crypto.ring import FixedPoint, Ring
from silo.driver import Left
from silo.errors import CohortChanged, Expired, NotAllowed
from silo.protocols.errors import InconsistentSets, UnlikeTerms
from silo.protocols.rollcall import Present, Term
from silo.session import Session
from silo.simulation import simulate
from silo.training import catch_up, learner
from silo.training.checkpoint import State
from silo.training.linear import LogisticRegression
from silo.transport.memory import Hub
from tests.silo import federation

FOUR = ["ada", "bob", "cyd", "dan"]
LIKE = {"w": np.arange(3.0)}


def present(position: int, state: bytes, *terms: Term) -> Present:
    return Present(f"{catch_up.TAG}/sync", position, terms, state, b"c" * 32, "", ())


def rolled(tmp_path: Path, presents: dict[str, Present]) -> Round:
    people = federation.identities(tmp_path, *FOUR, "relay")
    return Round(federation.charter(people), b"s" * 32, 1, presents)


def outbox_of(session: Session) -> list[Left]:
    """Write down what leaves, as a joined session does."""
    kept: list[Left] = []

    def record(left: Left) -> None:
        kept.append(left)
        session.outbox.record(**{name: getattr(left, name) for name in Left.__slots__})

    session.seat.record = record
    return kept


@pytest.mark.parametrize(
    "lie", [State(LIKE, 7, 20), State(LIKE, 7, 0), State(LIKE, 3, 5)], ids=["ended", "begun", "place"]
)
def test_one_colluder_that_sends_the_model_does_not_choose_how_far_the_training_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: State
) -> None:
    true = State(LIKE, 7, 5)
    here = rolled(
        tmp_path,
        {
            "ada": present(7, true.digest),
            "bob": present(7, true.digest),
            "cyd": present(0, State(LIKE, 0, 0).digest),
        },
    )
    steps = catch_up.plan(here)
    assert steps is not None
    assert steps.sender == "ada"

    class Victim:
        me = "cyd"

    for state in (true, lie):
        raw = state.to_bytes()
        monkeypatch.setattr(members, "receive", lambda *_, raw=raw, **__: raw)
        victim: Any = Victim()
        if state is true:
            found = catch_up.carry_out(victim, here, steps, State(LIKE, 0, 0), like=LIKE)
            assert (found.position, found.round) == (7, 5)
        else:
            with pytest.raises(InconsistentSets):
                catch_up.carry_out(victim, here, steps, State(LIKE, 0, 0), like=LIKE)


def _archive(shape: tuple[int, ...], body: bytes, method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for key, dims, raw in (
            ("w", shape, body),
            ("silo:position", (), b"\0" * 8),
            ("silo:round", (), b"\0" * 8),
        ):
            head = io.BytesIO()
            kind = "<f8" if key == "w" else "<i8"
            np.lib.format.write_array_header_1_0(head, {"descr": kind, "fortran_order": False, "shape": dims})
            archive.writestr(f"{key}.npy", head.getvalue() + raw)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(lambda: _archive((1 << 23,), b"\0" * (8 << 23), zipfile.ZIP_DEFLATED), id="packed"),
        pytest.param(lambda: _archive((1 << 24,), b"", zipfile.ZIP_STORED), id="a large shape"),
        pytest.param(lambda: _archive((1 << 55,), b"", zipfile.ZIP_STORED), id="a huge shape"),
        pytest.param(lambda: _archive((3,), b"\0" * (8 << 20), zipfile.ZIP_DEFLATED), id="a long tail"),
    ],
)
def test_a_small_message_does_not_make_a_member_allocate_a_large_model(raw: Callable[[], bytes]) -> None:
    text = raw()
    tracemalloc.start()
    try:
        with pytest.raises(ParameterError):
            State.from_bytes(text, like=LIKE)
        assert tracemalloc.get_traced_memory()[1] < len(text) + (4 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", [4, 6])
def test_an_archive_of_a_strange_kind_ends_no_member_with_a_traceback(place: int) -> None:
    raw = bytearray(State(LIKE, 7, 5).to_bytes())
    for start in (raw.index(b"PK\x01\x02") + 2, raw.index(b"PK\x03\x04")):
        raw[start + place] = 0x61  # encrypted, or of version 9.7
    with pytest.raises(ParameterError, match="cannot be read"):
        State.from_bytes(bytes(raw), like=LIKE)


def test_a_member_of_another_task_is_sent_no_model(tmp_path: Path) -> None:
    here = rolled(
        tmp_path,
        {
            "ada": present(7, b"m" * 32, Term("task", "one")),
            "bob": present(7, b"m" * 32, Term("task", "one")),
            "cyd": present(0, b"", Term("task", "two")),
        },
    )
    with pytest.raises(UnlikeTerms, match="task"):
        catch_up.plan(here)


def test_an_expired_task_does_not_even_call_the_roll() -> None:
    def party(session: Session) -> int:
        now = session.charter.expires + timedelta(days=1)
        session._now = lambda: now
        left = outbox_of(session)
        with pytest.raises(Expired):
            silo.train(
                session, LogisticRegression(5), (np.ones((4, 5)), np.ones(4)), algorithm=silo.FedAvg(1)
            )
        return len(left)

    assert set(simulate(3, party).values()) == {0}


def test_a_member_that_stays_behind_does_not_draw_the_model_beyond_the_cap_on_bytes() -> None:
    """Catching up counts, also in the sessions in which no sum was taken."""
    cap = 100_000
    start = LogisticRegression(1000)

    def party(session: Session) -> int:
        if session.me == "party-3":
            said = (Term("task", session.task.name), *silo.FedAvg(1).terms())
            state = State(start.parameters(), 0, 0).digest
            for _ in range(30):
                try:
                    here = session.roll_call("train/sync", said, state)
                    members.receive(session, here, "party-1", limit=1 << 20)
                except silo.SiloError:
                    break
            return 0
        session.task = dataclasses.replace(session.task, bytes=cap)
        left = outbox_of(session)
        session.position = 4
        model, rows = LogisticRegression(1000), (np.ones((4, 1000)), np.ones(4))
        with pytest.raises(silo.SiloError):
            silo.train(session, model, rows, algorithm=silo.FedAvg(1))
        return sum(one.size for one in left)

    assert max(simulate(3, party).values()) <= cap + 5_000


def test_a_colluder_that_changes_the_unit_does_not_get_the_same_rows_into_another_cohort() -> None:
    """Two runs of the pooled mean, one without cyd: their difference is cyd's mean and number of rows."""
    rng = np.random.default_rng(1)
    tables = dict(zip(FOUR, (rng.uniform(0, 3, (size, 2)) for size in (30, 7, 11, 20)), strict=True))

    def party(session: Session, rows: Any) -> Any:
        silo.moments(session, rows)
        if session.me == "cyd":
            statistics._units(session, rows, rows, 1)
            return None
        if session.me == "dan":  # the colluder: a larger value in each column, and so another unit
            rows = np.vstack([rows, np.full((1, 2), 9.0)])
            with pytest.raises(silo.SiloError):
                silo.moments(session, rows)
            return None
        with pytest.raises(CohortChanged):
            silo.moments(session, rows)
        assert session.position == 5, "the second mean was released over another cohort"
        return None

    simulate(FOUR, party, tables, rows=100)


def test_the_same_values_with_the_other_zero_are_the_same_update(tmp_path: Path) -> None:
    mercy = federation.identity(tmp_path, "mercy")
    encoder = FixedPoint(Ring.of(32), 1.0, 3, 1.0)
    one, other = (
        updates.tag(mercy, b"c" * 32, Plain((np.array([0.5, zero]),), encoder)) for zero in (0.0, -0.0)
    )
    assert one == other


def test_an_update_is_not_summed_over_another_cohort_whose_others_bring_new_ones() -> None:
    """The veto of one member does not stop a quorum: so its update must not leave at all."""

    def party(session: Session) -> Any:
        left = outbox_of(session)
        own = np.arange(3) + 10 * ord(session.me)
        session.sum(own)
        if session.me == "g":
            return None
        del left[:]
        if session.me == "a":
            with pytest.raises(CohortChanged):
                session.sum(own)
            assert "Upload" not in {one.kind for one in left}
            return None
        session.sum(own + 1)
        return session.last.survivors if session.last else ()

    found = simulate(list("abcdefg"), party)
    assert {name: found[name] for name in "bcdef"} == dict.fromkeys("bcdef", tuple("bcdef"))


def test_a_task_that_names_a_model_trains_no_other() -> None:
    agreed = LogisticRegression(5)
    agreed.load({"weight": np.ones(5), "bias": np.zeros(1)})

    def party(session: Session) -> None:
        digest = f"sha256:{learner.digest(agreed.parameters()).hex()}"
        session.task = dataclasses.replace(session.task, model=digest)
        left = outbox_of(session)
        rows = (np.ones((4, 5)), np.ones(4))
        with pytest.raises(NotAllowed, match="another model"):
            silo.train(session, LogisticRegression(5), rows, algorithm=silo.FedAvg(1))
        assert not left
        own = LogisticRegression(5)
        own.load(agreed.parameters())
        silo.train(session, own, rows, algorithm=silo.FedAvg(1))

    simulate(3, party)


def test_a_script_that_changed_while_the_relay_was_dialled_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = federation.identities(tmp_path)
    script, mark = tmp_path / "party.py", tmp_path / "ran"
    script.write_text("def run(session):\n    return 'agreed'\n")
    task = federation.task(script=f"sha256:{hashlib.sha256(script.read_bytes()).hexdigest()}")
    federation.signed(federation.charter(people, tasks=[task]), people).save(tmp_path / "charter.toml")

    def dial(*_: Any) -> Any:
        # The relay lets the member wait for as long as it likes; the file changes meanwhile.
        script.write_text(f"def run(session):\n    open({str(mark)!r}, 'w').close()\n")
        return Hub().endpoint("mercy")

    monkeypatch.setattr(joining, "_dial", dial)
    keys = str(people["mercy"].directory)
    done = CliRunner().invoke(
        cli, ["join", str(script), "--charter", str(tmp_path / "charter.toml"), "--identity", keys, "--quiet"]
    )
    assert not mark.exists()
    assert done.exit_code == 2 or "agreed" in done.output
