"""A member's part of a split network as plain data: arrays in base64, each with its type and shape."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
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

_log = logging.getLogger("silo.vertical")
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
        "looks": {name: _looks(part) for name, part in model.parts_.items()},
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
    arrays, parts, looks = found.get("arrays"), found.get("parts"), found.get("looks")
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
        if isinstance(looks, dict) and looks.get(name) not in (None, _looks(part)):
            _log.warning(
                "%s: the modules of %s are printed by torch in another way than those of the fit: another activation "
                "function, say, would give other scores",
                model._who,
                name,
            )
    model.n_iter_, model.order_, model.charges_, model.leak_ = model.epochs, b"", (), None
    _classes(model, found)


def _looks(part: Part) -> str:
    """A digest of how torch prints the modules, as weights alone do not tell what lies between them."""
    said = "\n".join(f"{name}: {module!r}" for name, module in sorted(part.modules.items()))
    return hashlib.sha256(said.encode()).hexdigest()


def _part(model: SplitNetwork, name: str, inside: set[str]) -> Part:
    modules = {"bottom": model.bottom, "middle": model.middle, "top": model.top}
    if name == "network":
        return Part({"network": network(modules)}, model._maker())
    wanted = {one: modules.get(one) for one in sorted(inside)}
    missing = [one for one, module in wanted.items() if module is None]
    if missing:
        given, verb = ", ".join(f"{one}=…" for one in missing), "was" if len(missing) == 1 else "were"
        raise ParameterError(
            f"the part of a model has weights of {' and '.join(wanted)}, and {' and '.join(missing)} {verb} not "
            f"passed: silo.vertical.load(path, session, {given}), or silo score --modules with a file that sets them"
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
