"""A floor imports only floors below it, and the two lower floors never reach outside."""

from __future__ import annotations

import pytest

from tests.house.floors import CLOSED, FLOORS, breaches, files

FILES = dict(files())


def test_every_floor_was_looked_at() -> None:
    for floor in FLOORS:
        assert sum(place.startswith(f"{floor}/") for place in FILES) > 1
    assert not any(place.startswith(("silo/crypto/", "silo/protocols/")) for place in FILES)


@pytest.mark.parametrize("place", sorted(FILES))
def test_a_file_keeps_the_laws_of_its_floor(place: str) -> None:
    broken = breaches(place, FILES[place].read_text(encoding="utf-8"))
    assert not broken, "\n".join(map(str, broken))


BAD = [
    ("crypto/bad.py", "from silo.protocols import codec", "above"),
    ("crypto/bad.py", "import silo.session", "above"),
    ("crypto/bad.py", "from silo import session", "above"),
    ("crypto/bad.py", "def f():\n    from silo.protocols.secagg import client", "above"),
    ("crypto/bad.py", "from ..protocols import codec", "above"),
    ("protocols/bad.py", "from silo.transport import memory", "above"),
    ("protocols/secagg/bad.py", "from ...session import Session", "above"),
    ("silo/leak/bad.py", "def f():\n    from silo.vertical.splitting import noise", "above"),
    *(
        (f"{room}deep/bad.py", f"from {one} import bad", "above")
        for room, above in CLOSED.items()
        for one in above
    ),
    ("silo/bad.py", "import crypto", "bare"),
    ("silo/bad.py", "from protocols.codec import Message", "bare"),
    ("crypto/bad.py", "import socket", "outside"),
    ("crypto/bad.py", "from time import monotonic", "outside"),
    ("crypto/bad.py", "import torch.nn", "outside"),
    ("protocols/bad.py", "import threading", "outside"),
    ("protocols/bad.py", "from concurrent.futures import ThreadPoolExecutor", "outside"),
    ("protocols/bad.py", "import os", "outside"),
    ("protocols/bad.py", "text = open('/etc/hostname').read()", "outside"),
    ("protocols/bad.py", "import importlib\nimportlib.import_module('sock' + 'et')", "computed"),
    ("protocols/bad.py", "import importlib\nimportlib.import_module('socket')", "outside"),
    ("silo/bad.py", "import pickle", "runs code"),
    ("crypto/bad.py", "from pickle import loads", "runs code"),
    ("silo/bad.py", "assert 1", "assert"),
    ("silo/bad.py", "eval('1')", "runs text"),
    ("silo/bad.py", "exec('1')", "runs text"),
    ("crypto/bad.py", "import numpy as np\nnp.random.default_rng(1)", "rng"),
    ("silo/bad.py", "import numpy\nnumpy.random.seed(1)", "rng"),
    ("silo/bad.py", "from numpy import random", "rng"),
    ("silo/bad.py", "from numpy.random import default_rng", "rng"),
    ("silo/bad.py", "import torch as t\nt.randn(3)", "rng"),
    ("silo/bad.py", "import os\nos.urandom(8)", "rng"),
    ("silo/bad.py", "from os import urandom", "rng"),
    ("silo/bad.py", "import secrets", "rng"),
    ("silo/training/bad.py", "import os\nos.urandom(8)", "rng"),
    ("crypto/bad.py", "from silo.crypto.rng import SystemRng", "never chosen"),
    ("crypto/bad.py", "def f(rng): ...", "keyword"),
    ("protocols/bad.py", "class A:\n    def f(self, *, rng=None): ...", "default"),
    ("protocols/bad.py", "def _f(a, rng=None): ...", "default"),
]


@pytest.mark.parametrize(("place", "source", "law"), BAD)
def test_a_breach_is_seen(place: str, source: str, law: str) -> None:
    assert any(law in str(one) for one in breaches(place, source)), breaches(place, source)


GOOD = [
    ("crypto/good.py", "from silo.crypto import labels\nfrom concurrent.futures import ThreadPoolExecutor"),
    ("crypto/rng.py", "import os\nos.urandom(8)"),
    ("crypto/good.py", "from .errors import SiloError"),
    ("crypto/good.py", "from silo.crypto.rng import Rng\ndef f(*, rng: Rng): ..."),
    ("protocols/secagg/good.py", "from ..codec import Message\nfrom silo.crypto.shamir import Share"),
    ("silo/good.py", "import time, socket, threading\nfrom silo.protocols import codec"),
    ("silo/good.py", "import re\nre.compile('a')"),
    ("silo/training/good.py", "import numpy as np\nnp.random.default_rng(1)"),
]


@pytest.mark.parametrize(("place", "source"), GOOD)
def test_what_is_allowed_passes(place: str, source: str) -> None:
    assert breaches(place, source) == []
