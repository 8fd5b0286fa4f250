"""Federations of real processes; every process is killed at the end of its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import Site, site

Found = Callable[..., Site]


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Found]:
    """Make a `Site`: keys, a charter signed by all, a free port; options are those of `Site`."""
    with ExitStack() as stack:

        def make(**options: Any) -> Site:
            return stack.enter_context(site(tmp_path, **options))

        yield make
