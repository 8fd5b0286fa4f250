"""A fit among members, one function for each role: refuse, meet, take up what was kept, train."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from silo.errors import ParameterError
from silo.protocols.errors import UnlikeTerms
from silo.protocols.split import host, label, ushaped
from silo.protocols.split.line import Line
from silo.protocols.split.schedule import Schedule
from silo.protocols.vertical.context import SPLIT, Context
from silo.vertical.meeting import Meeting, meet
from silo.vertical.splitting import apart, building, declaring, modules, watching
from silo.vertical.splitting.declaring import Declared
from silo.vertical.splitting.kept import Kept
from silo.vertical.splitting.metering import Leak
from silo.vertical.splitting.middle import Middle
from silo.vertical.splitting.part import Part, headed, under
from silo.vertical.splitting.paying import Payer
from silo.vertical.splitting.setting import BACK, CUT, SIGMA, Hidden, Setting, Shown
from silo.vertical.splitting.tops import Top

S = TypeVar("S")
_log = logging.getLogger("silo.vertical")


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a member has after a fit: modules, checkpoints, widths of both cuts, what was paid for, what leaked."""

    parts: Mapping[str, Part]
    meeting: Meeting[Any]
    order: bytes
    kept: Kept
    width: int
    back: int = 0
    logits: int = 0
    charges: tuple[str, ...] = ()
    leak: Leak | None = None
    lost: int = 0


def fit(setting: Setting) -> Fitted:
    """Take part in a fit, in the role that follows from what this member brings. Raises as the protocol."""
    with threadpool_limits(1, "blas"):
        # Its threads would spin after each small product, on the core that the others compute on.
        return _fit(setting)


def _fit(setting: Setting) -> Fitted:
    setting.require()
    if setting.u_shaped and len(setting.session.members) != 2:
        raise ParameterError("the U-shape is between two members: an owner of rows, and a compute partner")
    if setting.middle is not None:
        return _partner(setting)
    if setting.labels is None and (setting.top is not None or setting.gradients is not None):
        raise ParameterError(
            f"{setting.who}: top= and gradients= are for the member with the labels, and y is None here"
        )
    if setting.labels is None:
        return _host(setting)
    return _owner(setting) if setting.u_shaped else _label(setting)


def _host(setting: Setting) -> Fitted:
    part = Part({"bottom": building.required(setting, setting.bottom, "bottom")}, setting.make)
    kept = setting.kept(part)
    width, hosts = building.tried_bottom(setting), len(setting.session.members) - 1
    noise = setting.activation_noise()
    bottom = building.bottom_of(
        setting, part, width, noise, lambda done: kept.keep(done, part.arrays()), hosts
    )
    try:
        size = setting.terms.activation_bytes(width, hosts)
        settle = partial(_declared, setting)
        begun = _begin(setting, kept, size, settle, cut=str(width), shown=noise)
        if begun.start:
            part.load(kept.at(begun.start))
        party, declared = begun.meeting.context.label, begun.settled
        part.slowing = _slowing(setting, declared)
        bottom.guard = watching.guard(setting, declared, width, party)
        begun.drive(
            host.train(begun.line, setting.terms, begun.schedule, bottom, width=width, start=begun.start)
        )
    finally:
        bottom.close()
    return Fitted(
        {"bottom": part}, begun.meeting, begun.order, kept, width, charges=_paid(noise and noise[1])
    )


