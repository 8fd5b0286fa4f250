"""The leak meter: what the gradients of split learning tell of the labels, measured while they are returned.

`Meter` runs live beside a training, and so does a host's `watch` after its `rehearsal`. Generators are torch's, seeded
from the `rng` that is handed in: they draw weights and made-up labels, and nothing that they draw protects anybody.
"""

from silo.leak.auc import Area, area, auc
from silo.leak.bound import bound, mu_of, sigma_of
from silo.leak.meter import Meter
from silo.leak.reading import Attack, Reading

__all__ = ["Area", "Attack", "Meter", "Reading", "area", "auc", "bound", "mu_of", "sigma_of"]
