"""`silo doctor`: tell apart what can keep this machine from taking part."""

from __future__ import annotations

from pathlib import Path

import click

from silo.cli import output

_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED ", "skipped": "skipped"}


@click.command()
@click.option("--charter", "charter_path", metavar="FILE", help="Also test the way to the charter's relay.")
@click.option("--identity", "identity_path", metavar="DIR", help="Also test whether the relay admits you.")
@output.passphrase_options
@output.json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    charter_path: str | None,
    identity_path: str | None,
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> None:
    """Check this machine, and with --charter the way to the relay. Exit code 1 when something fails."""
    from silo import doctor as bench
    from silo import expiry
    from silo.charter import Charter
    from silo.doctor import machine, network
    from silo.identity import Identity

    now = expiry.utc_now()
    words = output.passphrase(passphrase_env, passphrase_prompt)
    charter = Charter.read(charter_path) if charter_path else None
    identity = Identity.load(identity_path, words) if identity_path else None
    findings = [machine.check_version(), machine.check_extras(), machine.check_processor()]
    findings.append(machine.check_disk(Path(identity_path or ".")))
    if identity is not None:
        findings.append(machine.check_identity(identity, charter))
    if charter is not None:
        findings += [machine.check_charter(charter, now), machine.check_clock(charter, now)]
        findings += network.check_route(charter, identity, now)
    letter = network.for_the_network_team(charter) if charter else None
    if as_json:
        rows = [{name: getattr(finding, name) for name in finding.__slots__} for finding in findings]
        output.emit_json({"ok": bench.worst(findings) == 0, "findings": rows, "network_team": letter})
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.state]}  {finding.check}: {finding.found}")
            if finding.advice:
                click.echo(f"{'':9}{finding.advice}")
        if letter:
            click.echo(f"\n{letter}")
    ctx.exit(bench.worst(findings))
