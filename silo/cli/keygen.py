"""`silo keygen`: make identities, or renew the certificate of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from silo.cli import output


@click.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--dir", "directory", default="keys", show_default=True, help="Where DIR/NAME is made.")
@click.option(
    "--renew",
    is_flag=True,
    help="Replace the TLS certificate of an identity that is there; name and signing key stay. Charters with the old "
    "card are of no use to it any more: all sign a new one.",
)
@output.passphrase_options
@output.json_option
def keygen(
    names: tuple[str, ...],
    directory: str,
    renew: bool,
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> None:
    """Make an identity for each NAME on this machine, or renew its certificate. Only its card is sent to others."""
    from silo import expiry
    from silo.card import check_name
    from silo.crypto.rng import SystemRng
    from silo.identity import Identity

    for name in names:
        check_name(name)
    words = output.passphrase(passphrase_env, passphrase_prompt, confirm=not renew)
    made: list[Identity] = []
    now = expiry.utc_now()
    for name in names:
        home = Path(directory) / name
        if renew:
            made.append(Identity.load(home, words).renew(now=now))
        else:
            made.append(Identity.create(name, home, passphrase=words, rng=SystemRng(), now=now))
    facts = [
        {
            "name": identity.name,
            "directory": str(identity.directory),
            "card": str(identity.directory / f"{identity.name}.card.toml"),
            "fingerprint": identity.card.fingerprint,
            "expires": identity.card.expires.isoformat(),
            "passphrase": words is not None,
            "renewed": renew,
        }
        for identity in made
    ]
    if as_json:
        output.emit_json({"identities": facts})
        return
    for fact in facts:
        for line in _renewed(fact) if renew else _made(fact):
            click.echo(line)


def _made(fact: dict[str, Any]) -> list[str]:
    return [
        f"{fact['name']}: made in {fact['directory']}, private, valid until {fact['expires'][:10]}",
        f"  send this card to the coordinator: {fact['card']}",
        f"  and read its fingerprint by telephone: {fact['fingerprint']}",
    ]


def _renewed(fact: dict[str, Any]) -> list[str]:
    name = fact["name"]
    return [
        f"{name}: a new TLS key and certificate in {fact['directory']}, valid until {fact['expires'][:10]}",
        f"  new:   the card {fact['card']}, fingerprint {fact['fingerprint']}; the old card and TLS key stay as .old",
        "  stays: the name, the signing key and its passphrase, the journal, the outbox, the ledger",
        f"  now:   charters with the old card do not admit {name} any more; partners have nothing to renew",
        "  next:  send the new card to the coordinator, read its fingerprint by telephone, and all sign a new charter",
    ]
