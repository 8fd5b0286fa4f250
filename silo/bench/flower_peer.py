"""Flower's side of the comparison: one party's step of SecAgg+, with the very functions of its client mod.

Flower pins releases that Silo's tools do not fit, so it lives in an environment of its own. This file is both
ends of a pipe. `Peer` starts it as a script under the interpreter that has Flower; there it needs no Silo.
One line asks for one step, one line of JSON answers with its time, so that the two sides can run alternately.
While it is not asked the peer sleeps in a read.

The order of `_step` is that of `_collect_masked_vectors` in Flower's secaggplus_mod.py (1.41.0). Left out in
Flower's favour: decoding the parameters, opening the shares, and the key agreements.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

PYTHON_VARIABLE: Final = "SILO_BENCH_FLOWER_PYTHON"
CLIP: Final = 8.0
EXAMPLES: Final = 600
MAX_WEIGHT: Final = 1000.0
"""Flower's default clip and largest weight. Silo's side uses the same."""
_TARGET_RANGE: Final = 2**22
_MOD_RANGE: Final = 2**32
_GOLDEN: Final = 2654435769


class NoFlower(Exception):
    """There is no Flower to compare with, or it stopped; the text says what to do."""


class Peer:
    """A process with Flower in it. Use it as a context manager. Raises `NoFlower`."""

    def __init__(self, interpreter: str) -> None:
        try:
            self._process = subprocess.Popen(
                # Isolated, so that neither this folder nor the caller's environment adds modules.
                [interpreter, "-I", str(Path(__file__).resolve())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0"},
            )
        except OSError:
            raise NoFlower(_STOPPED) from None
        try:
            self.version = str(self._answer()["flwr"])
        except BaseException:
            self._stop()
            raise

    def step(self, length: int, neighbours: int) -> tuple[float, float, int]:
        """Mask one vector; return wall seconds, processor seconds, and the bytes to be uploaded."""
        if self._process.stdin is None:
            raise NoFlower("the process with Flower has no input")
        try:
            self._process.stdin.write(f"{length} {neighbours}\n")
            self._process.stdin.flush()
        except OSError:
            raise NoFlower(_STOPPED) from None
        answer = self._answer()
        return answer["wall"], answer["cpu"], answer["bytes"]

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise NoFlower(_STOPPED)
        answer = json.loads(line)
        if "missing" in answer:
            raise NoFlower(f"flwr not installed: {_REMEDY}")
        return answer

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        # It ends at the end of its input, unless it hangs.
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


_REMEDY: Final = f"run `make bench`, or set {PYTHON_VARIABLE} to a Python that has flwr==1.41.*"
_STOPPED: Final = f"the process with Flower stopped: run `python -I {Path(__file__).name}` there to see why"


def interpreter() -> str:
    """Find a Python with Flower: named by the environment, this one, or the one of `make bench`.

    Raises `NoFlower`.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise NoFlower(f"{PYTHON_VARIABLE} names no file: set it to a Python that has flwr==1.41.*")
        return named
    if importlib.util.find_spec("flwr") is not None:
        return sys.executable
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        candidate = root / ".venv-bench" / "bin" / "python"
        if candidate.is_file():
            return str(candidate)
    raise NoFlower(f"flwr not installed: {_REMEDY}")


def values(length: int) -> npt.NDArray[np.float32]:
    """Both sides' made-up input: even over the clip (Weyl's sequence of the golden ratio)."""
    words = np.arange(length, dtype=np.uint32) * np.uint32(_GOLDEN)
    return (words.view(np.int32) * np.float32(CLIP / 2**31)).astype(np.float32)


def _step(vector: npt.NDArray[np.float32], seeds: list[bytes]) -> list[bytes]:
    from flwr.common import ndarray_to_bytes
    from flwr.common.secure_aggregation.ndarrays_arithmetic import (
        factor_combine,
        parameters_addition,
        parameters_mod,
        parameters_multiply,
        parameters_subtraction,
    )
    from flwr.common.secure_aggregation.quantization import quantize
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

    own, *others = seeds
    ratio = round(EXAMPLES / MAX_WEIGHT * _TARGET_RANGE)
    parameters = parameters_multiply([vector], ratio / _TARGET_RANGE)
    quantized = factor_combine(ratio, quantize(parameters, CLIP, _TARGET_RANGE))
    shapes = [array.shape for array in quantized]
    quantized = parameters_addition(quantized, pseudo_rand_gen(own, _MOD_RANGE, shapes))
    for place, seed in enumerate(others):
        mask = pseudo_rand_gen(seed, _MOD_RANGE, shapes)
        quantized = (
            parameters_addition(quantized, mask) if place % 2 else parameters_subtraction(quantized, mask)
        )
    return [ndarray_to_bytes(array) for array in parameters_mod(quantized, _MOD_RANGE)]


def _serve() -> None:
    # What Flower prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        version = importlib.metadata.version("flwr")
    except importlib.metadata.PackageNotFoundError:
        answer(missing="flwr")
        return
    vector = values(0)
    answer(flwr=version)
    for line in sys.stdin:
        length, neighbours = map(int, line.split())
        if len(vector) != length:
            vector = values(length)
            _step(vector[:100], [bytes(32)])
        seeds = [hashlib.sha256(bytes([place])).digest() for place in range(neighbours + 1)]
        cpu, wall = time.process_time(), time.perf_counter()
        sent = _step(vector, seeds)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        answer(wall=wall, cpu=cpu, bytes=sum(map(len, sent)))


if __name__ == "__main__":
    _serve()
