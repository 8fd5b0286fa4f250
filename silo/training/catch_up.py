"""Bringing a member that fell behind up to the others: who is ahead, who is believed, who sends.

A member that was restarted, or that missed the end of a round, asks for another position than the others. All
members see that in the roll call and decide alike: the model of the most advanced position counts if more
members than the assumed colluders signed its digest; the first of them sends it, end-to-end encrypted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from silo import members
from silo.agreement import Round
from silo.protocols import rollcall
from silo.protocols.errors import InconsistentSets, OutOfStep
from silo.protocols.rollcall import Present
from silo.session import Session
from silo.training.checkpoint import State
from silo.training.learner import Parameters

TAG = "train"
_SLACK = 1 << 16
_SAME = frozenset({"task", "algorithm"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Who sends the state of which digest to whom."""

    sender: str
    receivers: tuple[str, ...]
    digest: bytes
    position: int


def plan(round_: Round) -> Plan | None:
    """What one roll call asks for; None when all stand at the same place. Raises `OutOfStep`."""
    said = round_.presents
    strangers = [name for name, one in said.items() if one.tag.split("/")[0] != TAG]
    if strangers:
        raise OutOfStep(f"{', '.join(strangers)} is not in the same training as the others", strangers)
    _require_same_training(said)
    top = max(one.position for one in said.values())
    ahead = {name: one.state for name, one in said.items() if one.position == top}
    digest, votes = Counter(ahead.values()).most_common(1)[0]
    unlike = tuple(name for name, state in ahead.items() if state != digest)
    if unlike:
        raise OutOfStep(
            f"the members begin with unlike models ({', '.join(unlike)} against "
            f"{', '.join(sorted(set(ahead) - set(unlike)))}): set one seed before the model is built "
            "(torch.manual_seed), begin from zeros, or load the same file",
            unlike,
        )
    behind = tuple(name for name, one in said.items() if one.position != top)
    if not behind:
        return None
    if votes <= round_.charter.sum.colluders:
        raise OutOfStep(
            f"only {', '.join(ahead)} stands at step {top}: more than {round_.charter.sum.colluders} must, "
            "to be believed by those behind",
            tuple(ahead),
        )
    return Plan(min(ahead), behind, digest, top)


def _require_same_training(said: Mapping[str, Present]) -> None:
    """A model goes to nobody in another task or plan. Raises `UnlikeTerms`."""
    reduced = {
        name: Present(
            TAG, 0, tuple(term for term in one.terms if term.name in _SAME), b"", one.channel, "", ()
        )
        for name, one in said.items()
    }
    rollcall.compare(reduced)


def carry_out(session: Session, round_: Round, steps: Plan, state: State, *, like: Parameters) -> State:
    """Send or receive; returns the state to go on with."""
    if session.me == steps.sender:
        text = state.to_bytes()
        members.send(session, round_, dict.fromkeys(steps.receivers, text))
    if session.me not in steps.receivers:
        return state
    limit = sum(array.nbytes for array in like.values()) + _SLACK + 1024 * len(like)
    new = State.from_bytes(members.receive(session, round_, steps.sender, limit=limit), like=like)
    if (new.digest, new.position) != (steps.digest, steps.position):
        raise InconsistentSets(
            "the model that was sent is not the one that the members signed",
            culprits=(steps.sender,),
            round=round_.number,
        )
    return new
