"""Why two parties need the charter's word, and what it lets happen.

Run `python examples/two_party_sum.py`. With two, the sum less one's own input is the other's. No protocol can change
that, so Silo refuses, until both have signed a charter that says so in words.
"""

from __future__ import annotations

import silo


def party(session: silo.Session, number: int) -> str:
    total = session.sum(number)
    return f"the sum is {total}, so the other one had {total - number}"


def main() -> None:
    numbers = {"bank": 1200, "telecom": 345}
    try:
        silo.simulate(list(numbers), party, numbers)
    except silo.SiloError as refusal:
        print(f"refused [{refusal.code}]: {refusal}\n")

    print(f'with the words "{silo.TWO_PARTY_WORDS}":')
    results = silo.simulate(list(numbers), party, numbers, two_party=silo.TWO_PARTY_WORDS)
    for name, learned in results.items():
        print(f"{name}: {learned}")


if __name__ == "__main__":
    main()
