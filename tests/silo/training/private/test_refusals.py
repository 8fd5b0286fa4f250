"""What is not sound under DP-SGD is refused by name, before a row's gradient is taken."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from opacus.grad_sample import GradSampleModule  # noqa: E402
from opacus.optimizers import DPOptimizer  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, IterableDataset, TensorDataset  # noqa: E402

from silo.errors import ParameterError  # noqa: E402
from silo.training.private.checks import DeltaTooLarge, NoRows, warn_of_rows  # noqa: E402
from tests.silo.training.private.fake import FakeAccount, clipped_sum, fit, flat, plan  # noqa: E402

MODES = ("hooks", "ghost")
X, Y = torch.randn(20, 8), torch.randint(0, 3, (20,))
IMAGES = torch.randn(20, 1, 6, 6)


def refused(model: Any, data: Any, sentence: str, *, loss: Any = None, **changes: Any) -> None:
    """Refused with one sentence, nothing paid, and the model as it was."""
    account = FakeAccount()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ParameterError, match=sentence) as caught:
        fit(model, data, plan(**changes), account, loss=loss)
    assert "\n" not in str(caught.value)
    assert not account.tokens
    assert not account.closed
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for p in model.parameters():
        assert not vars(p)
        assert p.grad is None
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


class Layer(nn.Module):
    """A linear layer, and what a test does to rows or weights besides."""

    def __init__(self, work: Any) -> None:
        super().__init__()
        self.inner, self.out, self.work = nn.Linear(8, 8), nn.Linear(8, 3), work

    def forward(self, x: Any) -> Any:
        return self.out(self.work(self, x))


def frozen() -> nn.Module:
    model = nn.Linear(8, 3)
    model.requires_grad_(False)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3))
    model[1].weight = model[0].weight
    return model


def with_buffer() -> nn.Module:
    model = Layer(lambda self, x: self.inner(x))
    model.inner.register_buffer("positions", torch.zeros(8))
    return model


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)),
            "BatchNorm1d.*GroupNorm",
        ),
        (lambda: nn.Sequential(nn.Linear(8, 3), nn.SyncBatchNorm(3)), "SyncBatchNorm.*GroupNorm"),
        (lambda: nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3, affine=False)), "mixes the rows"),
        (
            lambda: nn.Sequential(nn.InstanceNorm1d(8, track_running_stats=True), nn.Linear(8, 3)),
            "track_running_stats=False",
        ),
        (lambda: nn.DataParallel(nn.Linear(8, 3)), "DataParallel.*bare module"),
        (frozen, "no parameter to train"),
        (tied, "untie them"),
        (lambda: nn.Linear(8, 3).to(torch.bfloat16), "bfloat16.*float32"),
        (lambda: nn.Sequential(nn.Linear(8, 8).double(), nn.Linear(8, 3)), "several types|one"),
        (lambda: torch.compile(nn.Linear(8, 3), backend="eager"), "compiled model"),
        (lambda: nn.LSTM(8, 3), "DPLSTM"),
        (with_buffer, "buffers.*keep constants in a module without parameters"),
    ],
)
def test_a_model_that_is_not_sound(make: Any, sentence: str, mode: str) -> None:
    refused(make(), (X, Y), sentence, mode=mode)


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_a_layer_without_a_shape() -> None:
    with pytest.raises(ParameterError, match="lazy layer"):
        fit(nn.Sequential(nn.Linear(8, 8), nn.LazyLinear(3)), (X, Y), plan())


def test_a_wrapped_model() -> None:
    model = nn.Linear(8, 3)
    wrapped = GradSampleModule(model)
    for one in (model, wrapped):
        with pytest.raises(ParameterError, match="already wrapped"):
            fit(one, (X, Y), plan())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "work",
    [
        lambda self, x: self.inner(x - x.mean(0)),
        lambda self, x: self.inner(x - x.mean(0).detach()),
        lambda self, x: self.inner(x - (x.mean(0).detach() if self.training else 0)),
        lambda self, x: self.inner(x) / len(x),
        lambda self, x: self.inner(x).softmax(0),
        lambda self, x: self.inner(x).roll(1, 0),
    ],
    ids=["centred", "centred apart", "centred in training only", "by their number", "softmax", "shifted"],
)
def test_rows_that_touch_each_other(work: Any, mode: str) -> None:
    refused(Layer(work), (X, Y), "depends on the other rows", mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "work",
    [
        lambda self, x: x @ self.inner.weight,
        lambda self, x: torch.tanh(self.inner(x)) @ self.inner.weight,
    ],
    ids=["never as a layer", "as a layer too"],
)
def test_a_weight_outside_its_layer(work: Any, mode: str) -> None:
    refused(Layer(work), (X, Y), "Opacus does not see all|used outside its layer", mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_padding_that_opacus_does_not_follow(mode: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(144, 3)
    )
    refused(model, (IMAGES, Y), "Opacus does not see all.*zero padding", mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_parts_of_rows_clipped_as_rows(mode: str) -> None:
    """Each row would count as six, and move the sum six times as far as the noise covers."""

    class Flattening(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.out(x.reshape(-1, 6)).reshape(len(x), -1, 3).mean(1)

    refused(Flattening(), (IMAGES, Y), "Opacus does not see|fails on made-up rows", mode=mode)


def test_a_layer_used_twice_needs_hooks() -> None:
    model = Layer(lambda self, x: self.inner(torch.tanh(self.inner(x))))
    refused(model, (X, Y), "fails on made-up rows.*Ghost", mode="ghost")
    fit(model, (X, Y), plan())


@pytest.mark.parametrize("mode", MODES)
def test_a_layer_whose_output_goes_nowhere(mode: str) -> None:
    def work(self: Any, x: Any) -> Any:
        self.inner(x)
        return self.inner(x)

    refused(Layer(work), (X, Y), "did not reach the loss|Ghost", mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["buffer", "frozen", "by the back door"])
def test_a_constant_that_the_rows_change(kind: str, mode: str) -> None:
    def work(self: Any, x: Any) -> Any:
        if self.training:
            with torch.no_grad():
                (self.seen.data if kind == "by the back door" else self.seen).add_(x.mean(0))
        return self.inner(x)

    model = Layer(work)
    if kind == "buffer":
        model.register_buffer("seen", torch.zeros(8))
    else:
        model.seen = nn.Parameter(torch.zeros(8), requires_grad=False)
    refused(model, (X, Y), "seen was changed by the rows", mode=mode)


@pytest.mark.parametrize("real", [True, False])
def test_a_constant_that_only_some_rows_change_is_put_back(real: bool) -> None:
    """The made-up rows do not set it off, the real ones do: it is found after the steps, and undone."""

    def work(self: Any, x: Any) -> Any:
        if bool((x > 5).any()):
            self.seen.data.fill_(x.max())
        return self.inner(x)

    model = Layer(work)
    model.seen = nn.Parameter(torch.zeros(8), requires_grad=False)
    x = X.clone()
    if not real:
        fit(model, (x.clamp(-4, 4), Y), plan())
        return
    x[3, 3] = 9.0
    with pytest.raises(ParameterError, match="seen was changed"):
        fit(model, (x, Y), plan())
    assert not model.seen.any()


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (lambda o, t: nn.functional.cross_entropy(o, t), "one number for 3 rows.*reduction"),
        (lambda o, t: nn.functional.cross_entropy(o, t).expand(len(o)), "depends on the other rows"),
        (
            lambda o, t: nn.functional.cross_entropy(o, t, reduction="none") / len(o),
            "depends on the other rows",
        ),
        (lambda o, t: o.sum(0), "depends on the other rows|number per row"),
    ],
    ids=["mean", "mean for each", "share", "columns"],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_loss_that_averages(loss: Any, sentence: str, mode: str) -> None:
    refused(nn.Linear(8, 3), (X, Y), sentence, loss=loss, mode=mode)


@pytest.mark.parametrize(
    "loss", [None, nn.CrossEntropyLoss(), nn.functional.cross_entropy, nn.CrossEntropyLoss(reduction="sum")]
)
def test_torch_losses_are_taken_whatever_their_reduction(loss: Any) -> None:
    torch.manual_seed(1)
    found = clipped_sum(nn.Linear(8, 3), (X, Y), loss)
    torch.manual_seed(1)
    assert torch.equal(found, clipped_sum(nn.Linear(8, 3), (X, Y)))


def test_a_loader_and_other_data() -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    refused(nn.Linear(8, 3), loader, "not Poisson samples.*its data set")

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(())

    refused(nn.Linear(8, 3), Stream(), "map-style")
    refused(nn.Linear(8, 3), (X, Y[:5]), "equal length")
    refused(nn.Linear(8, 3), (X.tolist(), [object()] * 20), "numbers, and one is a list")
    refused(nn.Linear(8, 3), TensorDataset(X), "not 1 parts|pair")
    refused(nn.Linear(8, 3), (torch.randn(20, 7), Y), "fails on made-up rows.*shape")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda p: DPOptimizer(
                torch.optim.SGD(p, lr=0.1), noise_multiplier=0.0, max_grad_norm=1.0, expected_batch_size=1
            ),
            "noise of its own",
        ),
        (lambda p: torch.optim.SGD(list(p)[:1], lr=0.1), "other parameters"),
        (lambda p: torch.optim.SGD([*p, torch.zeros(1, requires_grad=True)], lr=0.1), "other parameters"),
        (lambda p: None, "makes a torch.optim.Optimizer"),
    ],
)
def test_an_optimizer_that_is_not_sound(make: Any, sentence: str) -> None:
    model = nn.Linear(8, 3)
    before = flat(model)
    account = FakeAccount()
    with pytest.raises(ParameterError, match=sentence):
        fit(model, (X, Y), plan(optimizer=make), account)
    assert torch.equal(flat(model), before)
    assert not account.closed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("layers", "rows"),
    [
        ((nn.Conv2d(1, 2, 3, padding="same"), nn.InstanceNorm2d(2, affine=True), nn.Flatten()), IMAGES),
        ((nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 6, 2), nn.GroupNorm(2, 6), nn.Flatten()), X),
        ((nn.Dropout(0.5), nn.Linear(8, 4), nn.Dropout(0.2), nn.LayerNorm(4)), X),
    ],
    ids=["images", "signals", "dropout"],
)
def test_sound_layers_pass(layers: Any, rows: Any, mode: str) -> None:
    model = nn.Sequential(*layers)
    whole = nn.Sequential(model, nn.Linear(model(rows).shape[1], 3))
    fit(whole, (rows, Y), plan(mode=mode, steps=2))


def test_delta_is_held_against_the_rows_here_only() -> None:
    with pytest.warns(DeltaTooLarge, match="1 / rows = 0.05"):
        warn_of_rows(0.05, 20)
    warn_of_rows(0.049, 20)
    with pytest.warns(NoRows, match="noise alone"):
        warn_of_rows(0.5, 0)
