"""Scores of a split network among members: activations leave as the charter lets them, and no score leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from silo.errors import ParameterError
from silo.protocols.split import predicting
from silo.protocols.split.line import Line
from silo.protocols.split.wire import Rows
from silo.protocols.vertical.context import SPLIT, Context
from silo.vertical.meeting import meet
from silo.vertical.splitting import building, modules
from silo.vertical.splitting.bottoms import largest, noised, scored
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.part import Part, tensor_of
from silo.vertical.splitting.passing import logits_of
from silo.vertical.splitting.residuals import Floats
from silo.vertical.splitting.setting import BACK, CUT, Setting, Shown


def require(setting: Setting, parts: Mapping[str, Part]) -> Shown | None:
    """The noise on what is shown, where there is any. Raises `NotAllowed`, `NotCovered`, `PrivacyBudgetExceeded`."""
    setting.require()
    noise = setting.activation_noise() if "bottom" in parts else None
    if noise is not None:
        plan, payer = noise
        payer.require(plan.scoring)
    return noise


def gather(
    setting: Setting, parts: Mapping[str, Part], *, leads: bool, width: int, back: int, model: str
) -> Rows | None:
    """What the top gets of the others' modules, (rows, width); None at members without it. Raises as the protocol."""
    session, terms = setting.session, setting.terms
    noise = require(setting, parts)
    partner, shows = "middle" in parts, "bottom" in parts
    _try(setting, parts, width, back, leads)
    if noise is not None:
        # A module whose rows are not each their own is refused, as in a fit.
        tried = Part({"bottom": parts["bottom"].modules["bottom"]}, setting.make)
        building.bottom_of(setting, tried, width, noise, lambda _: None, 1).close()
    for part in parts.values():
        part.train(False)
    row_bytes = 8 * (width + back) + 16

    def settle(agreed: Mapping[str, str], context: Context) -> None:
        session.check_leaving(setting.coming(row_bytes, 1, 1, context.parameters.rows))

    meeting = meet(
        session,
        SPLIT,
        labelled=leads,
        rows=setting.rows,
        columns=setting.columns,
        terms=(*setting.said(scoring=True), ("scored by", model)),
        left_open=((CUT, str(width)), (BACK, str(back) if back else "")),
        coming=setting.coming(row_bytes, 1, 1),
        scoring=True,
        noised=True,
        settle=settle,
    )
    line = Line(meeting.context, session.me, session.channel_key, rng=session.rng)
    if partner:
        middle = parts["middle"].modules["middle"]
        meeting.drive(
            predicting.partner(line, terms, lambda rows: scored(middle, rows), width=width, back=back)
        )
        return None
    forward = _shown(setting, parts["bottom"], noise, len(meeting.context.hosts)) if shows else None
    if not leads and forward is not None:
        meeting.drive(predicting.host(line, terms, forward, width=width))
        return None
    if forward is not None:
        return meeting.drive(predicting.owner(line, terms, forward, width=width, back=back))
    return meeting.drive(predicting.label(line, terms, width=width))


def _try(setting: Setting, parts: Mapping[str, Part], width: int, back: int, leads: bool) -> None:
    """Let the modules score some rows, before anybody waits for them. Raises `ParameterError`.

    Made-up ones where a bottom is shown with noise, as in a fit: an error of a row's would be seen by all.
    """
    own = (
        setting.x
        if setting.x is not None and setting.activations is None
        else modules.made_up(setting.columns)
    )

    def gives(part: str, name: str, rows: Rows) -> int:
        return modules.width_of(parts[part].modules[name], rows, name, setting.who, scoring=True)

    for name, rows, before in (("bottom", own, width), ("middle", modules.made_up(width), back)):
        found = gives(name, name, rows) if name in parts else before
        if found != before:
            raise ParameterError(
                f"{setting.who}: the {name} module gives {found} numbers, and gave {before} in the fit"
            )
    if leads:
        beside = gives("real", "bottom", own) if "bottom" in parts["real"].modules else 0
        gives("real", "top", modules.made_up(beside + (back or width)))


def logits(real: Part, x: Rows | None, came: Rows, batch: int) -> Floats:
    """(rows, logits) of the real top, out of training."""
    found, top = [], real.modules["top"]
    own = x if "bottom" in real.modules else None
    with torch.no_grad():
        for at in range(0, len(came), batch):
            part = None if own is None else own[at : at + batch]
            found.append(
                logits_of(real, part, tensor_of(came[at : at + batch], top)).to("cpu", torch.float64)
            )
    return np.concatenate([one.numpy() for one in found])


def alone(part: Part, x: Rows, batch: int) -> Floats:
    """(rows, logits) of a network in one process."""
    part.train(False)
    whole = part.modules["network"]
    with torch.no_grad():
        found = [
            outputs(whole, tensor_of(x[at : at + batch], whole)).to("cpu", torch.float64).numpy()
            for at in range(0, len(x), batch)
        ]
    return np.concatenate(found)


def _shown(setting: Setting, part: Part, noise: Shown | None, hosts: int) -> Callable[[slice], Rows]:
    """The activations of some rows, with noise where it is paid for."""
    module, x = part.modules["bottom"], setting.x
    if x is None:
        raise ParameterError(f"{setting.who}: its bottom module needs columns: pass X")
    if noise is None:
        return lambda rows: scored(module, x[rows])
    plan, payer = noise
    made = scored(module, x)
    payer.pay(plan.scoring, "a scoring").use(plan.scoring)
    made = noised(made, plan, largest(hosts), rng=setting.session.rng)
    return lambda rows: made[rows]
