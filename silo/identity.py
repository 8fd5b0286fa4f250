"""Who an organisation is: an Ed25519 signing key and a TLS certificate, in one private directory.

    keys/mercy/signing.key      private (0600), TOML; the key in it is sealed when there is a passphrase
    keys/mercy/tls.key          private (0600), PEM
    keys/mercy/mercy.card.toml  public: what partners get

One scrypt of the passphrase (N = 2^17, r = 8, p = 1: 128 MiB, a third of a second) gives the key that seals
the signing key, and the random-looking password of the PEM file; so PEM's own weaker stretching is no shorter
way to the passphrase. The certificate is P-256, which every TLS stack and inspecting proxy can parse;
it is self-signed and trusted by being pinned, never through an authority.
"""

from __future__ import annotations

import os
import ssl
import stat
import tomllib
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.x509.oid import NameOID

from silo import expiry, private_file
from silo.card import Card, check_name
from silo.crypto import aead, labels
from silo.crypto.errors import refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.crypto.signing import SigningKey
from silo.errors import DecryptionFailed, FilesTooOpen, IdentityError, WrongPassphrase

VALID_DAYS: Final = 730
SIGNING_FILE: Final = "signing.key"
TLS_FILE: Final = "tls.key"
_FORMAT: Final = 1
_SCRYPT_N: Final = 2**17
_MAX_FILE: Final = 16 * 1024


