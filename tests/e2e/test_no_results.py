"""A member that the charter gives no results: it takes part, is told so, and can begin again after a kill."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS

TRIO = MEMBERS[:3]
ME = TRIO[0]
SCRIPT = """
import os, pathlib, signal, time
import numpy as np
from silo.session import NoResult

def run(session, home, *words):
    here = pathlib.Path(home.removeprefix("home=")).parent
    given = []
    for number in range(3):
        if number == 2:
            if session.me == "{me}" and not (here / "killed").exists():
                (here / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if session.me == "{me}":
                (here / "back").touch()
            while not (here / "back").exists():
                time.sleep(0.05)
        try:
            given.append(round(float(session.sum(np.full(2, number + 1.0))[0]), 6))
        except NoResult:
            given.append(None)
    return given
"""


def test_it_is_told_nothing_and_begins_again_where_it_was(found: Found, tmp_path: Path) -> None:
    script = tmp_path / "values.py"
    script.write_text(SCRIPT.replace("{me}", ME))
    site = found(names=TRIO, script=script, receivers=TRIO[1:], terms={"clip": 8.0})
    site.relay()
    members = {name: site.join(name) for name in TRIO}
    assert members[ME].end() < 0
    again = site.again(members[ME])
    assert again.end() == 0, again.stderr
    assert "[None, None, None]" in again.stdout
    for name in TRIO[1:]:
        assert members[name].end() == 0, members[name].stderr
        assert "[3.0, 6.0, 9.0]" in members[name].stdout
