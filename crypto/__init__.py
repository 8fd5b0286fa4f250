"""The crypto floor: schemes and primitives. No party, round or file is known here.

Randomness is a keyword argument `rng` without default; secrets are `Secret` and leave it only by `reveal()`.
Python integers and NumPy do not run in constant time: what leaks through the processor's caches and clocks to
somebody on the same machine is out of scope (SECURITY.md).
"""
