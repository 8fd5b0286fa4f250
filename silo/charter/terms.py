"""The parts of a charter as frozen values; `checks` looks at them when they come together."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, Literal

from silo.card import Card
from silo.errors import Expired, NotAllowed, ParameterError
from silo.protocols.secagg import graph_plan

TWO_PARTY_WORDS: Final = "with two members each learns the other's input"
EVERY_MEMBER: Final = "*"
NOISED: Final = ("gradients", "activations")
PRIVACY_BITS: Final = 40
_DRAWS: Final = 1000

Digest = bytes | str
Overflow = Literal["refuse", "saturate"]
ChangedCohort = Literal["refuse", "allow"]
WithoutNoise = Literal["refuse", "record"]


@dataclass(frozen=True, slots=True)
class Relay:
    """The process that every member dials: its card, and its address wss://host:port.

    `allow_interception` lets a member behind a TLS-inspecting proxy accept the certificate authorities of
    its system instead of the pin.
    """

    card: Card
    url: str
    allow_interception: bool = False

    @property
    def name(self) -> str:
        return self.card.name


@dataclass(frozen=True, slots=True)
class Intersection:
    """What members may ask of each other's identifiers.

    `reveal` names what is allowed of "rows", "size" and "sum"; no list has more than `rows` entries; each member
    answers `queries` intersections under this charter in all, and one with fewer than `minimum` rows in common is not
    released.
    Whoever asks can enter guessed identifiers: queries times rows is how many can be tested.
    """

    reveal: tuple[str, ...] = ("rows", "size")
    rows: int = 1_000_000
    queries: int = 10
    minimum: int = 1


@dataclass(frozen=True, slots=True)
class Vertical:
    """Which models members may fit together over their columns of the same rows.

    `models` names what is allowed of "linear", "boosting" and "split"; `label` is who may bring labels ("*": anybody).
    No table has more than `rows` rows; a linear model has at most `passes` passes (and fewer than the hidden columns),
    a split network as many epochs, boosting at most `trees` trees; each member takes part in `fits` fits under this
    charter in all, as what they show adds up, and in `scorings` scorings of models, each of at most `rows` rows; None,
    as in a file without that word, does not cap them. `noised` are the directions of split learning that leave with
    differential privacy only: "gradients" (they tell labels) and "activations" (they tell rows). To leave a word out
    switches that off. `classes` is the most that labels of a split network have, so that a host's watch knows in how
    many directions gradients may point; None is whatever the label party declares.
    """

    models: tuple[str, ...] = ("linear", "boosting")
    label: str = EVERY_MEMBER
    rows: int = 1_000_000
    passes: int = 20
    trees: int = 500
    fits: int = 10
    noised: tuple[str, ...] = NOISED
    scorings: int | None = None
    classes: int | None = None

    def words(self) -> dict[str, Any]:
        """Every word that is said. One that older charters do not know is no part of their digest."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SumTerms:
    """The protocol of the sum and its figures; the meaning of each stands in docs/operations.md."""

    protocol: str
    blinded: bool
    graph: int | Literal["complete"]
    bits: int
    clip: float
    overflow: Overflow
    minimum_cohort: int
    threshold: int
    colluders: int
    changed_cohort: ChangedCohort
    two_party: str
    key_holder: str = ""
    """The member that alone can decrypt a sum under paillier or ckks."""
    key: str = ""
    """`sha256:` and 64 hex digits: the fingerprint of the holder's public key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "clip", float(self.clip))

    @classmethod
    def for_members(
        cls,
        count: int,
        *,
        protocol: str = "masking",
        blinded: bool = False,
        graph: int | Literal["complete"] = "complete",
        bits: int = 32,
        clip: float = 1.0,
        overflow: Overflow = "refuse",
        minimum_cohort: int | None = None,
        threshold: int | None = None,
        colluders: int | None = None,
        changed_cohort: ChangedCohort = "refuse",
        two_party: str = "",
        key_holder: str = "",
        key: str = "",
    ) -> SumTerms:
        """Fill in what is not given: t = floor(2n/3) + 1, at most n; one colluder (none of two); cohort = t.

        On a graph of degree k the threshold counts neighbours: the least that keeps 2^-40 against `colluders`
        for 1,000 draws of the graph (k/3 rounded up, at least 2, where nothing does). The cohort is then
        floor(2n/3) + 1 all the same.
        """
        quorum = min(count, 2 * count // 3 + 1)
        if colluders is None:
            colluders = 1 if count > 2 else 0
        if threshold is None:
            threshold = quorum if graph == "complete" else _graph_threshold(count, graph, colluders)
        if minimum_cohort is None:
            minimum_cohort = max(quorum, threshold) if graph == "complete" else quorum
        return cls(
            protocol,
            blinded,
            graph,
            bits,
            float(clip),
            overflow,
            minimum_cohort,
            threshold,
            colluders,
            changed_cohort,
            two_party,
            key_holder,
            key,
        )

    @property
    def degree(self) -> int:
        """The degree of the mask graph; 0 stands for the complete one."""
        return 0 if self.graph == "complete" else self.graph


def _graph_threshold(count: int, degree: int, colluders: int) -> int:
    for threshold in range(2, degree + 1):
        try:
            found = graph_plan.check(
                count, degree, threshold, Fraction(colluders, count), Fraction(0), draws=_DRAWS
            )
        except ParameterError:
            break  # the charter's own check says what is wrong with such a graph
        if found.privacy_bits >= PRIVACY_BITS:
            return threshold
    return max(2, -(-degree // 3))


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: until a lost link counts as gone, without any progress, and for local work between sums."""

    reconnect: float = 15.0
    silence: float = 30.0
    work: float = 3600.0

    def __post_init__(self) -> None:
        # 10 and 10.0 are the same time, and must not give two digests.
        for name in ("reconnect", "silence", "work"):
            object.__setattr__(self, name, float(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class Task:
    """What the members agreed to run, and its caps. A digest is `sha256:` and 64 hex digits, or empty."""

    name: str
    rounds: int
    rows: int
    bytes: int
    expires: datetime
    script: str = ""
    model: str = ""

    def allow_script(self, digest: Digest) -> None:
        """Refuse a script that is not the agreed one; a task without one allows none. Raises `NotAllowed`."""
        self._allow("script", self.script, digest)

    def allow_model(self, digest: Digest) -> None:
        """Refuse a model that is not the agreed one; a task without one allows none. Raises `NotAllowed`."""
        self._allow("model", self.model, digest)

    def _allow(self, what: str, agreed: str, digest: Digest) -> None:
        asked = digest if isinstance(digest, str) else f"sha256:{digest.hex()}"
        if not agreed or not hmac.compare_digest(agreed.encode(), asked.encode()):
            raise NotAllowed(
                f"task {self.name} lists {'another' if agreed else 'no'} {what}",
                agreed[:19] or "none",
                asked[:19],
            )


@dataclass(frozen=True, slots=True)
class Privacy:
    """The privacy policy of one member's data set: whose privacy counts, and how much may ever be spent of it.

    `without_noise` says what happens to a number that would leave without differential privacy: "refuse", or
    "record" (the ledger then shows an infinite epsilon).
    """

    member: str
    dataset: str
    epsilon: float
    delta: float
    unit: str = "record"
    without_noise: WithoutNoise = "refuse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", float(self.epsilon))
        object.__setattr__(self, "delta", float(self.delta))


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of one task under one charter, enforced by each member for itself."""

    task: str
    rounds: int
    rows: int
    bytes: int
    expires: datetime

    def require(
        self, *, now: datetime | None = None, rounds: int = 0, rows: float = 0, bytes: int = 0
    ) -> None:
        """Refuse rounds begun, rows given or bytes sent beyond a cap. Raises `NotAllowed` or `Expired`."""
        for what, cap, asked in (
            ("rounds", self.rounds, rounds),
            ("rows", self.rows, rows),
            ("bytes", self.bytes, bytes),
        ):
            if not asked <= cap:
                raise NotAllowed(f"the {what} of task {self.task}", cap, asked)
        if now is not None and now >= self.expires:
            raise Expired(f"task {self.task}", self.expires, "have a new charter signed")


@dataclass(frozen=True, slots=True)
class Signature:
    """A member's Ed25519 signature (64 bytes) over the charter's digest."""

    member: str
    value: bytes
