"""`silo keygen`: make identities, or renew the certificate of one."""

from __future__ import annotations

from pathlib import Path

import click

from silo.cli import output


@click.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--dir", "directory", default="keys", show_default=True, help="Where DIR/NAME is made.")
@click.option(
    "--renew", is_flag=True, help="Make a new certificate for an identity that is there; its key stays."
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
    """Make an identity for each NAME on this machine. Only its card is sent to others."""
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
        }
        for identity in made
    ]
    if as_json:
        output.emit_json({"identities": facts})
        return
    for fact in facts:
        click.echo(
            f"{fact['name']}: made in {fact['directory']}, private, valid until {str(fact['expires'])[:10]}"
        )
        click.echo(f"  send this card to the coordinator: {fact['card']}")
        click.echo(f"  and read its fingerprint by telephone: {fact['fingerprint']}")
