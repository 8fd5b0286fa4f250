"""The work objects of a fit, made of a member's modules once they were tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from silo.errors import ParameterError
from silo.privacy.token import NoiseToken
from silo.protocols.split.wire import Rows
from silo.vertical.splitting import modules
from silo.vertical.splitting.bottoms import Bottom, largest
from silo.vertical.splitting.guided import GuidedTop
from silo.vertical.splitting.marvell import Marvell
from silo.vertical.splitting.metering import LiveMeter
from silo.vertical.splitting.noise import NoisePlan
from silo.vertical.splitting.part import Keep, Part
from silo.vertical.splitting.randomized import RandomizedLabels
from silo.vertical.splitting.residuals import Labels, NoisedResiduals, Residuals, ToldResiduals
from silo.vertical.splitting.setting import Hidden, Setting, Shown
from silo.vertical.splitting.tops import ExactTop, Top

if TYPE_CHECKING:
    from silo.vertical.splitting.private_bottom import PrivateBottom


def tried_bottom(setting: Setting) -> int:
    """How wide the own bottom is. Raises `ParameterError`."""
    module, x = required(setting, setting.bottom, "bottom"), table(setting)
    # With noise not on the rows themselves, for an error of theirs would be seen by all.
    shown = setting.activations is None and not setting.guided
    tried = x if shown else modules.made_up(x.shape[1])
    width = modules.width_of(module, tried, "bottom", setting.who)
    setting.terms.require_width(width)
    return width


def tried_top(setting: Setting, width: int) -> int:
    """How many logits the top makes of so many numbers. Raises `ParameterError` where the classes are others."""
    logits = modules.width_of(
        required(setting, setting.top, "top"), modules.made_up(width), "top", setting.who
    )
    require_logits(logits, setting.classes, setting.who)
    return logits


def require_logits(logits: int, classes: int, who: str) -> None:
    """One logit for two classes, else one for each. Raises `ParameterError`."""
    if logits != classes and (logits, classes) != (1, 2):
        raise ParameterError(f"{who}: the top module gives {logits} logits, and y has {classes} classes")


def required(setting: Setting, module: nn.Module | None, name: str) -> nn.Module:
    """A module that this role needs, fit for micro-batches. Raises `ParameterError`."""
    found = modules.require_module(module, name, setting.who)
    modules.require_whole(found, name, setting.who, setting.terms.micro_batches)
    return found


def table(setting: Setting) -> Rows:
    """The own columns. Raises `ParameterError` where there are none."""
    if setting.x is None:
        raise ParameterError(f"{setting.who}: a bottom module needs columns: pass X")
    return setting.x


def bottom_of(
    setting: Setting, part: Part, width: int, noise: Shown | None, keep: Keep, hosts: int
) -> Bottom | PrivateBottom:
    """The bottom, with the noise that was planned; tried on made-up rows."""
    if noise is None:
        return Bottom(part, table(setting), keep, setting.decorrelation)
    # Opacus takes a second to be imported, and exact activations have no need of it.
    from silo.vertical.splitting.private_bottom import PrivateBottom

    plan, payer = noise

    def pay(epoch: int) -> NoiseToken:
        return payer.pay(plan.event, f"epoch {epoch + 1}")

    found = PrivateBottom(
        part,
        setting.make,
        table(setting),
        plan,
        pay,
        keep,
        who=setting.who,
        width=width,
        most=largest(hosts),
        rng=setting.session.rng,
    )
    try:
        found.rehearse()
    except BaseException:
        found.close()
        raise
    return found


def real(setting: Setting, *, own: bool) -> Part:
    """The label party's modules; `own` with its bottom."""
    named: Mapping[str, nn.Module | None] = {
        "top": required(setting, setting.top, "top"),
        "bottom": required(setting, setting.bottom, "bottom") if own and setting.bottom is not None else None,
    }
    return Part(named, setting.make)


def top_of(
    setting: Setting,
    part: Part,
    noise: Hidden | None,
    width: int,
    logits: int,
    keep: Keep,
) -> Top:
    """The label party's work; it is shown activations of `width` numbers."""
    if setting.labels is None:
        raise ParameterError(f"{setting.who} has no labels")
    x = setting.x if "bottom" in part.modules else None
    who, rng = setting.who, setting.session.rng
    meter = _meter(setting, setting.labels, None if noise is None else noise[0])
    if noise is None:
        marvell = setting.gradients
        disguise = partial(marvell.disguise, rng=rng) if isinstance(marvell, Marvell) else None
        return ExactTop(part, x, setting.labels, keep, who=who, disguise=disguise, meter=meter)
    return GuidedTop(
        part,
        x,
        setting.labels,
        keep,
        who=who,
        residuals=_residuals(setting, setting.labels, noise, logits),
        width=width,
        logits=logits,
        rate=setting.guide_rate,
        epochs=setting.terms.epochs,
        meter=meter,
    )


def _residuals(setting: Setting, labels: Labels, noise: Hidden, logits: int) -> Residuals:
    """What the guide learns from; an epoch, or a fit, is paid for as it begins."""
    how, payer = noise
    rng = setting.session.rng
    if isinstance(how, RandomizedLabels):
        event = how.event(setting.classes)
        return ToldResiduals(labels, logits, how, lambda epoch: payer.pay(event, "a fit"), rng=rng)
    return NoisedResiduals(
        labels,
        logits,
        how.noise_multiplier,
        lambda epoch: payer.pay(how.event, f"epoch {epoch + 1}"),
        rng=rng,
    )


def _meter(setting: Setting, labels: Labels, how: NoisePlan | RandomizedLabels | None) -> LiveMeter | None:
    """The meter of a fit, with what is promised of it."""
    if setting.meter is False:
        return None

    def promised(epochs: int) -> float:
        if how is None:
            return 1.0
        if isinstance(how, RandomizedLabels):
            return how.auc_bound
        return replace(how, epochs=epochs).auc_bound

    path = None if setting.meter is True else Path(setting.meter)
    return LiveMeter(labels, setting.classes, promised, who=setting.who, path=path)
