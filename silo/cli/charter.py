"""`silo charter new | sign | verify | show`."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silo.cli import output

if TYPE_CHECKING:
    from silo.charter import Charter, Intersection, Privacy, Vertical

_WITHOUT = "none"
"""What `--noised` says where neither direction of split learning needs noise."""


@click.group()
def charter() -> None:
    """Write, sign, verify or show the agreement."""


@charter.command()
@click.argument("name")
@click.option("--relay", required=True, metavar="CARD", help="The relay's card.")
@click.option("--url", required=True, metavar="wss://HOST:PORT", help="Where members dial it.")
@click.option("--member", "cards", multiple=True, metavar="CARD", help="A member's card; once for each.")
@click.option("--identity", metavar="DIR", help="Your identity: it becomes a member and signs at once.")
@click.option("-o", "--out", default="charter.toml", show_default=True, metavar="FILE")
@click.option("--days", default=365, show_default=True, help="Until the charter and its task expire.")
@click.option("--task", default="main", show_default=True, help="Name of the task.")
@click.option("--script", metavar="FILE", help="The script that the task allows; its digest goes in.")
@click.option("--rounds", default=100, show_default=True, help="Most rounds of the task.")
@click.option("--rows", default=100_000, show_default=True, help="Most rows of one member.")
@click.option("--bytes", "size", default=10**10, show_default=True, help="Most bytes that one member sends.")
@click.option(
    "--sum",
    "protocol",
    type=click.Choice(["masking", "paillier", "ckks", "lattice"]),
    default="masking",
    show_default=True,
    help="How values are added; docs/choosing-a-sum.md compares the four.",
)
@click.option(
    "--sum-key",
    metavar="MEMBER:sha256:HEX",
    help="Who holds the key of paillier or ckks: what `silo charter key` printed there.",
)
@click.option("--clip", default=1.0, show_default=True, help="Largest absolute value of an entry.")
@click.option("--bits", default=32, show_default=True, help="Bits of an entry on the wire: 16, 24, 32 or 40.")
@click.option("--overflow", type=click.Choice(["refuse", "saturate"]), default="refuse", show_default=True)
@click.option("--blinded", is_flag=True, help="The relay does not learn the sum either.")
@click.option("--graph", type=int, help="Even degree of the mask graph, for some 100 members and more.")
@click.option("--threshold", type=int, help="Members that must answer; usually 2/3 of them and one.")
@click.option("--cohort", type=int, help="Fewest members in a sum.")
@click.option("--colluders", type=int, help="Members that may side with the relay.")
@click.option(
    "--changed-cohort",
    type=click.Choice(["refuse", "allow"]),
    default="refuse",
    show_default=True,
    help="Whether the same values may be summed again over other members.",
)
@click.option(
    "--receiver", "receivers", multiple=True, metavar="NAME", help="Who gets results; all by default."
)
@click.option(
    "--privacy",
    "policies",
    multiple=True,
    metavar="MEMBER:DATASET:EPSILON:DELTA[:UNIT]",
    help="A member's privacy budget, for all that is ever released of the data set.",
)
@click.option(
    "--without-noise",
    type=click.Choice(["refuse", "record"]),
    default="refuse",
    show_default=True,
    help="What happens to a number that would leave a data set with a budget without noise.",
)
@click.option(
    "--intersection",
    metavar="REVEAL:ROWS:QUERIES[:MINIMUM]",
    help="Allow members to compare identifiers: of rows, size, sum what is revealed; most rows of a list; how often.",
)
@click.option(
    "--vertical",
    metavar="MODELS:LABEL[:ROWS[:PASSES[:TREES[:FITS[:SCORINGS]]]]]",
    help="Allow models over columns of the same rows: of linear, boosting, split; who has the labels (*: anybody); "
    "caps.",
)
@click.option(
    "--noised",
    multiple=True,
    metavar="DIRECTION[,DIRECTION]",
    help="With split among the models: of gradients, activations what leaves with noise only, or none.  "
    "[default: both]",
)
@click.option(
    "--classes",
    type=int,
    metavar="N",
    help="With split among the models: the most classes that labels have, for the hosts' watch.",
)
@click.option("--allow-interception", is_flag=True, help="Allow members behind a TLS-inspecting proxy.")
@click.option(
    "--two-party", default="", metavar="WORDS", help="With two members only; the error tells the words."
)
@output.passphrase_options
@output.json_option
def new(name: str, out: str, as_json: bool, **options: Any) -> None:
    """Write the charter NAME from the cards of the relay and the members."""
    from silo import expiry
    from silo.card import Card
    from silo.charter import Charter, Relay, SumTerms, Task
    from silo.errors import CharterError
    from silo.identity import Identity
    from silo.joining import require_run
    from silo.sum_key import SumKey

    if Path(out).exists():
        raise CharterError(f"{out} is already there: move it away, or name another file with -o")
    now = expiry.utc_now()
    ends = now + timedelta(days=options["days"])
    cards = [Card.load(path) for path in options["cards"]]
    words = output.passphrase(options["passphrase_env"], options["passphrase_prompt"])
    own = Identity.load(options["identity"], words) if options["identity"] else None
    if own is not None and own.card not in cards:
        cards.append(own.card)
    given = {"graph": "graph", "threshold": "threshold", "minimum_cohort": "cohort", "colluders": "colluders"}
    holder, _, key = (options["sum_key"] or "").partition(":")
    terms = SumTerms.for_members(
        len(cards),
        protocol=options["protocol"],
        key_holder=holder,
        key=key,
        blinded=options["blinded"],
        bits=options["bits"],
        clip=options["clip"],
        overflow=options["overflow"],
        two_party=options["two_party"],
        changed_cohort=options["changed_cohort"],
        **{key: options[option] for key, option in given.items() if options[option] is not None},
    )
    task = Task(
        name=options["task"],
        rounds=options["rounds"],
        rows=options["rows"],
        bytes=options["size"],
        expires=ends,
        script=_digest(options["script"]) if options["script"] else "",
    )
    if options["script"]:
        require_run(options["script"])
    made = Charter.new(
        name,
        relay=Relay(Card.load(options["relay"]), options["url"], options["allow_interception"]),
        members=cards,
        tasks=[task],
        now=now,
        expires=ends,
        sum=terms,
        receivers=options["receivers"] or ("*",),
        privacy=[_policy(text, options["without_noise"]) for text in options["policies"]],
        intersection=_intersection(options["intersection"]) if options["intersection"] else None,
        vertical=_vertical(
            options["vertical"],
            ",".join(options["noised"]) if options["noised"] else None,
            options["classes"],
        ),
    )
    if own is not None:
        SumKey.of_charter(made, own)  # who signs as key holder has the key
        made = made.sign(own)
    made.save(out)
    _tell(made, out, as_json)


@charter.command()
@click.option("--identity", metavar="DIR", required=True, help="The member that will hold the key.")
@click.option("--sum", "protocol", type=click.Choice(["paillier", "ckks"]), required=True)
@click.option(
    "--bits",
    type=click.Choice(["2048", "3072", "4096"]),
    default="3072",
    show_default=True,
    help="Of a Paillier key; 3072 is as strong as AES-128.",
)
@output.passphrase_options
@output.json_option
def key(
    identity: str,
    protocol: str,
    bits: str,
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> None:
    """Make the key of a sum that one member holds, and print how a charter names it."""
    from silo.crypto.rng import SystemRng
    from silo.identity import Identity
    from silo.sum_key import SumKey

    own = Identity.load(identity, output.passphrase(passphrase_env, passphrase_prompt))
    made = SumKey.generate(protocol, rng=SystemRng(), bits=int(bits))
    path = made.save(own, rng=SystemRng())
    if as_json:
        output.emit_json({"holder": own.name, "protocol": protocol, "key": made.digest, "file": str(path)})
        return
    click.echo(f"the key is in {path}: keep it, nobody else can decrypt\n")
    click.echo("for whoever writes the charter:")
    click.echo(f"  --sum {protocol} --sum-key {own.name}:{made.digest}")


@charter.command()
@click.argument("path", metavar="FILE")
@click.option("--identity", metavar="DIR", help="The identity that signs.")
@click.option("--add", "others", multiple=True, metavar="FILE", help="Take signatures from another copy.")
@output.passphrase_options
@output.json_option
def sign(
    path: str,
    identity: str | None,
    others: tuple[str, ...],
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> None:
    """Sign the charter in FILE, and show what was signed."""
    from silo.charter import Charter
    from silo.errors import CharterError
    from silo.identity import Identity
    from silo.sum_key import SumKey

    if identity is None and not others:
        raise CharterError("nothing to do: give --identity DIR to sign, or --add FILE to take signatures")
    agreed = Charter.load(path)
    for other in others:
        agreed = agreed.add_signatures(Charter.read(other))
    if identity is not None:
        own = Identity.load(identity, output.passphrase(passphrase_env, passphrase_prompt))
        SumKey.of_charter(agreed, own)  # who signs as key holder has the key
        agreed = agreed.sign(own)
    agreed.save(path)
    _tell(agreed, path, as_json)


@charter.command()
@click.argument("path", metavar="FILE")
@output.json_option
def verify(path: str, as_json: bool) -> None:
    """Check that FILE is sound, holds today and is signed by every member."""
    from silo import expiry
    from silo.charter import Charter
    from silo.charter.show import warnings

    now = expiry.utc_now()
    agreed = Charter.load(path, now=now)
    agreed.require_signed(now=now)
    if as_json:
        output.emit_json(
            {
                "valid": True,
                "digest": agreed.digest.hex(),
                "signed_by": agreed.signed_by,
                "warnings": warnings(agreed, now),
            }
        )
        return
    click.echo(
        f"{path} holds until {agreed.expires:%Y-%m-%d} and is signed by {', '.join(agreed.signed_by)}; "
        f"digest {agreed.digest.hex()}"
    )
    for sentence in warnings(agreed, now):
        click.echo(f"warning: {sentence}")


@charter.command()
@click.argument("path", metavar="FILE")
@output.json_option
def show(path: str, as_json: bool) -> None:
    """Show who learns what, the caps, who signed and what ends when."""
    from silo import expiry
    from silo.charter import Charter
    from silo.charter import show as screen

    agreed, now = Charter.read(path), expiry.utc_now()
    if as_json:
        output.emit_json(screen.summary(agreed, now))
    else:
        click.echo(screen.show(agreed, now), nl=False)


def _policy(text: str, without_noise: Any) -> Privacy:
    from silo.charter import Privacy
    from silo.errors import CharterError

    parts = text.split(":")
    try:
        member, dataset, epsilon, delta = parts[:4]
        (unit,) = parts[4:] or ("record",)
        return Privacy(member, dataset, float(epsilon), float(delta), unit, without_noise)
    except ValueError:
        raise CharterError(
            f"--privacy {text!r} is not MEMBER:DATASET:EPSILON:DELTA[:UNIT], as in mercy:admissions:1.0:1e-3:patient"
        ) from None


def _intersection(text: str) -> Intersection:
    from silo.charter import Intersection
    from silo.errors import CharterError

    try:
        reveal, rows, queries, *minimum = text.split(":")
        (least,) = minimum or ("1",)
        return Intersection(tuple(reveal.split(",")), int(rows), int(queries), int(least))
    except ValueError:
        raise CharterError(
            f"--intersection {text!r} is not REVEAL:ROWS:QUERIES[:MINIMUM], as in rows,size:1000000:10:20"
        ) from None


def _vertical(text: str | None, noised: str | None, classes: int | None) -> Vertical | None:
    from silo.charter import Vertical
    from silo.errors import CharterError

    given = [name for name, value in (("--noised", noised), ("--classes", classes)) if value is not None]
    if not text:
        if given:
            raise CharterError(
                f"{given[0]} is for split networks: give --vertical split,… too, or leave it away"
            )
        return None
    try:
        models, label, *caps = text.split(":")
        names = ("rows", "passes", "trees", "fits", "scorings")[: len(caps)]
        figures: dict[str, Any] = {name: int(cap) for name, cap in zip(names, caps, strict=True)}
    except ValueError:
        raise CharterError(
            f"--vertical {text!r} is not MODELS:LABEL[:ROWS[:PASSES[:TREES[:FITS[:SCORINGS]]]]], as in "
            "linear:bank:100000:12"
        ) from None
    named = tuple(models.split(","))
    if given and "split" not in named:
        raise CharterError(f"{given[0]} is for split networks, and --vertical allows {models}: leave it away")
    if noised is not None:
        figures["noised"] = () if noised == _WITHOUT else tuple(noised.split(","))
    return Vertical(named, label, classes=classes, **figures)


def _digest(path: str) -> str:
    from silo.errors import CharterError

    try:
        return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
    except OSError as problem:
        raise CharterError(f"the script {path} cannot be read: {problem.strerror}") from None


def _tell(agreed: Charter, path: str, as_json: bool) -> None:
    from silo import expiry
    from silo.charter import show as screen

    now = expiry.utc_now()
    if as_json:
        output.emit_json({"file": path, **screen.summary(agreed, now)})
        return
    click.echo(screen.show(agreed, now))
    if agreed.unsigned:
        click.echo(f"written to {path}; still to sign: {', '.join(agreed.unsigned)}")
        click.echo(f"send them the file; each runs `silo charter sign {path} --identity keys/NAME`")
    else:
        click.echo(f"written to {path}, signed by everybody: send this file to all, then `silo join`")
