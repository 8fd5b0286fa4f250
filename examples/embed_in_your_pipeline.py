"""A partner's own PyTorch loop, with three changed lines marked `# silo` (needs torch).

Run `python examples/embed_in_your_pipeline.py`: three partners train alone, with Silo off, and then together, in this
one process. Between organisations the same file runs under
`silo join embed_in_your_pipeline.py --charter charter.toml --identity keys/mercy -- 40`.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn


def fit(model, x, y, epochs, session=None):  # silo
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(epochs):
        for begin in range(0, len(x), 32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[begin : begin + 32]), y[begin : begin + 32]).backward()
            optimizer.step()
        if session:  # silo
            model.load_state_dict(session.mean(model.state_dict(), weight=len(x)))  # silo


# What is above is the partner's pipeline; below stands what the example needs to show it.


torch.manual_seed(0)
START = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))  # all begin with the same model


def rows(seed, size):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy((x @ np.arange(-2.5, 3) > 0).astype(np.int64))


def accuracy(model):
    x, y = rows(99, 2000)
    return float((model(x).argmax(1) == y).float().mean())


def run(session, size):
    """What `silo join` calls at each partner; `size` stands for its own data."""
    model = copy.deepcopy(START)
    fit(model, *rows(int(size), int(size)), epochs=12, session=session)
    return round(accuracy(model), 3)


def main():
    import silo

    sizes = {"mercy": 40, "northside": 60, "clinic": 25}
    together = silo.simulate(list(sizes), run, sizes, clip=8.0, rows=100)
    for name, size in sizes.items():
        print(f"{name:10} {size} rows   alone {run(None, size):.3f}   together {together[name]:.3f}")


if __name__ == "__main__":
    main()
