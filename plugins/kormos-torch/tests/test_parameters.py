"""Which parameters are moved: groups, frozen and shared ones, dtypes, devices, bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kormos_core.errors import BoundsError, UnsupportedError
from kormos_torch import SolverOptimizer
from kormos_torch.layout import Layout

pytestmark = pytest.mark.backends("tensorflow", "torch")


def parameter(*values, dtype=torch.float64):
    return torch.nn.Parameter(torch.tensor(values, dtype=dtype))


def away_from(target, *parameters):
    """Return the closure of the squared distance from a number."""
    return lambda: sum(((p.double() - target) ** 2).sum() for p in parameters)


def test_the_flat_vector_is_that_of_torch_s_own_function():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
    layout = Layout.of(module.parameters())

    flat = torch.nn.utils.parameters_to_vector(module.parameters())

    np.testing.assert_array_equal(layout.read(), flat.detach().double().numpy())


def test_what_is_written_is_read_back_in_each_dtype():
    mixed = [
        parameter(1.0, 2.0, dtype=torch.float32),
        parameter(1.0 / 3.0),
        parameter(3.0, dtype=torch.float32),
        parameter(1.0 + 2.0j, dtype=torch.complex128),
    ]
    layout, before = Layout.of(mixed), list(mixed)
    x = np.array([0.1, -5.0, np.pi, 7.0, np.e, -1.0])

    layout.write(x)

    single = [0, 1, 3]
    expected = x.copy()
    expected[single] = x[single].astype(np.float32)
    np.testing.assert_array_equal(layout.read(), expected)
    assert layout.size == 6
    assert layout.dtype == "float32"
    assert mixed[3].item() == complex(np.e, -1.0)
    assert all(now is then for now, then in zip(mixed, before, strict=True))


def test_mixed_dtypes_are_optimized_together():
    single, double = parameter(0.0, 1.0, dtype=torch.float32), parameter(5.0)

    SolverOptimizer([single, double]).step(away_from(2.0, single, double))

    np.testing.assert_allclose(single.detach(), [2.0, 2.0], atol=1e-5)
    assert double.item() == pytest.approx(2.0, abs=1e-5)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert (single.grad.dtype, double.grad.dtype) == (torch.float32, torch.float64)


@pytest.mark.parametrize("solver", ["scipy:bfgs", "scipy:newton-cg"])
def test_complex_parameters_are_optimized_as_pairs_of_reals(solver):
    z = parameter(3.0 + 1.0j, -1.0j, dtype=torch.complex128)

    SolverOptimizer([z], solver).step(lambda: 0.5 * ((z - (1.0 - 2.0j)).abs() ** 2).sum())

    np.testing.assert_allclose(z.detach().numpy(), 1.0 - 2.0j, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="it needs a CUDA device")
def test_parameters_on_two_devices_are_optimized_together():
    host = parameter(0.0)
    device = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64, device="cuda"))

    SolverOptimizer([host, device]).step(
        lambda: (host - 1.0).square().sum() + (device - 2.0).square().sum().cpu()
    )

    assert host.item() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(device.detach().cpu(), 2.0, atol=1e-5)
    assert device.grad.device.type == "cuda"


def test_frozen_parameters_are_left_alone_with_their_gradients():
    free, frozen = parameter(0.0), parameter(5.0)
    frozen.requires_grad_(requires_grad=False)
    frozen.grad = torch.tensor([7.0], dtype=torch.float64)

    SolverOptimizer([free, frozen]).step(away_from(2.0, free, frozen))

    assert free.item() == pytest.approx(2.0)
    assert (frozen.item(), frozen.grad.item()) == (5.0, 7.0)


def test_what_is_unfrozen_between_steps_takes_part_in_the_next():
    first, second = parameter(0.0), parameter(0.0)
    second.requires_grad_(requires_grad=False)
    optimizer = SolverOptimizer([first, second])
    optimizer.step(away_from(2.0, first, second))
    assert second.item() == 0.0

    second.requires_grad_()
    optimizer.step(away_from(2.0, first, second))

    assert second.item() == pytest.approx(2.0)
    assert optimizer.result.x.size == 2


def test_only_frozen_parameters_are_refused():
    frozen = torch.zeros(2)

    with pytest.raises(UnsupportedError, match="no parameter has requires_grad=True"):
        SolverOptimizer([frozen])


def test_shared_parameters_are_counted_once():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2))
    module[1].weight = module[0].weight

    optimizer = SolverOptimizer(module.parameters(), maxiter=1)
    optimizer.step(lambda: (module(torch.eye(2)) - 1.0).square().sum())

    assert optimizer.result.x.size == 6


def test_groups_have_bounds_of_their_own_and_others_the_default():
    a, b, c = parameter(0.0), parameter(0.0, 0.0), parameter(0.0)
    upper = torch.tensor([1.0, 9.0])
    groups = [
        {"params": [a], "bounds": (None, 0.5)},
        {"params": [b], "bounds": (0.0, upper)},
        {"params": [c]},
    ]

    optimizer = SolverOptimizer(groups, bounds=(-1.0, 1.5))
    optimizer.step(away_from(2.0, a, b, c))

    assert a.item() == 0.5
    np.testing.assert_allclose(b.detach(), [1.0, 2.0], atol=1e-6)
    assert c.item() == 1.5


def test_a_group_may_have_no_bounds_where_the_default_has():
    a, b = parameter(0.0), parameter(0.0)

    SolverOptimizer([{"params": [a], "bounds": None}, {"params": [b]}], bounds=(0, 1)).step(
        away_from(2.0, a, b)
    )

    assert a.item() == pytest.approx(2.0)
    assert b.item() == 1.0


def test_the_loss_is_never_evaluated_outside_the_bounds():
    w, seen = parameter(0.5, 0.5), []

    def closure():
        seen.append(w.detach().clone())
        return ((w - torch.tensor([5.0, -5.0])) ** 2).sum() + torch.sqrt(w).sum()

    SolverOptimizer([w], "scipy:l-bfgs-b", bounds=(0.25, 1.0)).step(closure)

    assert all(((x >= 0.25) & (x <= 1.0)).all() for x in seen)
    np.testing.assert_allclose(w.detach(), [1.0, 0.25])


def test_a_start_outside_the_bounds_is_moved_into_them():
    w = parameter(5.0)

    SolverOptimizer([w], bounds=(0.0, 1.0)).step(away_from(0.5, w))

    assert w.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("bounds", "match"),
    [
        (3.0, "the bounds of parameter group 0 are not a pair: 3.0"),
        ((0.0, 1.0, 2.0), "are not a pair"),
        ((1.0, 0.0), "exclude every value of parameter 0"),
        ((None, torch.ones(5)), r"does not fit: .* an array of shape \(2,\)"),
        (("low", None), "does not fit: 'low'"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(bounds, match):
    with pytest.raises(BoundsError, match=match):
        SolverOptimizer([parameter(0.0, 0.0)], bounds=bounds)


def test_bounds_of_complex_parameters_are_refused():
    z = parameter(1.0j, dtype=torch.complex64)

    with pytest.raises(BoundsError, match="complex numbers have no order"):
        SolverOptimizer([z], bounds=(0.0, 1.0))


def test_half_precision_is_refused_with_the_reason():
    w = parameter(1.0, dtype=torch.float16)

    with pytest.raises(UnsupportedError, match="float16"):
        SolverOptimizer([w])


def test_sparse_gradients_are_taken():
    embedding = torch.nn.Embedding(5, 2, sparse=True, dtype=torch.float64)
    rows, before = torch.tensor([0, 3]), embedding.weight.detach().clone()

    def closure():
        loss = (embedding(rows) - 1.0).square().sum()
        loss.backward()
        return loss

    SolverOptimizer(embedding.parameters()).step(closure)

    after = embedding.weight.detach()
    np.testing.assert_allclose(after[rows], 1.0, atol=1e-5)
    assert torch.equal(after[[1, 2, 4]], before[[1, 2, 4]])
