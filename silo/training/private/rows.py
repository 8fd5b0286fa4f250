"""A party's rows, from which a sample is taken by indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, TensorDataset, default_collate

from silo.errors import ParameterError
from silo.training.private.checks import check_data


class Rows:
    """(x, y) as arrays or tensors, or a map-style torch data set that gives such pairs."""

    def __init__(self, data: Any) -> None:
        check_data(data)
        if isinstance(data, TensorDataset):
            data = data.tensors
        self._tensors: tuple[torch.Tensor, ...] | None = None
        self._dataset: Dataset[Any] | None = None
        if isinstance(data, (tuple, list)):
            self._tensors = tuple(_tensor(part) for part in data)
            lengths = {len(part) for part in self._tensors}
            if len(self._tensors) != 2 or len(lengths) != 1:
                raise ParameterError(
                    f"data is a pair (x, y) of equal length, not {len(self._tensors)} parts of {sorted(lengths)} rows"
                )
        elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
            self._dataset = data
        else:
            raise ParameterError(f"data is (x, y) or a map-style data set, not a {type(data).__name__}")

    def __len__(self) -> int:
        return len(self._tensors[0]) if self._tensors is not None else len(self._dataset)  # type: ignore[arg-type]

    def check_finite(self) -> None:
        """Refuse NaN and infinity where the rows are at hand: such a row would count as nothing, unseen.

        Raises `ParameterError`.
        """
        for name, part in zip("xy", self._tensors or (), strict=False):
            _check_finite(name, part)

    @property
    def targets(self) -> torch.Tensor | None:
        """All y, where they are at hand without reading a data set."""
        return self._tensors[1] if self._tensors is not None else None

    def like(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """A row whose shapes and types are those of all; None where there are no rows."""
        return self.take(np.zeros(1, np.int64)) if len(self) else None

    def take(self, indices: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows at these places."""
        if self._tensors is not None:
            at = torch.from_numpy(indices)
            x, y = self._tensors
            return x.index_select(0, at), y.index_select(0, at)
        if self._dataset is None:
            raise ParameterError("there are no rows")
        parts = default_collate([self._dataset[int(index)] for index in indices])
        if len(parts) != 2 or not all(isinstance(part, torch.Tensor) for part in parts):
            raise ParameterError("a data set gives pairs (x, y) of numbers or tensors")
        return parts[0], parts[1]


def _check_finite(name: str, part: torch.Tensor) -> None:
    if not (part.is_floating_point() or part.is_complex()):
        return
    bad = torch.nonzero(~torch.isfinite(part).reshape(len(part), -1).all(dim=1))
    if len(bad):
        raise ParameterError(
            f"{name} is not finite in {len(bad)} of {len(part)} rows, row {int(bad[0])} first: fill or leave out what "
            "is missing before training"
        )


def _tensor(part: Any) -> torch.Tensor:
    try:
        tensor = torch.as_tensor(part)
    except (TypeError, ValueError, RuntimeError):
        raise ParameterError(
            f"data is a pair (x, y) of arrays or tensors of numbers, and one is a {type(part).__name__}: convert it"
        ) from None
    if tensor.ndim == 0:
        raise ParameterError("data is a pair (x, y) whose first axis is rows")
    return tensor
