"""Exact sums under ring learning with errors, and a key that is the sum of its members' parts.

Sources: Brakerski (CRYPTO 2012), Fan and Vercauteren (eprint 2012/144) for the encryption, with messages scaled as
round(Q m / t); Mouchet, Troncoso-Pastoriza, Bossuat and Hubaux (PETS 2021, eprint 2020/304) for additive keys, partial
decryptions and their flooding. A word is a coefficient; there are no slots.

Adversary: whoever lacks one part of the key learns nothing of a ciphertext (ring learning with errors, in NumPy: not in
constant time). Partial decryptions of one sum of ciphertexts that were made as prescribed give this sum and no more, up
to a statistical distance of 2^-`parameters.flooding_bits` for each coefficient, in the worst case of its noise. Nothing
proves that a ciphertext was made as prescribed: the decryption of another one can give the joint key away to who reads
it. So parts must serve one decryption of one sum under a key of its own, and ciphertexts be kept from who decrypts.
"""
