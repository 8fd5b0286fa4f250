"""A partner's own PyTorch loop with three changed lines, marked `# silo` (needs torch).

Run `python examples/embed_in_your_pipeline.py`: three partners train together, in one process. In production the
session comes from `silo.join("charter.toml", identity="keys/mercy")`; the loop stays as it is.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

import silo  # silo


def fit(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, session: silo.Session | None = None
) -> None:
    """The partner's loop; without a session it is what it always was."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(epochs):
        for begin in range(0, len(x), 32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[begin : begin + 32]), y[begin : begin + 32]).backward()
            optimizer.step()
        if session:  # silo
            model.load_state_dict(session.mean(model.state_dict(), weight=len(x)))  # silo


def rows(seed: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy((x @ np.arange(-2.5, 3) > 0).astype(np.int64))


def main() -> None:
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    test_x, test_y = rows(99, 2000)

    def accuracy(model: nn.Module) -> float:
        return float((model(test_x).argmax(1) == test_y).float().mean())

    def party(session: silo.Session, size: int) -> tuple[float, float]:
        alone, together = copy.deepcopy(start), copy.deepcopy(start)
        x, y = rows(size, size)
        fit(alone, x, y, epochs=12)
        fit(together, x, y, epochs=12, session=session)
        return accuracy(alone), accuracy(together)

    results = silo.simulate(["mercy", "northside", "clinic"], party, [40, 60, 25], clip=8.0, rows=1000)
    for name, (alone, together) in results.items():
        print(f"{name:10} alone {alone:.3f}   together {together:.3f}")


if __name__ == "__main__":
    main()
