from __future__ import annotations

from silo.crypto import aead, keys, parameters, prg, shamir


def test_every_set_names_a_source_and_reaches_its_level() -> None:
    for one in parameters.ALL:
        assert one.source
        assert 112 <= one.security_bits <= 256
    assert len({one.name for one in parameters.ALL}) == len(parameters.ALL)


def test_the_sets_say_what_the_code_does() -> None:
    assert f"{prg.SEED_BYTES}-byte seed" in parameters.PRG_AES128_CTR.name
    assert aead.NONCE_BYTES * 8 == 96
    assert (
        f"{aead.NONCE_BYTES * 8}-bit nonce, {aead.TAG_BYTES * 8}-bit tag" in parameters.AEAD_AES256_GCM.name
    )
    assert aead.KEY_BYTES == keys.KEY_BYTES == 32
    assert f"2^256 + {shamir.PRIME - 2**256} elements" in parameters.SHAMIR_P257.name