@final
class Identity:
    """An organisation's keys, loaded. Secrets stay redacted, and the object cannot be pickled."""

    __slots__ = ("_signing", "_tls_password", "card", "directory")

    def __init__(self, card: Card, directory: Path, signing: SigningKey, tls_password: Secret | None) -> None:
        self.card = card
        self.directory = directory
        self._signing = signing
        self._tls_password = tls_password

    @classmethod
    def create(
        cls,
        name: str,
        directory: str | Path,
        *,
        passphrase: str | None,
        rng: Rng,
        now: datetime,
        days: int = VALID_DAYS,
    ) -> Identity:
        """Make new keys in `directory`, which must not hold an identity yet. Raises `IdentityError`."""
        check_name(name)
        if passphrase == "":
            raise IdentityError("the passphrase is empty: give one, or leave the option away")
        home = Path(directory)
        _make_private_directory(home)
        signing = SigningKey.generate(rng=rng)
        text, password = _seal_signing(name, signing, passphrase, rng=rng)
        card = _new_tls(name, signing.public, home, password, now, days)
        _write_private(home / SIGNING_FILE, text.encode())
        return cls(card, home, signing, password)

    @classmethod
    def load(cls, directory: str | Path, passphrase: str | None = None) -> Identity:
        """Read an identity. Raises `WrongPassphrase`, `FilesTooOpen` or another `IdentityError`."""
        home = Path(directory)
        table = _read_signing(home / SIGNING_FILE)
        name = table["name"]
        signing, password = _open_signing(table, home, passphrase)
        card = Card.load(home / f"{name}.card.toml")
        if (card.name, card.key) != (name, signing.public):
            raise IdentityError(
                f"the card in {home} is not the one of its signing key: restore both from one backup"
            )
        tls_key = _read_private(home / TLS_FILE)
        try:
            secret = serialization.load_pem_private_key(tls_key, password.reveal() if password else None)
        except (ValueError, TypeError):
            raise IdentityError(
                f"{home / TLS_FILE} does not open with the signing key's passphrase: restore it"
            ) from None
        if secret.public_key() != card.x509.public_key():
            raise IdentityError(
                f"the TLS key in {home} is not the one of its certificate: restore both from one backup"
            )
        return cls(card, home, signing, password)

    def renew(self, *, now: datetime, days: int = VALID_DAYS) -> Identity:
        """Make a new TLS key and certificate and keep the signing key; a new charter is then needed."""
        for path in (self.directory / TLS_FILE, self.directory / f"{self.name}.card.toml"):
            path.replace(path.with_name(path.name + ".old"))
        card = _new_tls(self.name, self.public, self.directory, self._tls_password, now, days)
        return Identity(card, self.directory, self._signing, self._tls_password)

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def public(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        return self.card.key

    @property
    def signing(self) -> SigningKey:
        """The key that signs messages and charters."""
        return self._signing

    def sign(self, label: bytes, message: bytes) -> bytes:
        """Sign a message under one of `labels`; 64 bytes."""
        return self._signing.sign(label, message)

    def warnings(self, now: datetime) -> list[str]:
        """Sentences about a certificate that ends within 60, 30 or 7 days."""
        found = expiry.warning(f"the certificate of {self.name}", self.card.expires, now)
        return [found] if found else []

    def ssl_client_context(self, trusted_pems: Iterable[str] = ()) -> ssl.SSLContext:
        """TLS 1.3 towards a relay that presents one of the pinned certificates.

        Without pins the system's certificate authorities decide, and check the host name: only for a charter
        that allows interception, because the relay then proves its signing key inside the tunnel.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        pins = "".join(trusted_pems)
        if pins:
            # The pin is the name: a certificate that is not in the charter is refused whatever it is called.
            context.check_hostname = False
            context.load_verify_locations(cadata=pins)
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return self._finish(context)

    def ssl_server_context(self, trusted_pems: Iterable[str]) -> ssl.SSLContext:
        """TLS 1.3 for a relay that admits only clients with one of the pinned certificates."""
        pins = "".join(trusted_pems)
        if not pins:
            raise IdentityError("a relay needs the certificates of its members: the charter names none")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pins)
        return self._finish(context)

    def _finish(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        password = self._tls_password.reveal() if self._tls_password else b""
        try:
            # A callable always: without one OpenSSL would ask at the terminal and hang a service.
            # The card holds the certificate; OpenSSL reads past the lines around it.
            context.load_cert_chain(
                self.directory / f"{self.name}.card.toml", self.directory / TLS_FILE, lambda: password
            )
        except (OSError, ssl.SSLError) as problem:
            raise IdentityError(
                f"the TLS key in {self.directory} cannot be used ({type(problem).__name__})"
            ) from None
        return context

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.card.fingerprint})"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def _new_tls(name: str, public: bytes, home: Path, password: Secret | None, now: datetime, days: int) -> Card:
    # The TLS key comes from OpenSSL's own generator: nothing of a protocol is derived from it.
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # partners' clocks may be a little behind
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password.reveal())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    _write_private(home / TLS_FILE, pem)
    card = Card(name, public, certificate.public_bytes(serialization.Encoding.PEM).decode())
    (home / f"{name}.card.toml").write_text(card.to_toml(), encoding="utf-8")
    return card


def _stretch(passphrase: str, salt: bytes) -> tuple[Secret, Secret]:
    derived = Scrypt(salt=salt, length=64, n=_SCRYPT_N, r=8, p=1).derive(passphrase.encode())
    return Secret(derived[:32]), Secret(derived[32:].hex().encode())


def _associated(name: str, public: bytes, salt: bytes) -> bytes:
    return labels.bind(labels.IDENTITY_FILE, _FORMAT, name, public, salt, _SCRYPT_N)


def _seal_signing(
    name: str, signing: SigningKey, passphrase: str | None, *, rng: Rng
) -> tuple[str, Secret | None]:
    head = f'# Private: never send or copy this file.\nformat = {_FORMAT}\nname = "{name}"\n'
    head += f'public = "{signing.public.hex()}"\n'
    if passphrase is None:
        return f'{head}secret = "{signing.secret.reveal().hex()}"\n', None
    salt = rng.bytes(32)
    key, password = _stretch(passphrase, salt)
    sealed = aead.seal(key, signing.secret.reveal(), _associated(name, signing.public, salt), rng=rng)
    return f'{head}salt = "{salt.hex()}"\nsealed = "{sealed.hex()}"\n', password


def _read_signing(path: Path) -> dict[str, str]:
    raw = _read_private(path)
    try:
        table = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        raise IdentityError(f"{path} is damaged: restore it from a backup") from None
    if table.pop("format", None) != _FORMAT:
        raise IdentityError(f"{path} has a form that this version of Silo does not know")
    fields = set(table)
    if fields not in ({"name", "public", "secret"}, {"name", "public", "salt", "sealed"}) or not all(
        isinstance(value, str) for value in table.values()
    ):
        raise IdentityError(f"{path} is damaged: restore it from a backup")
    check_name(table["name"])
    return table


def _open_signing(
    table: dict[str, str], home: Path, passphrase: str | None
) -> tuple[SigningKey, Secret | None]:
    password: Secret | None = None
    try:
        public = bytes.fromhex(table["public"])
        if "secret" in table:
            secret = Secret(bytes.fromhex(table["secret"]))
        else:
            if passphrase is None:
                raise WrongPassphrase(
                    f"the identity in {home} is under a passphrase: give it, "
                    "on the command line by --passphrase-prompt or --passphrase-env VARIABLE"
                )
            salt = bytes.fromhex(table["salt"])
            key, password = _stretch(passphrase, salt)
            secret = Secret(
                aead.unseal(key, bytes.fromhex(table["sealed"]), _associated(table["name"], public, salt))
            )
        signing = SigningKey.from_secret(secret)
    except DecryptionFailed:
        raise WrongPassphrase(f"the passphrase does not open the identity in {home}: try again") from None
    except ValueError:
        raise IdentityError(f"{home / SIGNING_FILE} is damaged: restore it from a backup") from None
    if signing.public != public:
        raise IdentityError(
            f"{home / SIGNING_FILE} is damaged: its two keys are not a pair; restore it from a backup"
        )
    return signing, password


def _make_private_directory(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (home / SIGNING_FILE).exists():
            raise IdentityError(f"{home} already holds an identity: use it, or name another directory")
        home.chmod(0o700)
    except OSError as problem:
        raise IdentityError(f"the directory {home} cannot be made: {problem.strerror}") from None


def _write_private(path: Path, content: bytes) -> None:
    try:
        with private_file.creating(path) as file:
            file.write(content)
    except OSError as problem:
        raise IdentityError(f"{path} cannot be written: {problem.strerror}") from None


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            # Windows has no such bits: its directories are private to the user by their access lists.
            if os.name == "posix" and mode & 0o077:
                raise FilesTooOpen(f"{path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`")
            return file.read(_MAX_FILE)
    except FileNotFoundError:
        raise IdentityError(
            f"{path} is not there: run `silo keygen NAME`, or point to the identity's directory"
        ) from None
    except OSError as problem:
        raise IdentityError(f"{path} cannot be read: {problem.strerror}") from None