def _label(setting: Setting) -> Fitted:
    if setting.activations is not None or setting.decorrelation is not None:
        raise ParameterError(
            f"{setting.who}: activations= and decorrelation= are for members whose bottom is shown, and that of the "
            "member with the labels is not"
        )
    real = building.real(setting, own=True)
    kept = setting.kept(real)
    own = building.tried_bottom(setting) if "bottom" in real.modules else 0
    noise = setting.label_noise()

    def settle(agreed: Mapping[str, str]) -> tuple[int, int]:
        # Refused here too, so that this member does not wait for hosts that refuse its word.
        _declared(setting, agreed)
        width = _agreed(setting, agreed, CUT)
        return width, building.tried_top(setting, own + width)

    hosts = len(setting.session.members) - 1
    cut = "" if setting.cut is None else str(setting.cut)
    size = setting.terms.gradient_bytes(setting.cut or own or 1)
    begun = _begin(
        setting,
        kept,
        size,
        settle,
        cut=cut,
        sigma=declaring.word(noise and noise[0], setting.classes),
        hidden=noise,
        peers=hosts,
        exact=lambda widths: setting.terms.gradient_bytes(widths[0]),
    )
    width, logits = begun.settled
    top = building.top_of(setting, real, noise, width, logits, lambda done: kept.keep(done, top.arrays()))
    _resume(top, kept, begun.start)
    begun.drive(label.train(begun.line, setting.terms, begun.schedule, top, width=width, start=begun.start))
    charges = _paid(noise and noise[1])
    return Fitted(
        {"real": real},
        begun.meeting,
        begun.order,
        kept,
        width,
        logits=logits,
        charges=charges,
        leak=top.leak,
        lost=top.lost,
    )


def _owner(setting: Setting) -> Fitted:
    real = building.real(setting, own=False)
    part = Part({"bottom": building.required(setting, setting.bottom, "bottom")}, setting.make)
    kept = setting.kept(real, part)
    width = building.tried_bottom(setting)
    hidden, shown = setting.label_noise(), setting.activation_noise()

    def settle(agreed: Mapping[str, str]) -> tuple[int, int, Declared]:
        back = _agreed(setting, agreed, BACK)
        logits = building.tried_top(setting, back)
        apart.require(setting, back)
        return back, logits, _declared(setting, agreed)

    def keep(done: int) -> None:
        kept.keep(done, {**headed("own", part.arrays()), **headed("top", top.arrays())})

    bottom = building.bottom_of(setting, part, width, shown, keep, 1)
    try:
        size = setting.terms.gradient_bytes(width)
        begun = _begin(
            setting,
            kept,
            size,
            settle,
            cut=str(width),
            sigma=declaring.word(hidden and hidden[0], setting.classes),
            hidden=hidden,
            shown=shown,
            exact=lambda settled: size + setting.terms.gradient_bytes(settled[0]),
        )
        back, logits, declared = begun.settled
        top = building.top_of(setting, real, hidden, back, logits, lambda done: None)
        if begun.start:
            part.load(under("own", kept.at(begun.start)))
        _resume(top, kept, begun.start, "top")
        (partner,) = (name for name in setting.session.members if name != setting.who)
        part.slowing = _slowing(setting, declared)
        bottom.guard = watching.guard(setting, declared, width, partner)
        widths = {"width": width, "back": back}
        begun.drive(
            ushaped.owner(begun.line, setting.terms, begun.schedule, bottom, top, **widths, start=begun.start)
        )
    finally:
        bottom.close()
    charges = _paid(hidden and hidden[1]) + _paid(shown and shown[1])
    return Fitted(
        {"bottom": part, "real": real},
        begun.meeting,
        begun.order,
        kept,
        width,
        back=back,
        logits=logits,
        charges=charges,
        leak=top.leak,
        lost=top.lost,
    )


def _partner(setting: Setting) -> Fitted:
    module = building.required(setting, setting.middle, "middle")
    if setting.cut is None:
        raise ParameterError(
            f"{setting.who}: a compute partner sees no column: say cut=…, how many numbers the bottom gives"
        )
    part = Part({"middle": module}, setting.make)
    kept = setting.kept(part)
    back = modules.width_of(module, modules.made_up(setting.cut), "middle", setting.who)
    setting.terms.require_width(back)
    size = setting.terms.gradient_bytes(setting.cut) + setting.terms.gradient_bytes(back)
    settle = partial(_declared, setting)
    begun = _begin(
        setting, kept, size, settle, cut=str(setting.cut), back=str(back), exact=lambda declared: size
    )
    part.slowing = _slowing(setting, begun.settled)
    if begun.start:
        part.load(kept.at(begun.start))
    middle = Middle(part, lambda done: kept.keep(done, part.arrays()))
    widths = {"width": setting.cut, "back": back}
    begun.drive(
        ushaped.partner(begun.line, setting.terms, begun.schedule, middle, **widths, start=begun.start)
    )
    return Fitted({"middle": part}, begun.meeting, begun.order, kept, setting.cut, back)


