"""A fit among members, one function for each role: refuse, meet, take up what was kept, train."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from silo.errors import ParameterError
from silo.protocols.errors import UnlikeTerms
from silo.protocols.split import host, label, ushaped
from silo.protocols.split.line import Line
from silo.protocols.split.schedule import Schedule
from silo.protocols.vertical.context import SPLIT, Context
from silo.vertical.checkpoints import Arrays
from silo.vertical.meeting import Meeting, meet
from silo.vertical.splitting import building, modules, watching
from silo.vertical.splitting.kept import Kept
from silo.vertical.splitting.metering import Leak
from silo.vertical.splitting.noise import NoisePlan
from silo.vertical.splitting.part import Part
from silo.vertical.splitting.paying import Payer
from silo.vertical.splitting.randomized import RandomizedLabels
from silo.vertical.splitting.setting import BACK, CUT, SIGMA, Setting
from silo.vertical.splitting.tops import Middle, Top


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a member has after a fit: its modules, how wide both cuts are, what was paid for, and its checkpoints."""

    parts: Mapping[str, Part]
    meeting: Meeting
    order: bytes
    kept: Kept
    width: int
    back: int = 0
    logits: int = 0
    charges: tuple[str, ...] = ()
    leak: Leak | None = None


def fit(setting: Setting) -> Fitted:
    """Take part in a fit, in the role that follows from what this member brings. Raises as the protocol."""
    setting.require()
    if setting.u_shaped and len(setting.session.members) != 2:
        raise ParameterError("the U-shape is between two members: an owner of rows, and a compute partner")
    if setting.middle is not None:
        return _partner(setting)
    if setting.labels is None:
        return _host(setting)
    return _owner(setting) if setting.u_shaped else _label(setting)


def _host(setting: Setting) -> Fitted:
    part = Part({"bottom": building.required(setting, setting.bottom, "bottom")}, setting.make)
    kept = setting.kept(part)
    width, hosts = building.tried_bottom(setting), len(setting.session.members) - 1
    noise = setting.activation_noise(kept.newest)
    declared: dict[str, float] = {}

    def settle(agreed: Mapping[str, str]) -> None:
        declared["sigma"] = _declared(agreed)

    bottom = building.bottom_of(
        setting, part, width, noise, lambda done: kept.keep(done, part.arrays()), hosts
    )
    try:
        size = setting.terms.activation_bytes(width, hosts)
        begun = _begin(setting, kept, size, cut=str(width), settle=settle)
        if begun.start:
            part.load(kept.at(begun.start))
        party = begun.meeting.context.label
        bottom.guard = watching.guard(setting, declared["sigma"], party)
        begun.drive(
            host.train(begun.line, setting.terms, begun.schedule, bottom, width=width, start=begun.start)
        )
    finally:
        bottom.close()
    return Fitted(
        {"bottom": part}, begun.meeting, begun.order, kept, width, charges=_paid(noise and noise[1])
    )


def _label(setting: Setting) -> Fitted:
    parts = building.tops(setting, own=True)
    kept = setting.kept(parts[0])
    own = building.tried_bottom(setting) if "bottom" in parts[0].modules else 0
    noise = setting.label_noise(kept.newest)
    found: dict[str, int] = {}

    def settle(agreed: Mapping[str, str]) -> None:
        found["width"] = _agreed(agreed, CUT)
        found["logits"] = building.tried_top(setting, own + found["width"])

    hosts = len(setting.session.members) - 1
    cut = "" if setting.cut is None else str(setting.cut)
    size = setting.terms.gradient_bytes(setting.cut or own or 1)
    begun = _begin(
        setting,
        kept,
        size,
        cut=cut,
        sigma=_sigma(noise),
        peers=hosts,
        settle=settle,
        exact=lambda: setting.terms.gradient_bytes(found["width"]),
    )
    width, logits = found["width"], found["logits"]
    top = building.top_of(setting, parts, noise, logits, lambda done: kept.keep(done, top.arrays()))
    if begun.start:
        top.load(kept.at(begun.start))
    begun.drive(label.train(begun.line, setting.terms, begun.schedule, top, width=width, start=begun.start))
    charges = _paid(noise and noise[1])
    return Fitted(
        {"real": parts[0]},
        begun.meeting,
        begun.order,
        kept,
        width,
        logits=logits,
        charges=charges,
        leak=top.leak,
    )


