from __future__ import annotations

import copy
import pickle
import socket
import ssl
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from silo import expiry
from silo.card import Card
from silo.crypto import labels, signing
from silo.crypto.rng import SystemRng
from silo.errors import (
    CharterError,
    Expired,
    FilesTooOpen,
    IdentityError,
    InvalidSignature,
    ParameterError,
    WrongPassphrase,
)
from silo.identity import Identity
from tests.silo.federation import NOW, identity


def test_what_is_loaded_is_what_was_made(tmp_path: Path) -> None:
    made = identity(tmp_path, "mercy")
    loaded = Identity.load(tmp_path / "mercy")
    assert loaded.card == made.card == Card.load(tmp_path / "mercy" / "mercy.card.toml")
    signature = loaded.sign(labels.CHARTER_SIGNATURE, b"words")
    signing.verify(made.public, labels.CHARTER_SIGNATURE, b"words", signature)
    with pytest.raises(InvalidSignature):
        signing.verify(made.public, labels.ENVELOPE, b"words", signature)


def test_private_files_are_private(tmp_path: Path) -> None:
    home = identity(tmp_path, "mercy").directory
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("signing.key", "tls.key"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["signing.key", "tls.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_files_that_others_can_read_are_refused(tmp_path: Path, name: str, mode: int) -> None:
    home = identity(tmp_path, "mercy").directory
    (home / name).chmod(mode)
    with pytest.raises(FilesTooOpen, match=f"chmod 600 .*{name}"):
        Identity.load(home)


def test_the_passphrase_opens_both_keys_and_nothing_else_does(tmp_path: Path) -> None:
    made = identity(tmp_path, "mercy", passphrase="correct horse")
    secret = made.signing.secret.reveal()
    for path in made.directory.iterdir():
        assert secret not in path.read_bytes()
        assert secret.hex().encode() not in path.read_bytes()
    assert b"ENCRYPTED" in (made.directory / "tls.key").read_bytes()
    assert Identity.load(made.directory, "correct horse").public == made.public
    with pytest.raises(WrongPassphrase, match="does not open"):
        Identity.load(made.directory, "wrong horse")
    with pytest.raises(WrongPassphrase, match="is under a passphrase"):
        Identity.load(made.directory)
    # The PEM's password is not the passphrase: guessing there would skip the slow derivation.
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            made.directory / "mercy.card.toml", made.directory / "tls.key", "correct horse"
        )


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    made = identity(tmp_path, "mercy")
    with pytest.raises(IdentityError, match="already holds"):
        identity(tmp_path, "mercy")
    assert Identity.load(made.directory).card == made.card


def test_secrets_are_not_shown_copied_or_pickled(tmp_path: Path) -> None:
    made = identity(tmp_path, "mercy", passphrase="correct horse")
    secret = made.signing.secret.reveal().hex()
    assert secret not in repr(made)
    assert "correct horse" not in repr(made)
    with pytest.raises(TypeError):
        pickle.dumps(made)
    with pytest.raises(TypeError):
        copy.deepcopy(made)


@pytest.mark.parametrize("name", ["", "Mercy", "a b", "a" * 33, "../x", "-a", "everybody", "ä"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="cannot be a name"):
        identity(tmp_path, name)


def test_mixed_up_files_are_found(tmp_path: Path) -> None:
    one, other = identity(tmp_path, "mercy"), identity(tmp_path / "more", "mercy")
    (one.directory / "mercy.card.toml").write_text(other.card.to_toml())
    other_tls = (other.directory / "tls.key").read_bytes()
    if other.public == one.public:  # the same seed: then it is the TLS key that differs
        with pytest.raises(IdentityError, match="TLS key"):
            Identity.load(one.directory)
    (one.directory / "mercy.card.toml").write_text(one.card.to_toml())
    (one.directory / "tls.key").write_bytes(other_tls)
    with pytest.raises(IdentityError, match="TLS key"):
        Identity.load(one.directory)
    with pytest.raises(IdentityError, match="silo keygen"):
        Identity.load(tmp_path / "nobody")


@pytest.mark.parametrize("change", ["public", "secret", "name", "format"])
def test_a_damaged_signing_file_is_one_sentence(tmp_path: Path, change: str) -> None:
    home = identity(tmp_path, "mercy").directory
    path = home / "signing.key"
    lines = path.read_text().splitlines()
    lines = [f'{change} = "x"' if line.startswith(f"{change} =") else line for line in lines]
    path.write_text("\n".join(lines))
    with pytest.raises((IdentityError, CharterError)) as caught:
        Identity.load(home)
    assert "\n" not in str(caught.value)


def test_a_sealed_key_is_bound_to_its_name(tmp_path: Path) -> None:
    home = identity(tmp_path, "mercy", passphrase="x").directory
    path = home / "signing.key"
    path.write_text(path.read_text().replace('"mercy"', '"clinic"'))
    with pytest.raises(WrongPassphrase):
        Identity.load(home, "x")


def test_renewal_keeps_the_key_and_changes_the_certificate(tmp_path: Path) -> None:
    made = identity(tmp_path, "mercy", days=5)
    (warning,) = made.warnings(NOW)
    assert f"the certificate of mercy expires on {made.card.expires:%Y-%m-%d}, within 7 days" in warning
    renewed = made.renew(now=NOW)
    assert renewed.public == made.public
    assert renewed.card.der != made.card.der
    assert not renewed.warnings(NOW)
    assert Identity.load(made.directory).card == renewed.card


@pytest.mark.parametrize(
    ("days", "words"),
    [(61, None), (60, "within 60"), (31, "within 60"), (29, "within 30"), (7, "within 7 "), (0, "expired")],
)
def test_warnings_come_at_60_30_and_7_days(days: int, words: str | None) -> None:
    sentence = expiry.warning("it", NOW + timedelta(days=days), NOW)
    assert (sentence is None) if words is None else (sentence is not None and words in sentence)


def test_cards_are_read_strictly(tmp_path: Path) -> None:
    card = identity(tmp_path, "mercy").card
    text = card.to_toml()
    assert Card.from_toml(text, "card") == card
    for broken, words in (
        (text + 'extra = "x"\n', "unknown key 'extra'"),
        (text.replace("mercy", "clinic"), "was not made for that name"),
        (text.replace(card.key.hex(), "00"), "32 bytes"),
        (text.replace("BEGIN CERT", "BEGIN BERT"), "PEM"),
        ("name = 1", "all text"),
        ("[", "not TOML"),
    ):
        with pytest.raises(CharterError, match=words):
            Card.from_toml(broken, "card")
    (tmp_path / "huge").write_bytes(b"#" * 20_000)
    with pytest.raises(CharterError, match="larger"):
        Card.load(tmp_path / "huge")


def test_a_certificate_holds_between_its_dates(tmp_path: Path) -> None:
    card = identity(tmp_path, "mercy").card
    card.check_valid(NOW)
    with pytest.raises(Expired, match="silo keygen mercy --renew"):
        card.check_valid(NOW + timedelta(days=731))
    with pytest.raises(CharterError, match="set the clock"):
        card.check_valid(NOW - timedelta(days=1))


def test_the_fingerprint_depends_on_everything_in_the_card(tmp_path: Path) -> None:
    one = identity(tmp_path, "mercy")
    other = identity(tmp_path, "clinic")
    swapped = Card("mercy", other.public, one.card.certificate)
    assert len({one.card.fingerprint, other.card.fingerprint, swapped.fingerprint}) == 3


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[bytes | None, object]:
    """What the client reads after a handshake over a real socket pair, and how the server fared."""
    here, there = socket.socketpair()
    here.settimeout(5)
    there.settimeout(5)
    fared: list[object] = []

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as tunnel:
                tunnel.sendall(b"welcome")
                fared.append(tunnel.version())
        except OSError as problem:
            fared.append(problem)
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname="localhost") as tunnel:
            answer: bytes | None = tunnel.recv(16)
    except OSError:
        answer = None
        here.close()
    thread.join()
    return answer, fared[0]


def test_tls_admits_the_pinned_and_nobody_else(tmp_path: Path) -> None:
    relay = identity(tmp_path, "relay", passphrase="r")
    mercy, stranger = identity(tmp_path, "mercy", passphrase="m"), identity(tmp_path, "stranger")
    door = relay.ssl_server_context([mercy.card.certificate])
    pins = [relay.card.certificate]
    assert shake_hands(door, mercy.ssl_client_context(pins)) == (b"welcome", "TLSv1.3")
    refused, reason = shake_hands(door, stranger.ssl_client_context(pins))
    assert refused is None
    assert isinstance(reason, ssl.SSLError)
    # A relay of the same name with another key, and a client without pins that asks the system's authorities.
    false_relay = identity(tmp_path / "false", "relay", rng=SystemRng())
    false_door = false_relay.ssl_server_context([mercy.card.certificate])
    assert shake_hands(false_door, mercy.ssl_client_context(pins))[0] is None
    assert shake_hands(door, mercy.ssl_client_context())[0] is None


def test_a_relay_without_members_opens_to_nobody(tmp_path: Path) -> None:
    with pytest.raises(IdentityError):
        identity(tmp_path, "relay").ssl_server_context([])


def test_older_tls_is_refused(tmp_path: Path) -> None:
    relay, mercy = identity(tmp_path, "relay"), identity(tmp_path, "mercy")
    client = mercy.ssl_client_context([relay.card.certificate])
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(relay.ssl_server_context([mercy.card.certificate]), client)[0] is None
