"""A rehearsal on made-up rows: what clips each row's gradient must see all of it, and nothing of another row's.

Opacus takes a row's gradient apart by hooks on layers. A weight used outside its layer, a layer used in a way that
Opacus does not follow, or a model that mixes the rows of a batch: each gives a sum whose clipping bounds nothing, and
no list of module types finds them all. So the sum of clipped gradients is compared with torch's own gradients, one row
at a time. Only the shapes and types of the real rows are used: what is refused depends on nothing private.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from silo.errors import ParameterError

Batch = tuple[torch.Tensor, torch.Tensor]
Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

ROWS: Final = 3
SEED: Final = 5
_TOLERANCE: Final = 1e-3
_DROPOUTS: Final = frozenset(
    getattr(nn.functional, name)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
)
_BLANK_NUMBERS: Final = 1 << 22
"""Of an output that stands in for the model's while labels are checked; 16 MiB."""


def made_up(like: Batch, seed: int = SEED) -> Batch:
    """`ROWS` rows of the shapes and types of `like`: fractions for floats, 0 and 1 for whole numbers."""
    source = torch.Generator().manual_seed(seed)

    def draw(part: torch.Tensor) -> torch.Tensor:
        shape = (ROWS, *part.shape[1:])
        values = torch.rand(shape, generator=source)
        return (values if part.is_floating_point() else values > 0.5).to(part.dtype)

    return draw(like[0]), draw(like[1])


def keep_all(model: nn.Module) -> None:
    """Set the model to training, without dropout: parties in threads share the generator that it draws from."""
    for module in model.train().modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()


def exact(device: torch.device) -> AbstractContextManager[Any]:
    """Keep a card's convolutions to float32 while sums are compared."""
    return torch.backends.cudnn.flags(allow_tf32=False) if device.type == "cuda" else nullcontext()


class _Undropped(TorchFunctionMode):
    """Inside, dropout by function leaves everything as it is; `keep_all` does the same for modules."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _DROPOUTS:
            return args[0] if args else given["input"]
        if func is nn.functional.scaled_dot_product_attention:
            args, given = (*args[:4], *((0.0, *args[5:]) if len(args) > 4 else ())), {**given}
            if "dropout_p" in given:
                given["dropout_p"] = 0.0
        return func(*args, **given)


def row_gradients(
    losses: Losses, batch: Batch, trained: Sequence[torch.Tensor], *, seed: int = SEED
) -> list[list[torch.Tensor]]:
    """Each row's gradient by torch itself; a parameter that a row does not touch has zeros."""
    torch.manual_seed(seed)
    values = losses(*batch)
    found = [torch.autograd.grad(value, trained, retain_graph=True, allow_unused=True) for value in values]
    rows = [
        [torch.zeros_like(p) if g is None else g.detach() for p, g in zip(trained, row, strict=True)]
        for row in found
    ]
    # What overflows is no row's fault here; in training such a row counts as zero too.
    return [row if math.isfinite(_norm(row)) else [torch.zeros_like(g) for g in row] for row in rows]


def check_apart(
    losses: Losses, batch: Batch, other: Batch, trained: Sequence[torch.Tensor]
) -> list[list[torch.Tensor]]:
    """Refuse a model or a loss in which rows touch each other; return the rows' gradients.

    Raises `ParameterError`.
    """
    own = row_gradients(losses, batch, trained)
    beside = tuple(torch.cat([mine[:1], theirs[1:]]) for mine, theirs in zip(batch, other, strict=True))
    moved = row_gradients(losses, (beside[0], beside[1]), trained)
    if not _close(own[0], moved[0]):
        raise _mixing()
    with _Undropped():
        together = row_gradients(losses, batch, trained)
        again = row_gradients(losses, batch, trained, seed=SEED + 1)
        if not all(map(_close, together, again)):
            return own  # it draws numbers of its own, which fall differently on each place
        # Each row by itself, at the first place: neither the rows before it nor its place may count.
        for row, mine in enumerate(together):
            alone = row_gradients(losses, (batch[0][row : row + 1], batch[1][row : row + 1]), trained)
            if not _close(mine, alone[0]):
                raise _mixing()
    return own