def _owner(setting: Setting) -> Fitted:
    parts = building.tops(setting, own=False)
    part = Part({"bottom": building.required(setting, setting.bottom, "bottom")}, setting.make)
    kept = setting.kept(parts[0], part)
    width = building.tried_bottom(setting)
    hidden, shown = setting.label_noise(kept.newest), setting.activation_noise(kept.newest)
    found: dict[str, int] = {}
    made: list[Top] = []

    def settle(agreed: Mapping[str, str]) -> None:
        found["back"] = _agreed(agreed, BACK)
        found["logits"] = building.tried_top(setting, found["back"])

    def keep(done: int) -> None:
        kept.keep(done, {**_headed("own", part.arrays()), **_headed("top", made[0].arrays())})

    bottom = building.bottom_of(setting, part, width, shown, keep, 1)
    try:
        size = setting.terms.gradient_bytes(width)
        begun = _begin(
            setting,
            kept,
            size,
            cut=str(width),
            sigma=_sigma(hidden),
            settle=settle,
            exact=lambda: size + setting.terms.gradient_bytes(found["back"]),
        )
        top = building.top_of(setting, parts, hidden, found["logits"], lambda done: None)
        made.append(top)
        if begun.start:
            arrays = kept.at(begun.start)
            part.load(_under("own", arrays))
            top.load(_under("top", arrays))
        (partner,) = (name for name in setting.session.members if name != setting.who)
        bottom.guard = watching.guard(setting, float(_sigma(hidden)), partner, _rarest(setting))
        widths = {"width": width, "back": found["back"]}
        begun.drive(
            ushaped.owner(begun.line, setting.terms, begun.schedule, bottom, top, **widths, start=begun.start)
        )
    finally:
        bottom.close()
    charges = _paid(hidden and hidden[1]) + _paid(shown and shown[1])
    return Fitted(
        {"bottom": part, "real": parts[0]},
        begun.meeting,
        begun.order,
        kept,
        width,
        found["back"],
        found["logits"],
        charges,
        top.leak,
    )


def _partner(setting: Setting) -> Fitted:
    module = building.required(setting, setting.middle, "middle")
    if setting.cut is None:
        raise ParameterError(
            f"{setting.who}: a compute partner sees no column: say cut=…, how many numbers the bottom gives"
        )
    part = Part({"middle": module}, setting.make)
    kept = setting.kept(part)
    back = modules.width_of(module, modules.blank(2, setting.cut), "middle", setting.who)
    setting.terms.require_width(back)
    size = setting.terms.gradient_bytes(setting.cut) + setting.terms.gradient_bytes(back)
    begun = _begin(setting, kept, size, cut=str(setting.cut), back=str(back), exact=lambda: size)
    if begun.start:
        part.load(kept.at(begun.start))
    middle = Middle(part, lambda done: kept.keep(done, part.arrays()))
    widths = {"width": setting.cut, "back": back}
    begun.drive(
        ushaped.partner(begun.line, setting.terms, begun.schedule, middle, **widths, start=begun.start)
    )
    return Fitted({"middle": part}, begun.meeting, begun.order, kept, setting.cut, back)


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """A fit after its roll call."""

    meeting: Meeting
    line: Line
    schedule: Schedule
    start: int

    @property
    def order(self) -> bytes:
        """What the order of rows follows from."""
        return self.schedule.seed

    @property
    def drive(self) -> Callable[..., None]:
        return self.meeting.drive


def _begin(
    setting: Setting,
    kept: Kept,
    row_bytes: int,
    *,
    cut: str = "",
    back: str = "",
    sigma: str = "",
    peers: int = 1,
    settle: Callable[[Mapping[str, str]], object] = lambda _: None,
    exact: Callable[[], int] | None = None,
) -> _Begun:
    """Call the roll; `exact` are the bytes of a row once the others have said their widths."""
    session, terms = setting.session, setting.terms
    left = terms.epochs - kept.newest

    def check(context: Context) -> None:
        if exact is not None:
            session.check_leaving(setting.coming(exact(), left, peers, context.parameters.rows))

    meeting = meet(
        session,
        SPLIT,
        labelled=setting.labels is not None,
        rows=setting.rows,
        columns=setting.columns,
        terms=setting.said(),
        left_open=((CUT, cut), (BACK, back), (SIGMA, sigma)),
        aligned=setting.aligned,
        coming=setting.coming(row_bytes, left, peers),
        reached=kept.newest,
        noised=True,
        settle=settle,
        check=check,
    )
    line = Line(meeting.context, session.me, session.channel_key, rng=session.rng)
    start = min(meeting.reached.values())
    return _Begun(meeting, line, Schedule.of(meeting.context, terms), start)


def _agreed(agreed: Mapping[str, str], name: str) -> int:
    text = agreed[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise UnlikeTerms(f"nobody says the {name}: a member that has no labels brings a bottom module")
    return int(text)


def _sigma(noise: tuple[NoisePlan | RandomizedLabels, Payer] | None) -> str:
    """The noise on residuals, as it is declared."""
    return f"{noise[0].noise_multiplier:g}" if noise and isinstance(noise[0], NoisePlan) else "0"


def _declared(agreed: Mapping[str, str]) -> float:
    text = agreed[SIGMA]
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if len(text) > 24 or not 0 <= found < math.inf:
        raise UnlikeTerms(f"the label party says no noise on residuals that can be: {text[:24]!r}")
    return found


def _rarest(setting: Setting) -> float:
    """The part of the rows that is in the rarest class."""
    labels = np.zeros(1, np.int64) if setting.labels is None else setting.labels
    counts = np.bincount(labels, minlength=2)
    return float(np.clip(counts.min() / counts.sum(), 0.01, 0.5))


def _paid(payer: Payer | None) -> tuple[str, ...]:
    return () if payer is None else tuple(payer.charges)


def _headed(head: str, arrays: Arrays) -> Arrays:
    return {f"{head}|{key}": value for key, value in arrays.items()}


def _under(head: str, arrays: Arrays) -> Arrays:
    return {key.partition("|")[2]: value for key, value in arrays.items() if key.startswith(f"{head}|")}
