"""What runs beside a split training: the meter of what gradients tell of labels, and the watch against a hijack.

`Meter` runs where the labels are, a host's `watch`, after its `rehearsal`, where a bottom is. Generators are torch's,
seeded from the `rng` that is handed in: they draw weights and made-up labels, and nothing that they draw protects
anybody.
"""

from silo.leak.auc import Area, area, auc
from silo.leak.bound import bound, mu_of, sigma_of
from silo.leak.meter import Meter
from silo.leak.reading import Attack, Reading

__all__ = ["Area", "Attack", "Meter", "Reading", "area", "auc", "bound", "mu_of", "sigma_of"]
