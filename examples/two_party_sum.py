"""Why two parties need the charter's word: run `python examples/two_party_sum.py`.

With two, the sum less one's own input is the other's. No protocol can change that, so Silo refuses, until both
have signed a charter that says so in words.
"""

from __future__ import annotations

import silo


def party(session: silo.Session, number: int) -> str:
    total = session.sum(number)
    return f"the sum is {total}, so the other one had {total - number}"


def main() -> None:
    try:
        silo.simulate(["bank", "telecom"], party, [1200, 345])
    except silo.SiloError as refusal:
        print(f"refused [{refusal.code}]: {refusal}\n")
    results = silo.simulate(["bank", "telecom"], party, [1200, 345], two_party=silo.TWO_PARTY_WORDS)
    for name, learned in results.items():
        print(f"{name}: {learned}")


if __name__ == "__main__":
    main()
