"""Local training with differential privacy: DP-SGD (Abadi et al., CCS 2016) on Opacus' per-sample gradients.

Everything that Opacus derives from the data set's size is a declared public constant here, sampling and noise come
from the cryptographic generator, and no noise is drawn that the ledger was not charged for before.
"""