def check_alone(losses: Losses, batch: Batch) -> None:
    """Refuse a loss of one row that depends on how many rows there are. Raises `ParameterError`."""
    with torch.no_grad():
        together = losses(*batch)
        alone = torch.cat([losses(batch[0][i : i + 1], batch[1][i : i + 1]) for i in range(len(together))])
    if not torch.allclose(together, alone, rtol=_TOLERANCE, atol=1e-5, equal_nan=True):
        raise _mixing()


def check_targets(loss: Losses, output: torch.Tensor, targets: torch.Tensor | None) -> None:
    """Refuse labels that the loss cannot take beside an output of this shape, before a step is charged.

    Raises `ParameterError`.
    """
    if targets is None or output.device.type != "cpu":
        return
    at_once = max(1, _BLANK_NUMBERS // max(1, output[0].numel()))
    for at in range(0, len(targets), at_once):
        part = targets[at : at + at_once]
        part = part.to(output.dtype) if part.is_floating_point() else part
        blank = torch.zeros((len(part), *output.shape[1:]), dtype=output.dtype)
        try:
            loss(blank, part)
        except (IndexError, RuntimeError, ValueError) as problem:
            raise ParameterError(
                f"the loss cannot take a label among rows {at} to {at + len(part) - 1} ({_said(problem)}): for "
                "cross-entropy labels are whole numbers from 0 to the number of outputs less 1"
            ) from None


def clip_below(rows: Sequence[Sequence[torch.Tensor]]) -> float:
    """A clip that all rows exceed, so that every norm counts; 0 when no row has a gradient."""
    return 0.5 * min((norm for row in rows if (norm := _norm(row)) > 0), default=0.0)


def check_sum(
    found: Sequence[torch.Tensor],
    rows: Sequence[Sequence[torch.Tensor]],
    clip: float,
    names: Sequence[str],
) -> None:
    """Refuse when the sum of clipped gradients is not that of torch's own ones; name the worst parameter.

    Without `names` none is named: behind a wrong norm all gradients are off. Raises `ParameterError`.
    """
    factors = [clip / (_norm(row) + 1e-6) for row in rows]
    worst, place = 0.0, ""
    for at, total in enumerate(found):
        due = torch.stack(
            [factor * row[at].reshape(-1) for factor, row in zip(factors, rows, strict=True)]
        ).sum(0)
        away = float((total - due).norm())
        if not away <= worst:
            worst, place = away, names[at] if names else ""
    if not worst <= _TOLERANCE * clip * len(rows):
        of = f" of {place}" if place else ""
        raise ParameterError(
            f"Opacus does not see all of a row's gradient{of}, so clipping bounds nothing: use the weight in "
            "its own layer only and with that layer's plain settings (zero padding, no padding_idx), or freeze it"
        )


def attempt(work: Callable[[], Any]) -> Any:
    """Do what a model may fail at, and say so in one sentence. Raises `ParameterError`."""
    try:
        return work()
    except ParameterError:
        raise
    except Exception as problem:
        raise ParameterError(
            f"the model or its loss fails on made-up rows of the same shapes and types ({_said(problem)}): "
            "cross-entropy takes int64 labels, other losses floats in the shape of the output"
        ) from None


def _said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:300].rstrip('. ')}"


def _close(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    away = _norm([a - b for a, b in zip(one, other, strict=True)])
    return not away > _TOLERANCE * _norm(one) + 1e-6


def _norm(pieces: Sequence[torch.Tensor]) -> float:
    return float(torch.stack([piece.double().norm() for piece in pieces]).norm())


def _mixing() -> ParameterError:
    return ParameterError(
        "a row's loss depends on the other rows of its batch or on its place among them, so no row's gradient is its "
        "own: normalise within "
        "a row, let rows be the first axis (batch_first=True), and do not average the loss over rows"
    )
