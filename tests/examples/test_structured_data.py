from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

SCRIPT = "structured_data_classification.py"
PENALTY = 0.01
ROWS = 331
PARTS = (slice(None, ROWS), slice(ROWS, None))


@pytest.fixture(scope="module")
def encoded(script):
    """The space that the training rows taught, and training and validation data."""
    columns, y = script.load()
    kept, held = ({name: values[part] for name, values in columns.items()} for part in PARTS)
    space = script.build_space(kept)
    return space, (space(kept), y[PARTS[0]]), (space(held), y[PARTS[1]])


def fit(script, encoded, optimizer, *, hidden, epochs):
    space, data, validation = encoded
    keras.utils.set_random_seed(1)
    model = script.build_model(space, hidden, PENALTY)
    return model, *script.train(model, optimizer, data, validation, epochs)


def test_numbers_are_normalized_and_categories_are_one_of_a_kind(encoded):
    features = encoded[1][0].numpy().astype("float64")

    ones = np.isin(features, (0.0, 1.0)).all(axis=0)
    numbers = features[:, ~ones]
    assert numbers.shape == (ROWS, 8)
    np.testing.assert_allclose(numbers.mean(axis=0), 0.0, atol=1e-4)  # sums in float32
    np.testing.assert_allclose(numbers.std(axis=0), 1.0, atol=1e-4)
    np.testing.assert_array_equal(features[:, ones].sum(axis=1), 4)  # age, sex, weight, cross


def test_without_hidden_units_the_minimum_is_that_of_logistic_regression(script, encoded):
    model, row, _ = fit(script, encoded, "native:lbfgs", hidden=0, epochs=300)

    x, y = encoded[1][0].numpy(), encoded[1][1][:, 0]
    peer = LogisticRegression(C=1.0 / (2.0 * PENALTY * len(y)), tol=1e-10, max_iter=10_000)
    peer.fit(x.astype("float64"), y)
    kernel, bias = (weight.astype("float64") for weight in model.get_weights())
    # float32: the loss is flat to 1e-7 within 1e-3 of the minimum
    np.testing.assert_allclose(kernel[:, 0], peer.coef_[0], atol=3e-3)
    np.testing.assert_allclose(bias, peer.intercept_, atol=3e-3)
    chances = peer.predict_proba(x)[np.arange(len(y)), y.astype(int)]
    least = -np.mean(np.log(chances)) + PENALTY * np.sum(peer.coef_**2)
    assert row.loss == pytest.approx(least, rel=1e-5)


def test_the_batch_solver_ends_lower_than_adam_after_as_many_sweeps(script, encoded):
    _, adam, _ = fit(script, encoded, "adam", hidden=8, epochs=25)
    _, lbfgs, history = fit(script, encoded, "native:lbfgs", hidden=8, epochs=22)

    assert lbfgs.evaluations <= 25
    assert lbfgs.loss < adam.loss
    assert history["loss"][-1] == pytest.approx(lbfgs.loss, rel=1e-5)  # float32


def test_the_script_tells_and_draws_what_came_of_it(run_script):
    ran = run_script("--epochs", "5", "--hidden", "4")

    assert ran.picture.startswith(b"\x89PNG")
    assert "331 training rows" in ran.told
    assert "The epochs were over." in ran.told
    assert "The iteration limit was reached." in ran.told
