"""The ingredients of the demo: its rows, its models and what they are compared with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silo
from silo.crypto.errors import ParameterError
from silo.demo import baselines, data, learners
from silo.demo.settings import DEFAULT, HEART, SETTINGS, Settings
from silo.statistics import Moments

HEART_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "heart_disease"
needs_heart = pytest.mark.skipif(
    not HEART_FOLDER.is_dir(), reason="the heart data are not beside the project"
)
LINE = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0"


@pytest.fixture(scope="module")
def breast() -> data.Dataset:
    return data.load(None)


@pytest.fixture(scope="module")
def heart() -> data.Dataset:
    return data.load(HEART_FOLDER)


def small(rows: int = 6) -> data.Hospital:
    x = np.arange(rows * 2, dtype=np.float64).reshape(rows, 2)
    y = np.arange(rows, dtype=np.float64) % 2
    return data.Hospital("mercy", x, y, x[:2], y[:2])


def sizes(dataset: data.Dataset) -> list[tuple[int, int]]:
    return [(len(one.train_x), len(one.test_x)) for one in dataset.hospitals]


# The rows


@needs_heart
def test_the_heart_data_have_the_sizes_of_the_recipe(heart: data.Dataset) -> None:
    assert [one.name for one in heart.hospitals] == ["cleveland", "hungarian", "switzerland", "long-beach"]
    assert sizes(heart) == [(199, 104), (172, 89), (30, 16), (85, 45)]
    assert len(heart.columns) == 13
    for one in heart.hospitals:
        assert one.train_x.shape[1] == one.test_x.shape[1] == 13
        assert set(np.unique(one.train_x[:, 8:])) <= {0.0, 1.0}
        assert (one.train_x[:, 8:11].sum(axis=1) <= 1).all()
        assert {*one.train_y, *one.test_y} == {0.0, 1.0}


@needs_heart
def test_the_heart_data_reach_the_anchors_of_the_pooled_table(heart: data.Dataset) -> None:
    from sklearn.linear_model import LogisticRegression

    moments = baselines.pooled_moments(heart)
    x = np.concatenate([moments.apply(one.train_x) for one in heart.hospitals])
    model = LogisticRegression(C=1).fit(x, np.concatenate([one.train_y for one in heart.hospitals]))
    right = {one.name: model.predict(moments.apply(one.test_x)) == one.test_y for one in heart.hospitals}
    found = baselines.metrics(right)
    assert found["mean_client_accuracy"] == pytest.approx(0.803, abs=6e-4)
    assert found["pooled_test_accuracy"] == pytest.approx(0.795, abs=6e-4)


def test_the_default_hospitals_are_unlike_and_hold_every_row_once(breast: data.Dataset) -> None:
    from sklearn.datasets import load_breast_cancer

    held = np.concatenate([np.concatenate([one.train_x, one.test_x]) for one in breast.hospitals])
    everything = load_breast_cancer().data
    assert sorted(map(tuple, held)) == sorted(map(tuple, everything))
    assert len(set(sizes(breast))) == 4
    rates = [one.train_y.mean() for one in breast.hospitals]
    assert max(rates) - min(rates) > 0.4
    smooth = breast.columns.index("mean smoothness")
    middles = [one.train_x[:, smooth].mean() for one in breast.hospitals]
    assert middles == sorted(middles)
    for one in breast.hospitals:
        assert set(one.train_y) == set(one.test_y) == {0.0, 1.0}
        assert one.train_x.dtype == one.train_y.dtype == one.test_x.dtype == one.test_y.dtype == np.float64


@pytest.mark.parametrize("folder", [None, pytest.param(HEART_FOLDER, marks=needs_heart)])
def test_loading_twice_gives_the_same_rows(folder: Path | None) -> None:
    for one, other in zip(data.load(folder).hospitals, data.load(folder).hospitals, strict=True):
        for part in ("train_x", "train_y", "test_x", "test_y"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_another_folder_is_one_sentence(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match=r"processed\.cleveland\.data") as caught:
        data.load(tmp_path / folder)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / folder) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("63.0,1.0", "line 2 of .* has 2 fields"),
        (LINE.replace("145.0", "patient-77"), "line 2 of .* no number"),
    ],
)
def test_a_broken_line_is_named_and_not_shown(tmp_path: Path, line: str, says: str) -> None:
    for file in ("cleveland", "hungarian", "switzerland", "va"):
        (tmp_path / f"processed.{file}.data").write_text(f"{LINE}\n{line}\n")
    with pytest.raises(ParameterError, match=says) as caught:
        data.load(tmp_path)
    assert "patient-77" not in str(caught.value)
    assert "63.0" not in str(caught.value)


def test_too_few_whole_rows_are_refused(tmp_path: Path) -> None:
    for file in ("cleveland", "hungarian", "switzerland", "va"):
        (tmp_path / f"processed.{file}.data").write_text(f"{LINE}\n{LINE.replace('233.0', '?')}\n")
    with pytest.raises(ParameterError, match="cleveland has 1 whole rows"):
        data.load(tmp_path)


def test_without_scikit_learn_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ParameterError, match=r"pip install '\.\[demo\]'` in Silo's source folder"):
        data.load(None)


def test_a_hospital_survives_its_file(tmp_path: Path) -> None:
    path, hospital = tmp_path / "mercy.rows", small()
    path.write_bytes(b"older and readable by all")
    path.chmod(0o644)
    data.save(path, hospital)
    again = data.read(path)
    assert again.name == "mercy"
    for part in ("train_x", "train_y", "test_x", "test_y"):
        np.testing.assert_array_equal(getattr(again, part), getattr(hospital, part))
    assert path.stat().st_mode & 0o777 == 0o600
    assert "0." not in repr(hospital)


@pytest.mark.parametrize("fault", ["none", "noise", "cut", "pickle", "array", "part", "shape"])
def test_another_file_is_no_hospital(tmp_path: Path, fault: str) -> None:
    path, hospital = tmp_path / "mercy.npz", small()
    good: dict[str, Any] = {
        part: getattr(hospital, part) for part in ("train_x", "train_y", "test_x", "test_y")
    }
    good["name"] = np.array("mercy")
    if fault == "noise":
        path.write_bytes(b"no archive")
    elif fault == "cut":
        data.save(path, hospital)
        path.write_bytes(path.read_bytes()[:200])
    elif fault == "pickle":
        np.savez(path, **good | {"train_x": np.array([{}], object)})
    elif fault == "array":
        with path.open("wb") as file:
            np.save(file, hospital.train_x)
    elif fault == "part":
        del good["test_y"]
        np.savez(path, **good)
    elif fault == "shape":
        np.savez(path, **good | {"test_y": np.zeros(5)})
    with pytest.raises(ParameterError, match=r"mercy\.npz.*let the demo write it anew"):
        data.read(path)


# What it is compared with


def test_metrics_weigh_hospitals_alike_or_rows_alike() -> None:
    found = baselines.metrics({"big": np.array([True, True, True, False]), "tiny": np.array([False])})
    assert found == {
        "mean_client_accuracy": 0.375,
        "pooled_test_accuracy": 0.6,
        "per_hospital": {"big": 0.75, "tiny": 0.0},
    }


def test_one_pass_per_round_is_descent_on_the_pooled_table(breast: data.Dataset) -> None:
    moments = baselines.pooled_moments(breast)
    twin = baselines.plain_fedavg(breast, "logistic", DEFAULT, moments)
    pooled = learners.make("logistic", len(breast.columns), DEFAULT)
    rows = np.concatenate([moments.apply(one.train_x) for one in breast.hospitals])
    labels = np.concatenate([one.train_y for one in breast.hospitals])
    pooled.fit((rows, labels), epochs=DEFAULT.algorithm.rounds, learning_rate=DEFAULT.algorithm.learning_rate)
    for key, value in pooled.parameters().items():
        np.testing.assert_allclose(twin.parameters()[key], value, atol=1e-12)


def test_several_passes_per_round_are_not(breast: data.Dataset) -> None:
    # So that the test above would see it if rounds and passes were mixed up.
    moments = baselines.pooled_moments(breast)
    one = baselines.plain_fedavg(breast, "logistic", with_algorithm(silo.FedAvg(5, 4, 0.5)), moments)
    other = baselines.plain_fedavg(breast, "logistic", with_algorithm(silo.FedAvg(20, 1, 0.5)), moments)
    assert np.abs(one.parameters()["weight"] - other.parameters()["weight"]).max() > 1e-3


def with_algorithm(algorithm: silo.FedAvg) -> Settings:
    return replace(DEFAULT, algorithm=algorithm)


def test_a_hospital_alone_looks_at_its_own_rows_only(breast: data.Dataset) -> None:
    first, *others = breast.hospitals
    strange = [replace(one, train_x=one.train_x * 1000 + 7) for one in others]
    moved = replace(breast, hospitals=(first, *strange))
    before = baselines.local_only(breast, "logistic", DEFAULT)["per_hospital"]
    after = baselines.local_only(moved, "logistic", DEFAULT)["per_hospital"]
    assert before[first.name] == after[first.name]
    assert [before[one.name] for one in others] != [after[one.name] for one in others]


@needs_heart
def test_the_heart_setting_reaches_its_figures(heart: data.Dataset) -> None:
    compared = baselines.compare(heart, "logistic", HEART)
    assert HEART.algorithm.rounds <= 30
    assert compared.plain["mean_client_accuracy"] >= 0.795
    assert compared.plain["pooled_test_accuracy"] >= 0.785
    assert compared.plain["pooled_test_accuracy"] > compared.local["pooled_test_accuracy"]
    assert compared.plain["pooled_test_accuracy"] <= compared.pooled["pooled_test_accuracy"] + 0.01


@needs_heart
@pytest.mark.parametrize("rounds", [10, 15, 25, 30])
def test_the_heart_figures_do_not_hang_on_the_number_of_rounds(heart: data.Dataset, rounds: int) -> None:
    near = replace(HEART, algorithm=replace(HEART.algorithm, rounds=rounds))
    found = baselines.compare(heart, "logistic", near).plain
    assert found["mean_client_accuracy"] >= 0.795
    assert found["pooled_test_accuracy"] >= 0.785


def party(session: silo.Session, given: tuple[data.Hospital, str, Settings]) -> tuple[Moments, Any]:
    hospital, model, settings = given
    moments = silo.moments(session, hospital.train_x)
    learner = learners.make(model, hospital.train_x.shape[1], settings)
    rows = (moments.apply(hospital.train_x), hospital.train_y)
    silo.train(session, learner, rows, algorithm=settings.algorithm)
    return moments, learner


def masked_and_plain(dataset: data.Dataset, model: str, settings: Settings) -> float:
    """The largest difference in a weight; both runs predict alike."""
    inputs = {one.name: (one, model, settings) for one in dataset.hospitals}
    done = silo.simulate(list(inputs), party, inputs, rows=200, clip=1.0)
    compared = baselines.compare(dataset, model, settings)
    moments, learner = done[dataset.hospitals[0].name]
    assert baselines.metrics(baselines.correct(learner, dataset, moments)) == compared.plain
    found = learner.parameters()
    return max(float(np.abs(found[key] - value).max()) for key, value in compared.parameters.items())


def test_masks_change_no_weight(breast: data.Dataset) -> None:
    assert masked_and_plain(breast, "logistic", DEFAULT) < 1e-6


@needs_heart
def test_masks_change_no_weight_on_the_heart_data(heart: data.Dataset) -> None:
    several = replace(HEART, algorithm=silo.FedAvg(rounds=6, epochs=3, learning_rate=0.3))
    assert masked_and_plain(heart, "logistic", several) < 1e-6


def test_masks_change_no_weight_of_a_perceptron(breast: data.Dataset) -> None:
    pytest.importorskip("torch")
    few = with_algorithm(silo.FedAvg(rounds=3, epochs=2, learning_rate=0.5))
    assert masked_and_plain(breast, "mlp", few) < 1e-6


def test_a_perceptron_descends_along_its_gradient() -> None:
    torch = pytest.importorskip("torch")
    hospital, settings = small(), replace(DEFAULT, hidden=3, penalty=0.1)
    rows = (hospital.train_x / 10, hospital.train_y)

    def loss(parameters: dict[str, Any]) -> float:
        hidden = np.tanh(rows[0] @ parameters["hidden.weight"] + parameters["hidden.bias"])
        margin = (hidden @ parameters["output.weight"] + parameters["output.bias"])[:, 0]
        squares = sum((parameters[f"{layer}.weight"] ** 2).sum() for layer in ("hidden", "output"))
        return float(np.mean(np.logaddexp(0, margin) - rows[1] * margin) + 0.05 * squares)

    threads = torch.get_num_threads()
    learner = learners.make("mlp", 2, settings)
    before = learner.parameters()
    assert learner.fit(rows, epochs=1, learning_rate=0.25) == 6.0
    assert torch.get_num_threads() == threads
    for key, value in learner.parameters().items():
        slope = (before[key] - value) / 0.25
        for place in np.ndindex(value.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = {name: one.copy() for name, one in before.items()}
                moved[key][place] += step
                ends.append(loss(moved))
            assert slope[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


def test_every_hospital_makes_the_same_model() -> None:
    pytest.importorskip("torch")
    for model in learners.MODELS:
        one, other = (learners.make(model, 4, DEFAULT).parameters() for _ in range(2))
        assert all((one[key] == other[key]).all() for key in one)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ParameterError, match="logistic or mlp"):
        learners.make("forest", 4, DEFAULT)


def test_without_torch_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ParameterError, match=r"pip install '\.\[torch\]'` in Silo's source folder"):
        learners.make("mlp", 4, SETTINGS["default"])
