"""Okamoto and Uchiyama's cryptosystem: sums under one holder's key, with numbers half as long as Paillier's.

Source: Okamoto and Uchiyama, "A new public-key cryptosystem as secure as factoring", EUROCRYPT 1998. n = p^2 q, and a
ciphertext of m < p is g^m h^r mod n with h = g^n. Only the holder of the key encrypts here, and it does so with the
factors: what comes out has the distribution of the paper's ciphertexts with a uniform r, up to 2^-63. Nothing is
assumed of short exponents.

Assumption: that of the p-subgroup (encryptions of 0 and 1 cannot be told apart without p), and so that p^2 q is not
factored. `keys` says what the sizes mean. Adversary: whoever lacks the factors learns nothing of m.

A decryption must never be given out unchecked: that of g^m with m > p is m mod p, and gcd(n, m - (m mod p)) is p. Every
caller here refuses what is out of an agreed range that leaves 48 bits of p empty, before anything is given out.
"""
