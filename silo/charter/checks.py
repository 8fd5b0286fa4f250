"""What makes a charter sound: each check is one sentence with its figures.

They run whenever a charter comes into being, written or read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from silo.card import check_name
from silo.charter.sums import SUMS
from silo.charter.terms import EVERY_MEMBER, NOISED, PRIVACY_BITS, TWO_PARTY_WORDS
from silo.crypto.ring import FixedPoint, Ring
from silo.errors import CharterError, Expired, ParameterError
from silo.privacy.budget import Budget
from silo.privacy.dataset import Description
from silo.protocols.he_sum.parameters import require_room
from silo.protocols.psi.context import MOST_MEMBERS, MOST_ROWS, REVEALS
from silo.protocols.secagg import graph_plan
from silo.protocols.split.terms import MOST_WIDTH
from silo.protocols.vertical import context as vertical

if TYPE_CHECKING:
    from silo.charter.model import Charter

MAX_MEMBERS: Final = 1024
MAX_TASKS: Final = 256
MAX_ROUNDS: Final = 10**9
MAX_BYTES: Final = 2**60
MAX_SECONDS: Final = 30 * 86400.0
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TITLE: Final = re.compile(r"[\w .,:()/+-]{1,100}")


def check_form(charter: Charter) -> None:
    """Names, addresses, doubles, caps and times. Raises `CharterError`."""
    _require(
        bool(_TITLE.fullmatch(charter.name)),
        "the charter's name is 1 to 100 letters, digits, spaces or . , : ( ) / + -",
    )
    _check_people(charter)
    _check_url(charter.relay.url)
    time = charter.time
    for what, seconds in (("reconnect", time.reconnect), ("silence", time.silence), ("work", time.work)):
        _require(
            0 < seconds <= MAX_SECONDS,
            f"time.{what} is {seconds} seconds: it is more than 0 and at most {MAX_SECONDS:.0f}",
        )
    for moment in (charter.created, charter.expires, *(task.expires for task in charter.tasks)):
        _require(moment.tzinfo is not None, "a date has no time zone: write it as 2027-01-31T12:00:00Z")
    _require(
        charter.created < charter.expires, "the charter expires before it was created: correct the dates"
    )
    _check_receivers(charter)
    _check_tasks(charter)
    _check_privacy(charter)
    _check_intersection(charter)
    _check_vertical(charter)


def _check_people(charter: Charter) -> None:
    names = charter.names
    _require(2 <= len(names) <= MAX_MEMBERS, f"{len(names)} members: a charter has 2 to {MAX_MEMBERS}")
    parties = (*charter.members, charter.relay.card)
    _refuse_doubles("name", (card.name for card in parties))
    _refuse_doubles("signing key", (card.key.hex()[:16] for card in parties))
    _refuse_doubles("certificate", (card.certificate_fingerprint[:23] for card in parties))
    _refuse_doubles("signature of", charter.signed_by)
    for one in charter.signatures:
        _require(one.member in names, f"a signature is of {one.member[:40]!r}, who is not a member")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = (
            parts.scheme == "wss"
            and bool(parts.hostname)
            and parts.port is not None
            and parts.username is None
            and not (parts.query or parts.fragment)
            and re.fullmatch(r"[!-~]{1,300}", url)
        )
    except ValueError:
        sound = False
    _require(bool(sound), f"the relay's url {url[:80]!r} is not of the form wss://host:port")


def _check_receivers(charter: Charter) -> None:
    _require(len(charter.receivers) > 0, 'results.receivers is empty: name members, or "*" for all')
    _refuse_doubles("receiver", charter.receivers)
    if EVERY_MEMBER in charter.receivers:
        _require(len(charter.receivers) == 1, 'results.receivers has "*" and names: keep one or the other')
        return
    for name in charter.receivers:
        _require(name in charter.names, f"results.receivers names {name[:40]!r}, who is not a member")


def _check_tasks(charter: Charter) -> None:
    count = len(charter.tasks)
    _require(1 <= count <= MAX_TASKS, f"{count} tasks: a charter lists 1 to {MAX_TASKS}")
    _refuse_doubles("task", (task.name for task in charter.tasks))
    for task in charter.tasks:
        try:
            check_name(task.name)
        except ParameterError as problem:
            raise CharterError(f"a task: {problem}") from None
        for what, cap, most in (
            ("rounds", task.rounds, MAX_ROUNDS),
            ("rows", task.rows, MAX_ROUNDS),
            ("bytes", task.bytes, MAX_BYTES),
        ):
            _require(0 < cap <= most, f"task {task.name}: {what} = {cap}, and a cap is from 1 to {most}")
        for what, digest in (("script", task.script), ("model", task.model)):
            _require(
                not digest or bool(_DIGEST.fullmatch(digest)),
                f'task {task.name}: {what} is not "sha256:" and 64 hexadecimal digits',
            )


def _check_privacy(charter: Charter) -> None:
    _refuse_doubles("privacy policy of", (one.member for one in charter.privacy))
    for one in charter.privacy:
        _require(
            one.member in charter.names, f"a privacy policy is of {one.member[:40]!r}, who is not a member"
        )
        try:
            check_name(one.dataset)
            Budget(one.epsilon, one.delta)
            Description(unit=one.unit)
        except ParameterError as problem:
            raise CharterError(f"the privacy policy of {one.member}: {problem}") from None
        _require(one.without_noise in ("refuse", "record"), 'privacy.without_noise is "refuse" or "record"')


def _check_intersection(charter: Charter) -> None:
    one, n = charter.intersection, len(charter.members)
    if one is None:
        return
    _refuse_doubles("word in intersection.reveal", one.reveal)
    _require(
        bool(one.reveal) and set(one.reveal) <= set(REVEALS),
        f"intersection.reveal names what is allowed of {', '.join(REVEALS)}",
    )
    _require(
        n <= MOST_MEMBERS,
        f"{n} members: an intersection is among {MOST_MEMBERS} at most, leave [intersection] out",
    )
    for what, value, most in (("rows", one.rows, MOST_ROWS), ("queries", one.queries, MAX_ROUNDS)):
        _require(0 < value <= most, f"intersection.{what} = {value}: it is from 1 to {most}")
    _require(
        0 < one.minimum <= one.rows,
        f"intersection.minimum = {one.minimum}: from 1 to intersection.rows = {one.rows}",
    )


def _check_vertical(charter: Charter) -> None:
    one, n = charter.vertical, len(charter.members)
    if one is None:
        return
    _refuse_doubles("word in vertical.models", one.models)
    _require(
        bool(one.models) and set(one.models) <= set(vertical.MODELS),
        f"vertical.models names what is allowed of {', '.join(vertical.MODELS)}",
    )
    _refuse_doubles("word in vertical.noised", one.noised)
    _require(
        set(one.noised) <= set(NOISED),
        f"vertical.noised names directions of split learning that have noise: of {', '.join(NOISED)}",
    )
    _require(
        n <= vertical.MOST_MEMBERS,
        f"{n} members: a vertical model is among {vertical.MOST_MEMBERS} at most, leave [vertical] out",
    )
    _require(
        one.label == EVERY_MEMBER or one.label in charter.names,
        f'vertical.label is {one.label[:40]!r}: it is a member, or "*" where anybody may bring labels',
    )
    for what, value, most in (
        ("rows", one.rows, vertical.MOST_ROWS),
        ("passes", one.passes, MAX_ROUNDS),
        ("trees", one.trees, MAX_ROUNDS),
        ("fits", one.fits, MAX_ROUNDS),
        *([] if one.scorings is None else [("scorings", one.scorings, MAX_ROUNDS)]),
    ):
        _require(0 < value <= most, f"vertical.{what} = {value}: it is from 1 to {most}")
    if one.classes is not None:
        _require(
            2 <= one.classes <= MOST_WIDTH,
            f"vertical.classes = {one.classes}: labels have from 2 to {MOST_WIDTH} classes",
        )
        _require(
            vertical.SPLIT in one.models,
            f"vertical.classes is for split networks, and the charter allows {', '.join(one.models)}: leave it out",
        )


def check_sum(charter: Charter) -> None:
    """Who must be present, who may collude, and room against overflow. Raises `CharterError`."""
    terms, n = charter.sum, len(charter.members)
    kind = SUMS.get(terms.protocol)
    if kind is None:
        raise CharterError(
            f"sum.protocol {terms.protocol[:40]!r} is unknown: this version has {', '.join(SUMS)}"
        )
    _require(
        kind.blinded is not None or not terms.blinded,
        f"{terms.protocol} has no blinded form: set blinded = false",
    )
    _require(terms.overflow in ("refuse", "saturate"), 'sum.overflow is "refuse" or "saturate"')
    _require(terms.changed_cohort in ("refuse", "allow"), 'sum.changed_cohort is "refuse" or "allow"')
    _require(
        terms.bits in kind.bits,
        f"sum.bits = {terms.bits}: choose one of {', '.join(map(str, kind.bits))} for {terms.protocol}",
    )
    _check_holder(charter, kind.holder)
    if terms.protocol != "masking":
        try:
            require_room(terms.protocol, n, terms.bits)
        except ParameterError as problem:
            raise CharterError(f"sum: {problem}") from None
    _require(math.isfinite(terms.clip) and terms.clip > 0, f"sum.clip = {terms.clip}: it is a number above 0")
    if n == 2:
        _require(
            terms.two_party == TWO_PARTY_WORDS,
            f'2 members are below 3: if that is agreed, set two_party = "{TWO_PARTY_WORDS}" '
            "(`silo charter new --two-party` with these words)",
        )
    else:
        _require(terms.two_party == "", f"sum.two_party is for two members and there are {n}: remove it")
    if terms.degree:
        _check_graph(n, terms.degree, terms.threshold, terms.blinded, kind.graphs)
        _check_plan(charter)
        quorum = (n + terms.colluders) // 2 + 1
    else:
        _require(
            2 <= terms.threshold <= n and 2 * terms.threshold > n + terms.colluders,
            f"threshold = {terms.threshold} with n = {n} members and c = {terms.colluders} colluders: "
            f"it must be at most n with 2t > n + c; the usual one is {min(n, 2 * n // 3 + 1)}",
        )
        quorum = terms.threshold
    _require(
        0 <= terms.colluders <= max(n - 2, 0),
        f"colluders = {terms.colluders} of {n}: at most {max(n - 2, 0)}, or nothing is left to hide among",
    )
    fewest = max(quorum, terms.colluders + 2)
    _require(
        fewest <= terms.minimum_cohort <= n,
        f"minimum_cohort = {terms.minimum_cohort}: from {fewest} (threshold, and two inputs beside the "
        f"{terms.colluders} colluders) to {n}",
    )
    _check_headroom(charter)


def _check_holder(charter: Charter, needed: bool) -> None:
    terms = charter.sum
    if not needed:
        _require(
            not (terms.key_holder or terms.key),
            f"sum.key_holder and sum.key are for paillier and ckks, and the sum is {terms.protocol}: remove them",
        )
        return
    _require(
        terms.key_holder != charter.relay.name,
        f"the relay {charter.relay.name} would hold the key to what it collects: choose a member as key holder",
    )
    _require(
        terms.key_holder in charter.names,
        f"sum.key_holder is {terms.key_holder[:40]!r}: {terms.protocol} needs a member that holds the key "
        "(`silo charter key` makes one, `silo charter new --sum-key` names it)",
    )
    _require(
        charter.receives(terms.key_holder),
        f"{terms.key_holder} holds the key and sees every sum: name it under [results] too",
    )
    _require(
        bool(_DIGEST.fullmatch(terms.key)),
        'sum.key is the fingerprint of the holder\'s key, "sha256:" and 64 hexadecimal digits',
    )


def _check_graph(n: int, degree: int, threshold: int, blinded: bool, graphs: bool) -> None:
    _require(graphs, 'sum.graph: this protocol knows only "complete"')
    _require(not blinded, 'a blinded sum needs graph = "complete": all members share its key')
    _require(
        degree % 2 == 0 and 2 <= degree < n,
        f'sum.graph = {degree}: "complete", or an even degree from 2 to {n - 1}',
    )
    _require(
        2 <= threshold <= degree, f"threshold = {threshold} does not fit graph = {degree}: from 2 to {degree}"
    )


def _check_plan(charter: Charter) -> None:
    """Every round draws a graph; all draws together keep 2^-40 against the colluders."""
    terms, n = charter.sum, len(charter.members)
    draws = max(task.rounds for task in charter.tasks)
    try:
        graph_plan.check(
            n, terms.degree, terms.threshold, Fraction(terms.colluders, n), Fraction(0), draws=draws
        ).require(privacy_bits=PRIVACY_BITS, failure_bits=0)
    except ParameterError as problem:
        raise CharterError(f"the mask graph is too weak for {draws} rounds: {problem}") from None


def _check_headroom(charter: Charter) -> None:
    terms, n = charter.sum, len(charter.members)
    rows = max(task.rows for task in charter.tasks)
    try:
        encoding = FixedPoint(Ring.of(terms.bits), terms.clip, n, max_weight=float(rows))
        steps = encoding.scale * terms.clip
    except (ParameterError, OverflowError):
        steps = 0.0
    _require(
        steps >= 1,
        f"bits = {terms.bits} is too small for {n} members with {rows} rows each: one row of {terms.clip:g} "
        f"would be {steps:.2g} steps of the encoding; take more bits or fewer rows",
    )


def check_dates(charter: Charter, now: datetime) -> None:
    """Raise `Expired` when the charter or a certificate is past its date at `now`."""
    if now >= charter.expires:
        raise Expired(f"the charter {charter.name!r}", charter.expires, "have a new one made and signed")
    for card in (*charter.members, charter.relay.card):
        card.check_valid(now)


def _refuse_doubles(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        _require(
            value not in seen,
            f"the {what} {value[:40]} is there twice: members, relay and tasks are distinct",
        )
        seen.add(value)


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise CharterError(sentence)
