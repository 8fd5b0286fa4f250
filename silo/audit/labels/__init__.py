"""The simulated attacks of `silo audit labels`, on a split training of its own.

Generators are torch's, seeded from the `rng` that is handed in: they draw simulated noise, weights and orders of rows,
and nothing that they draw protects anybody. What runs beside a fit is in `silo.leak`.
"""
