"""Encryption with the factors, decryption, and fresh randomness for what is returned.

The holder draws h^r modulo p^2 by a table, with a uniform r, and modulo q as any square: together that is h^r with a
uniform r, as (p - 1) / 2 and (q - 1) / 2 are different primes. Modulo p^2 numbers have half the length of n, and
nothing is raised modulo q. Who lacks the factors makes fresh randomness with exponents longer than n, so that powers of
h are uniform whatever n is, and short ones are not assumed to hide anything from the key's holder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from silo.crypto import cells, powers
from silo.crypto.okamoto_uchiyama import many_powers
from silo.crypto.okamoto_uchiyama.keys import SLACK_BITS, PrivateKey
from silo.crypto.prg import Keystream
from silo.crypto.secret import Secret


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """What one process encrypts. It carries the factors: for processes of the key's holder only."""

    p: int
    q: int
    base: int
    lift: int
    messages: list[int]
    seed: bytes
    more: bytes


def job(private: PrivateKey, messages: list[int], seed: bytes, more: bytes) -> Job:
    """A part of the work, with two seeds of 32 bytes of its own."""
    base, lift = int(private.public.h % private.square), int(-private.generator % private.p)
    return Job(int(private.p), int(private.q), base, lift, messages, seed, more)


def powers_of(private: PrivateKey) -> many_powers.Table:
    """The table of h modulo p^2, which `encrypt_part` looks powers up in. It is as secret as p."""
    base = int(private.public.h % private.square)
    return many_powers.made(base, int(private.square), int(private.p).bit_length() + SLACK_BITS)


def encrypt_part(job: Job, table: many_powers.Table | None = None) -> bytes:
    """The ciphertexts of one part, each of the bytes of n, little-endian.

    Without a table, in a process that helps the key's holder, one is made and kept there until the next key or the end.

    As g^(p - 1) = 1 + p L, g is (1 - p L) times a power of h modulo p^2, and the latter makes no difference to h^r.
    """
    p, q, lift = powers.number(job.p), powers.number(job.q), powers.number(job.lift)
    square = p * p
    back, width = powers.inverse(square, q), (job.p * job.p * job.q).bit_length() // 8
    table = table or _kept(job.base, int(square), job.p.bit_length() + SLACK_BITS)
    hidden = table.random_powers(len(job.messages), Secret(job.seed))
    size = -(-(job.q.bit_length() + SLACK_BITS) // 8)
    drawn = np.empty(size * len(job.messages), np.uint8)
    Keystream(Secret(job.more)).fill(drawn)
    roots = cells.read(drawn.tobytes(), size)
    found = []
    for message, one, root in zip(job.messages, hidden, roots, strict=True):
        low = (1 + message * lift % p * p) * one % square
        root %= q
        found.append(low + (root * root - low) * back % q * square)
    return cells.write(found, width)


_kept = lru_cache(maxsize=1)(many_powers.made)


def decrypt_all(found: Sequence[Any], private: PrivateKey) -> list[int]:
    """Plaintexts below p. They must not be given out before each is known to be in an agreed range."""
    p, square, factor = private.p, private.square, private.factor
    raised = powers.powers([one % square for one in found], p - 1, square)
    return [int((one - 1) // p * factor % p) for one in raised]


def randomise(found: Sequence[Any], n: int, h: int, seed: bytes) -> list[Any]:
    """The same messages under fresh randomness, from a seed of 32 bytes."""
    table = many_powers.table(h, n, n.bit_length() + SLACK_BITS)
    hidden = table.random_powers(len(found), Secret(seed))
    return [one * more % n for one, more in zip(found, hidden, strict=True)]
