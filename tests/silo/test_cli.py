"""The command line as people and programs meet it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from silo import cli as module
from silo.charter import Charter
from silo.cli import cli
from silo.identity import Identity
from silo.outbox import Outbox
from tests.silo.federation import MEMBERS, NOW, YEAR, charter, identities, identity, signed

Silo = Callable[..., Result]


@pytest.fixture
def silo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Silo:
    monkeypatch.chdir(tmp_path)
    return lambda *words, **options: CliRunner().invoke(cli, [str(word) for word in words], **options)


def refused(result: Result, code: str, words: str) -> None:
    """One sentence with its code on stderr, exit code 2, nothing else."""
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error [{code}]: ")
    assert words in lines[0]
    assert "Traceback" not in result.output


def federation(silo: Silo, *options: str) -> None:
    """The commands of docs/operations.md, up to the signatures."""
    Path("train.py").write_text("def run(session):\n    return 1\n")
    assert silo("keygen", "mercy", "relay").exit_code == 0
    assert silo("keygen", "clinic", "northside", "--dir", "theirs").exit_code == 0
    made = silo(
        "charter", "new", "Sepsis study", "--relay", "keys/relay/relay.card.toml", "--url", "wss://localhost:8443",
        "--member", "theirs/clinic/clinic.card.toml", "--member", "theirs/northside/northside.card.toml",
        "--identity", "keys/mercy", "--script", "train.py", *options,
    )  # fmt: skip
    assert made.exit_code == 0, made.output


def sign_all(silo: Silo) -> None:
    for name in ("clinic", "northside"):
        assert silo("charter", "sign", "charter.toml", "--identity", f"theirs/{name}").exit_code == 0


def test_a_federation_is_founded(silo: Silo) -> None:
    federation(silo)
    refused(silo("charter", "verify", "charter.toml"), "SILO-402", "clinic, northside")
    sign_all(silo)
    result = silo("charter", "verify", "charter.toml", "--json")
    assert json.loads(result.stdout)["signed_by"] == ["clinic", "mercy", "northside"]
    agreed = Charter.load("charter.toml")
    # The relay's refusal of another charter sends people to compare it.
    assert f"digest {agreed.digest.hex()}" in silo("charter", "verify", "charter.toml").stdout
    agreed.task().allow_script(hashlib.sha256(Path("train.py").read_bytes()).digest())


def test_copies_signed_at_once_are_put_together(silo: Silo) -> None:
    federation(silo)
    for name in ("clinic", "northside"):
        Path(f"{name}.toml").write_bytes(Path("charter.toml").read_bytes())
        assert silo("charter", "sign", f"{name}.toml", "--identity", f"theirs/{name}").exit_code == 0
    assert (
        silo("charter", "sign", "charter.toml", "--add", "clinic.toml", "--add", "northside.toml").exit_code
        == 0
    )
    assert silo("charter", "verify", "charter.toml").exit_code == 0
    refused(silo("charter", "sign", "charter.toml"), "SILO-401", "nothing to do")


def test_a_changed_byte_in_the_charter(silo: Silo) -> None:
    federation(silo)
    sign_all(silo)
    text = Path("charter.toml").read_text()
    Path("charter.toml").write_text(text.replace("clip = 1.0", "clip = 2.0"))
    refused(silo("charter", "verify", "charter.toml"), "SILO-405", "clinic, mercy, northside")
    refused(silo("charter", "show", "charter.toml"), "SILO-405", "changed afterwards")
    Path("charter.toml").write_text(text.replace("[sum]", "[sum]\nsecure = false"))
    refused(silo("charter", "verify", "charter.toml"), "SILO-401", "unknown key 'secure'")


def test_an_expired_charter_and_certificate(silo: Silo, tmp_path: Path) -> None:
    past = NOW - timedelta(days=400)
    aged = {name: identity(tmp_path / "aged", name, now=past) for name in (*MEMBERS, "relay")}
    signed(charter(aged, now=past, expires=past + YEAR), aged).save("expired.toml")
    refused(silo("charter", "verify", "expired.toml"), "SILO-404", "the charter 'Sepsis study' expired")
    assert "expired on" in silo("charter", "show", "expired.toml").stdout
    short = aged | {"mercy": identity(tmp_path / "short", "mercy", now=past, days=30)}
    signed(charter(short, now=past, expires=NOW + YEAR), short).save("short.toml")
    refused(silo("charter", "verify", "short.toml"), "SILO-404", "certificate of mercy")


def test_passphrases(silo: Silo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "correct horse")
    assert silo("keygen", "clinic", "--dir", "theirs", "--passphrase-env", "SECRET").exit_code == 0
    asked = silo("keygen", "asked", "--passphrase-prompt", input="a b\na b\n")
    assert asked.exit_code == 0
    assert "a b" not in asked.output
    assert Identity.load("keys/asked", "a b").name == "asked"
    silo("keygen", "mercy", "relay", "northside")
    made = silo(
        "charter", "new", "Study", "--relay", "keys/relay/relay.card.toml", "--url", "wss://localhost:1",
        "--member", "theirs/clinic/clinic.card.toml", "--member", "keys/northside/northside.card.toml",
        "--member", "keys/mercy/mercy.card.toml",
    )  # fmt: skip
    assert made.exit_code == 0
    sign = ("charter", "sign", "charter.toml", "--identity", "theirs/clinic")
    refused(silo(*sign), "SILO-412", "is under a passphrase")
    refused(silo(*sign, "--passphrase-env", "ABSENT"), "SILO-411", "ABSENT is not set")
    monkeypatch.setenv("WRONG", "wrong horse")
    result = silo(*sign, "--passphrase-env", "WRONG")
    refused(result, "SILO-412", "does not open")
    assert "wrong horse" not in result.output
    assert not Charter.load("charter.toml").signatures
    assert silo(*sign, "--passphrase-env", "SECRET").exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rounds", "0"], "rounds = 0"),
        (["--rows", "-1"], "rows = -1"),
        (["--bytes", "0"], "bytes = 0"),
        (["--bits", "17"], "choose one of 16, 24, 32, 40"),
        (["--bits", "16"], "bits = 16 is too small"),
        (["--clip", "nan"], "clip = nan"),
        (["--threshold", "1"], "threshold = 1"),
        (["--two-party", "whatever"], "remove it"),
        (["--url", "http://x"], "wss://host:port"),
        (["--member", "absent.card.toml"], "cannot be read"),
        (["--script", "absent.py"], "cannot be read"),
        (["--days", "0"], "expires before"),
        (["--receiver", "stranger"], "not a member"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_figures_are_refused_when_the_charter_is_written(
    silo: Silo, tmp_path: Path, options: list[str], words: str
) -> None:
    people = identities(tmp_path / "keys")
    cards = [
        word for name in people if name != "relay" for word in ("--member", f"keys/{name}/{name}.card.toml")
    ]
    given = ["--relay", "keys/relay/relay.card.toml", "--url", "wss://localhost:1", *cards, *options]
    result = silo("charter", "new", "Study", *given)
    refused(result, "SILO-401", words)
    assert not Path("charter.toml").exists()


def test_nothing_is_overwritten(silo: Silo) -> None:
    federation(silo)
    before = Path("charter.toml").read_bytes()
    again = ("charter", "new", "Other", "--relay", "keys/relay/relay.card.toml", "--url", "wss://localhost:1")
    refused(silo(*again), "SILO-401", "already there")
    refused(silo("keygen", "mercy"), "SILO-411", "already holds")
    assert Path("charter.toml").read_bytes() == before
    card = Path("keys/mercy/mercy.card.toml").read_bytes()
    assert silo("keygen", "mercy", "--renew").exit_code == 0
    assert Path("keys/mercy/mercy.card.toml").read_bytes() != card
    refused(
        silo("charter", "sign", "charter.toml", "--identity", "keys/mercy"), "SILO-401", "names another mercy"
    )


def test_a_renewal_says_what_is_new_what_stays_and_what_partners_do(silo: Silo) -> None:
    federation(silo)
    sign_all(silo)
    before = Identity.load("keys/mercy")
    told = silo("keygen", "mercy", "--renew")
    after = Identity.load("keys/mercy")
    assert told.exit_code == 0
    assert after.public == before.public
    assert after.card.fingerprint != before.card.fingerprint
    for word in (
        "a new TLS key and certificate in keys/mercy",
        f"fingerprint {after.card.fingerprint}",
        "stays: the name, the signing key",
        "charters with the old card do not admit mercy any more; partners have nothing to renew",
        "all sign a new charter",
    ):
        assert word in told.stdout
    assert "made in" not in told.stdout
    # It is as it says: the old charter is of no use to mercy, the others need no new keys, and the old pair is kept.
    refused(
        silo("join", "train.py", "--charter", "charter.toml", "--identity", "keys/mercy"),
        "SILO-401",
        "another",
    )
    again = silo(
        "charter", "new", "Sepsis study", "--relay", "keys/relay/relay.card.toml", "--url", "wss://localhost:8443",
        "--member", "theirs/clinic/clinic.card.toml", "--member", "theirs/northside/northside.card.toml",
        "--identity", "keys/mercy", "--script", "train.py", "-o", "new.toml",
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    for name in ("clinic", "northside"):
        assert silo("charter", "sign", "new.toml", "--identity", f"theirs/{name}").exit_code == 0
    assert silo("charter", "verify", "new.toml").exit_code == 0
    for name in ("tls.key", "mercy.card.toml"):
        Path("keys/mercy", f"{name}.old").replace(Path("keys/mercy", name))
    assert Identity.load("keys/mercy").card == before.card
    assert "signing key stay" in " ".join(silo("keygen", "--help").stdout.split())
    assert json.loads(silo("keygen", "mercy", "--renew", "--json").stdout)["identities"][0]["renewed"] is True


def test_show_for_people_and_programs(silo: Silo) -> None:
    federation(silo, "--blinded")
    text = silo("charter", "show", "charter.toml").stdout
    assert "Who learns what" in text
    assert "neither the sum nor the weight" in text
    facts = json.loads(silo("charter", "show", "charter.toml", "--json").stdout)
    assert facts["unsigned"] == ["clinic", "northside"]
    assert facts["tasks"][0]["script"].startswith("sha256:")


def test_the_outbox_is_audited(silo: Silo, tmp_path: Path) -> None:
    mercy = identity(tmp_path, "mercy")
    (tmp_path / "mercy" / "state").mkdir()
    with Outbox.open(tmp_path / "mercy" / "state" / "outbox.db", "mercy") as outbox:
        for place in range(5):
            outbox.record(
                session=b"s", round=place, recipient="relay", kind="Upload", protection="masked",
                size=1000, digest=bytes(32),
            )  # fmt: skip
        line = str(outbox.seal_head(mercy))
    result = silo(
        "audit", "outbox", "mercy", "--card", "mercy/mercy.card.toml", "--head", line, "--html", "page.html"
    )
    assert result.exit_code == 0
    assert "5,000 bytes" in result.stdout
    assert "verified: all 5 entries" in result.stdout
    assert "<table>" in Path("page.html").read_text()
    facts = json.loads(silo("audit", "outbox", "mercy", "--json").stdout)
    assert (facts["verified"], facts["bytes"], facts["sent"][0]["protection"]) == (True, 5000, "masked")
    connection = sqlite3.connect(tmp_path / "mercy" / "state" / "outbox.db")
    connection.execute("DELETE FROM sent WHERE sequence = 3")
    connection.commit()
    connection.close()
    broken = silo("audit", "outbox", "mercy")
    assert broken.exit_code == 1
    assert "error [SILO-421]: entry 3" in broken.stderr
    assert "missing" in broken.stdout
    refused(silo("audit", "outbox", "nowhere"), "SILO-101", "there is no outbox")


def test_mistakes_are_one_sentence(silo: Silo) -> None:
    refused(silo("nope"), "SILO-102", "nope")
    refused(silo("keygen"), "SILO-102", "NAME")
    refused(silo("keygen", "Bad Name"), "SILO-101", "cannot be a name")
    refused(silo("charter", "show", "absent.toml"), "SILO-401", "cannot be read")
    refused(silo("explain", "x"), "SILO-101", "is not an error code")
    assert silo("--help").exit_code == 0
    assert silo().exit_code == 2


def test_a_surprise_shows_no_value_of_a_record(silo: Silo, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise KeyError("patient 4711")

    monkeypatch.setattr(module, "COMMANDS", {"keygen": "…"})
    monkeypatch.setattr("silo.cli.keygen.keygen", broken, raising=True)
    result = silo("keygen")
    assert result.exit_code == 1
    assert "4711" not in result.output
    assert result.stderr.startswith("error [SILO-000]: KeyError")
    assert len(result.stderr.splitlines()) <= 5
    debugged = silo("--debug", "keygen")
    assert isinstance(debugged.exception, KeyError)


def test_explain_prints_the_page(silo: Silo) -> None:
    assert "silo charter sign" in silo("explain", "SILO-402").stdout
    assert json.loads(silo("explain", "silo-402", "--json").stdout)["code"] == "SILO-402"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom silo.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = ('numpy', 'torch', 'rich', 'cryptography', 'tomlkit', 'websockets')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "charter" in done.stdout


def test_the_command_itself(tmp_path: Path) -> None:
    silo = Path(sys.executable).with_name("silo")
    done = subprocess.run(
        [silo, "charter", "verify", "absent.toml"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error [SILO-401]: ")
    assert done.stdout == ""
    version = subprocess.run([silo, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("silo ")
