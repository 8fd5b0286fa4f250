"""Paillier's cryptosystem in the form of Damgård, Jurik and Nielsen, packed: exact sums under one holder's key.

Source: Damgård, Jurik and Nielsen, "A generalization of Paillier's public-key system with applications to electronic
voting", Int. J. Inf. Secur. 9 (2010), section 4.2, with s = 1. A ciphertext of m is (1 + n)^m h_s^r mod n^2, where
h_s = h^n mod n^2 and h = -x^2: exponents r are short, and the base is fixed, so that a table of its powers serves all.

Adversary: whoever lacks the factors learns nothing of m (decisional composite residuosity, and that short exponents
are as good as long ones). Adding is open to everybody; nothing here says whose summand it was.
"""
