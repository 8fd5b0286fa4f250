"""A member's part of a split network as plain data: arrays in base64, each with its type and shape."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError
from silo.vertical import classes
from silo.vertical.share import Share, words
from silo.vertical.splitting.alone import network
from silo.vertical.splitting.modules import require_module
from silo.vertical.splitting.part import Part

if TYPE_CHECKING:
    from silo.vertical.splitting.network import SplitNetwork

_KINDS: Final = {one: np.dtype(one) for one in ("<f4", "<f8", "<f2", "<i8", "<i4", "|u1", "|b1", "|i1")}
_FIGURES: Final = ("width", "back", "logits", "epochs", "batch", "micro_batches")


def told(model: SplitNetwork) -> dict[str, Any]:
    """What `take` takes: no optimiser and no guide, which are for training only."""
    arrays = {
        f"{name}|{key}": _written(value)
        for name, part in model.parts_.items()
        for key, value in part.arrays().items()
        if not key.startswith("optimizer|")
    }
    known = getattr(model, "classes_", np.zeros(0))
    return {
        "width": model.width_,
        "back": model.back_,
        "logits": model.logits_,
        "epochs": int(model.epochs),
        "batch": int(model.batch),
        "micro_batches": int(model.micro_batches),
        "wire": str(model.wire),
        "u_shaped": bool(model.u_shaped) or model.middle is not None,
        "classes": classes.told(known),
        "class_type": classes.kind_of(known),
        "parts": {name: sorted(part.modules) for name, part in model.parts_.items()},
        "arrays": arrays,
    }


def take(model: SplitNetwork, found: Share) -> None:
    """Fill the model from `told`. Raises `ParameterError` for what does not fit the modules that were passed."""
    figures = [found.get(name) for name in _FIGURES]
    if not all(type(one) is int and 0 <= one < 2**31 for one in figures) or not isinstance(
        found.get("wire"), str
    ):
        raise ParameterError(
            "the part of a model has no figures of a split network: it was changed after it was saved"
        )
    model.width_, model.back_, model.logits_, model.epochs, model.batch, model.micro_batches = (
        int(str(one)) for one in figures
    )
    model.wire, model.u_shaped = str(found["wire"]), bool(found.get("u_shaped"))
    arrays, parts = found.get("arrays"), found.get("parts")
    if not (
        isinstance(arrays, dict)
        and isinstance(parts, dict)
        and all(isinstance(one, list) for one in parts.values())
    ):
        raise ParameterError("the part of a model has no arrays: it was changed after it was saved")
    values = {str(key): _read(value) for key, value in arrays.items()}
    model.parts_ = {}
    for name, inside in sorted(parts.items()):
        part = _part(model, name, {str(one) for one in inside})
        head = f"{name}|"
        part.load({key[len(head) :]: value for key, value in values.items() if key.startswith(head)})
        model.parts_[name] = part
    model.n_iter_, model.order_, model.charges_, model.leak_ = model.epochs, b"", (), None
    _classes(model, found)


def _part(model: SplitNetwork, name: str, inside: set[str]) -> Part:
    modules = {"bottom": model.bottom, "middle": model.middle, "top": model.top}
    if name == "network":
        return Part({"network": network(modules)}, model._maker())
    wanted = {one: modules.get(one) for one in sorted(inside)}
    missing = [one for one, module in wanted.items() if module is None]
    if missing:
        given = ", ".join(f"{one}=…" for one in missing)
        raise ParameterError(
            f"the part of a model has weights of {' and '.join(missing)} and no modules: pass them, as "
            f"silo.vertical.load(path, session, {given}), or to silo score in a file, --modules"
        )
    return Part(
        {one: require_module(module, one, model._who) for one, module in wanted.items()}, model._maker()
    )


def _classes(model: SplitNetwork, found: Share) -> None:
    said = words(found, "classes")
    if said:
        model.classes_ = classes.read(said, str(found.get("class_type")), len(said))


def _written(value: npt.NDArray[Any]) -> dict[str, Any]:
    array = np.ascontiguousarray(value)
    if array.dtype.str not in _KINDS:
        raise ParameterError(f"weights of type {array.dtype} are not saved: train in float32")
    return {
        "type": array.dtype.str,
        "shape": list(value.shape),
        "data": base64.b64encode(array.tobytes()).decode(),
    }


def _read(found: Any) -> npt.NDArray[Any]:
    try:
        kind, shape = _KINDS[found["type"]], tuple(int(one) for one in found["shape"])
        raw = base64.b64decode(found["data"], validate=True)
        return np.frombuffer(raw, kind).reshape(shape).copy()
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise ParameterError(
            "an array of the model cannot be read: it was changed after it was saved"
        ) from None
