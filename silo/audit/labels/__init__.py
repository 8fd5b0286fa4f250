"""The leak meter: what the gradients of split learning tell of the labels, measured while they are returned.

`Meter` runs live beside a training, and so does a host's `watch` after its `rehearsal`; `audit` and what it calls are
simulated attacks of `silo audit labels`. Generators are torch's, seeded from the `rng` that is handed in: they draw
simulated noise, weights and orders of rows, and nothing that they draw protects anybody.
"""

from silo.audit.labels.auc import Area, area, auc
from silo.audit.labels.bound import bound, mu_of, sigma_of
from silo.audit.labels.meter import Meter
from silo.audit.labels.reading import Attack, Reading

__all__ = ["Area", "Attack", "Meter", "Reading", "area", "auc", "bound", "mu_of", "sigma_of"]
