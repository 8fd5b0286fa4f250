"""What a file of modules may make for `silo score`, and what is told of one that does not."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.cli import modules  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bottom = \n", "ended with SyntaxError"),
        ("import torch\nbottom = torch.nn.Linear(3, four)\n", "ended with NameError at line 2: name 'four'"),
        ("import sys\n\nsys.exit(0)\n", "ended with SystemExit at line 3: 0"),
        ("rows = 3\n", "makes none of the modules"),
        ("activations = None\n", "makes none of the modules"),
        (
            "from silo.vertical import Noise\nactivations = Noise()\n",
            "Noise takes a noise_multiplier, or a target",
        ),
    ],
)
def test_a_file_that_makes_no_modules_is_told_in_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    with pytest.raises(ParameterError) as caught:
        modules.read(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("bare", ["3", "torch.nn.Linear", "torch.zeros(3)"])
def test_what_is_no_module_is_told_in_one_sentence(bare: str, tmp_path: Path) -> None:
    part = st.saved(tmp_path / "part.json")
    path = tmp_path / "made.py"
    path.write_text(f"import torch\nbottom = {bare}\n", encoding="utf-8")
    with pytest.raises(ParameterError, match=r"bottom is a torch\.nn\.Module, not (a|the class) "):
        silo.vertical.load(part, **modules.read(str(path)))


def test_a_file_imports_what_lies_beside_it_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "beside_made.py").write_text("WIDTH = 4\n", encoding="utf-8")
    path = tmp_path / "made.py"
    text = "import torch\nfrom beside_made import WIDTH\nbottom = torch.nn.Linear(3, WIDTH)\nrows = 3\n"
    path.write_text(text, encoding="utf-8")
    before = list(sys.path)
    assert modules.read(str(path))["bottom"].out_features == 4
    assert sys.path == before


def test_a_file_makes_noise_too(tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    text = "import torch\nfrom silo.vertical import Noise\nbottom = torch.nn.Linear(3, 4)\nactivations = Noise(2.0)\n"
    path.write_text(text, encoding="utf-8")
    assert modules.read(str(path))["activations"].noise_multiplier == 2.0