@dataclass(frozen=True, slots=True, eq=False)
class _Begun(Generic[S]):
    """A fit after its roll call."""

    meeting: Meeting[S]
    line: Line
    schedule: Schedule
    start: int

    @property
    def order(self) -> bytes:
        """What the order of rows follows from."""
        return self.schedule.seed

    @property
    def settled(self) -> S:
        """What this role made of the words that all agreed on."""
        return self.meeting.settled

    @property
    def drive(self) -> Callable[..., None]:
        return self.meeting.drive


def _begin(
    setting: Setting,
    kept: Kept,
    row_bytes: int,
    settle: Callable[[Mapping[str, str]], S],
    *,
    cut: str = "",
    back: str = "",
    sigma: str = "",
    hidden: Hidden | None = None,
    shown: Shown | None = None,
    peers: int = 1,
    exact: Callable[[S], int] | None = None,
) -> _Begun[S]:
    """Call the roll; `settle` makes something of what all say, and `exact` are the bytes of a row after that.

    What is left of the fit has to fit the budget before anything is said, and again once all know where they begin.
    """
    session, terms = setting.session, setting.terms
    setting.afford(kept.newest, hidden, shown, told=kept.newest > 0)
    left = terms.epochs - kept.newest

    def within_caps(agreed: Mapping[str, str], context: Context) -> S:
        found = settle(agreed)
        if exact is not None:
            session.check_leaving(setting.coming(exact(found), left, peers, context.parameters.rows))
        return found

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
        settle=within_caps,
    )
    line = Line(meeting.context, session.me, session.channel_key, rng=session.rng)
    start = min(meeting.reached.values())
    _tell_start(setting, meeting.reached, start)
    if start != kept.newest:
        setting.afford(start, hidden, shown, told=kept.newest > 0)
    return _Begun(meeting, line, Schedule.of(meeting.context, terms), start)


def _tell_start(setting: Setting, reached: Mapping[str, int], start: int) -> None:
    """Say where a fit with kept files goes on, or why it begins anew and is paid for in full."""
    if not any(reached.values()):
        return
    if start:
        _log.info("%s: the fit goes on after epoch %d", setting.who, start)
        return
    bare = ", ".join(sorted(name for name, epochs in reached.items() if not epochs))
    _log.warning(
        "%s: %s has kept nothing of this fit: all begin anew, and all %d epochs are paid for",
        setting.who,
        bare,
        setting.terms.epochs,
    )


def _declared(setting: Setting, agreed: Mapping[str, str]) -> Declared:
    """How labels are protected, by the words that all agreed on. Raises `UnlikeTerms`."""
    return declaring.read(setting, agreed[SIGMA])


def _slowing(setting: Setting, declared: Declared) -> int:
    """Over how many epochs a member's steps get smaller: all, where a guide gives the gradients."""
    return setting.terms.epochs if declared.classes else 0


def _resume(top: Top, kept: Kept, start: int, head: str = "") -> None:
    """Take up what was kept; labels that were told stay told, also where all begin anew."""
    newest = start or kept.newest
    if newest:
        arrays = kept.at(newest)
        arrays = under(head, arrays) if head else arrays
        top.load(arrays) if start else top.load_told(arrays)


def _agreed(setting: Setting, agreed: Mapping[str, str], name: str) -> int:
    text = agreed[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise UnlikeTerms(f"nobody says the {name}: a member that has no labels brings a bottom module")
    setting.terms.require_width(int(text))
    return int(text)


def _paid(payer: Payer | None) -> tuple[str, ...]:
    return () if payer is None else tuple(payer.charges)
