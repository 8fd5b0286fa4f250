"""Exact sums under ring learning with errors, and a key that is the sum of its members' parts.

Sources: Brakerski (CRYPTO 2012), Fan and Vercauteren (eprint 2012/144) for the encryption, with messages scaled as
round(Q m / t); Mouchet, Troncoso-Pastoriza, Bossuat and Hubaux (PETS 2021, eprint 2020/304) for additive keys, partial
decryptions and their flooding. A word is a coefficient; there are no slots.

Adversary: whoever lacks one part of the key learns nothing of a ciphertext (ring learning with errors, in NumPy: not in
constant time). Partial decryptions of one sum give this sum and no more, up to a statistical distance of
2^-`parameters.flooding_bits`; a part must serve one decryption of one ciphertext.
"""
