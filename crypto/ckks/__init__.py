"""Sums under CKKS (Cheon, Kim, Kim, Song, ASIACRYPT 2017; eprint 2016/421, section 3), with TenSEAL's SEAL.

One holder has the key; an aggregator without it adds ciphertexts. The words are whole numbers, put into the
slots at a scale that leaves the noise far below one step, and decryption rounds: what is released is the
exact sum, without the noise that gives CKKS keys away (Li and Micciancio, eprint 2020/1533, IND-CPA-D).

Adversary: whoever reads ciphertexts and public keys learns nothing without the private key, under ring
learning with errors. What this does *not* withstand is a chosen ciphertext: a sender or an aggregator who
can hand the holder anything, and learns what it decrypted to, can steer it so that the plaintext depends on
the key. Every value must therefore lie within the noise of honest summands of a whole number, every
ciphertext must count the summands that were announced, and what fits neither is not released. A place that
is steered at will passes with a chance of about 1.4e-6 (32 bits, 3 summands) or 3e-16 (16 bits). That a
decryption failed is a bit about the key too: after `DecryptionFailed` take a new key, and tell the others
only that it failed. Nor can the holder tell one member's ciphertext, padded with encrypted zeros, from a sum: an
aggregator that does this, and is shown the result, reads that member.

Time: SEAL's arithmetic does not branch on secrets by design, but nothing here was measured for it.
"""
