from __future__ import annotations

from collections import OrderedDict
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import kormos
from kormos_core.errors import UnsupportedError

LM = "native:levenberg-marquardt"
SAMPLES = 13
T = np.linspace(0.0, 2.0, SAMPLES)[:, None]
Y = np.sin(2.0 * T)
W = np.where(np.arange(SAMPLES) % 4 == 1, 0.0, np.linspace(0.5, 2.0, SAMPLES))
ROUNDING = 1e-12


@keras.saving.register_keras_serializable(package="tests")
class Network(kormos.LeastSquaresMixin, keras.Model):
    """A small network whose residuals are its errors."""

    def __init__(self, regularizer: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = layers.Dense(4, activation="tanh", kernel_regularizer=regularizer)
        self.out = layers.Dense(1)

    def call(self, t):
        return self.out(self.hidden(t))

    def compute_residuals(self, x, y, y_pred):
        return y_pred - y


@keras.saving.register_keras_serializable(package="tests")
class Decay(Network):
    """A network ``u`` with ``u' = -u`` and ``u(0) = 1``: a derivative within the residuals."""

    def compute_residuals(self, x, y, y_pred):
        with tf.GradientTape() as tape:
            tape.watch(x)
            u = self(x)
        return {"equation": tape.gradient(u, x) + u, "start": self(0.0 * x[:1]) - 1.0}


@keras.saving.register_keras_serializable(package="tests")
class Functional(kormos.LeastSquaresModel):
    """A functional model whose residuals are its errors."""

    def compute_residuals(self, x, y, y_pred):
        return [y_pred - y]


def made(kind: type = Network, optimizer: Any = LM, **options: Any) -> keras.Model:
    """Make a compiled model, always with the same weights."""
    keras.utils.set_random_seed(2)
    model = kind(options.pop("regularizer", None))
    model.compile(optimizer, **options)
    model(T)
    return model


def made_functional(optimizer: Any = LM, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((1,))
    outputs = layers.Dense(1)(layers.Dense(4, activation="tanh")(inputs))
    model = Functional(inputs, outputs)
    model.compile(optimizer, **options)
    return model


def giving(terms: Any) -> type:
    """Make a kind of model whose residuals are what `terms` makes of errors and network."""

    class Own(Network):
        def compute_residuals(self, x, y, y_pred):
            return terms(y_pred - y, self)

    return Own


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def decay_terms(model: keras.Model, t: np.ndarray) -> tuple[np.ndarray, float]:
    """Compute a network's residuals in NumPy: those of the equation, and that of the start."""
    kernel, bias, out, shift = weights_of(model)
    hidden = np.tanh(t @ kernel + bias)
    u, slope = hidden @ out + shift, ((1.0 - hidden**2) * kernel) @ out
    return slope + u, (np.tanh(bias) @ out + shift - 1.0).item()


def errors_of(model: keras.Model) -> np.ndarray:
    kernel, bias, out, shift = weights_of(model)
    return np.tanh(T @ kernel + bias) @ out + shift - Y


def loss_of(model: keras.Model, sample_weight: Any = None) -> float:
    """Compute the loss as a training step of Keras does."""
    x, y = ops.convert_to_tensor(T), ops.convert_to_tensor(Y)
    return float(
        model.compute_loss(x=x, y=y, y_pred=model(x), sample_weight=sample_weight, training=True)
    )


# --- training ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: "adam",
        lambda: "native:lbfgs",
        lambda: kormos.BatchOptimizer("native:newton-cg", hvp="gauss-newton"),
        lambda: LM,
    ],
    ids=["adam", "lbfgs", "gauss-newton products", "levenberg-marquardt"],
)
def test_every_optimizer_trains_the_loss_of_the_residuals(optimizer, float64):
    model = made(Decay, optimizer(), loss_weights={"equation": 2.0, "start": 3.0})

    losses = model.fit(T, epochs=5, verbose=0).history["loss"]

    equation, start = decay_terms(model, T)
    loss = 2.0 * np.mean(equation**2) + 3.0 * start**2
    assert losses[-1] < losses[0]
    assert model.evaluate(T, verbose=0) == pytest.approx(loss, rel=ROUNDING)
    # Adam tells of the loss before its last step
    if not isinstance(model.optimizer, keras.optimizers.Adam):
        assert losses[-1] == pytest.approx(loss, rel=ROUNDING)


def test_a_network_finds_the_solution_of_its_equation_from_weighted_batches(float64):
    model = made(Decay)

    # with twelve of thirteen samples the last batch has one, as has the term of the start
    history = model.fit(T, Y, sample_weight=W, epochs=40, verbose=0, batch_size=12).history

    equation, start = decay_terms(model, T)
    loss = np.mean(W[:, None] * equation**2) + np.mean(W) * start**2
    told = model.evaluate(T, Y, sample_weight=W, verbose=0, batch_size=SAMPLES)
    assert np.abs(model.predict(T, verbose=0) - np.exp(-T)).max() < 1e-3
    assert [history["loss"][-1], told] == pytest.approx([loss, loss], rel=1e-8)  # it is small


def test_functional_models_have_metrics_and_validation(float64):
    model = made_functional(metrics=["mae"])

    history = model.fit(T, Y, epochs=2, verbose=0, validation_data=(T[:5], Y[:5])).history

    errors = errors_of(model)
    assert history["loss"][-1] == pytest.approx(np.mean(errors**2), rel=ROUNDING)
    assert history["mae"][-1] == pytest.approx(np.mean(np.abs(errors)), rel=ROUNDING)
    assert history["val_loss"][-1] == pytest.approx(np.mean(errors[:5] ** 2), rel=ROUNDING)


def test_regularizers_are_part_of_the_loss_whatever_the_batches(float64):
    losses = []
    for size in (SAMPLES, 5):
        model = made(regularizer=keras.regularizers.L2(0.5))
        losses.append(model.fit(T, Y, epochs=2, verbose=0, batch_size=size).history["loss"])

    loss = np.mean(errors_of(model) ** 2) + 0.5 * np.sum(weights_of(model)[0] ** 2)
    assert losses[1][-1] == pytest.approx(loss, rel=1e-7)  # Keras rounds the factor
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)  # there are few samples


def test_it_learns_the_uncertainty_of_what_it_fits(float64):
    class Line(kormos.LeastSquaresMixin, keras.Sequential):
        def compute_residuals(self, x, y, y_pred):
            return y_pred - y

    model = Line([keras.Input((1,)), layers.Dense(1)])
    model.compile(LM)

    result = model.fit(T, Y, epochs=20, verbose=0).result

    design = np.column_stack([T, np.ones(SAMPLES)])
    variance = np.linalg.lstsq(design, Y)[1][0] / (SAMPLES - 2)
    expected = variance * np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(result.covariance(), expected, rtol=1e-8)


# --- weights of terms --------------------------------------------------------------------


def two(errors, network):
    return [errors, network.out.kernel]


def named(errors, network):
    return {"z": errors, "a": network.out.kernel}


def ordered(errors, network):
    return OrderedDict(z=errors, a=network.out.kernel)  # which Keras does not sort


def nested(errors, network):
    return {"z": errors, "a": [network.out.kernel, 2.0 * network.out.kernel]}


@pytest.mark.parametrize(
    ("terms", "weights", "expected"),
    [
        (two, None, (1.0, 1.0)),
        (two, 3.0, (3.0, 3.0)),
        (two, np.float32(3.0), (3.0, 3.0)),
        (two, [3.0, 5.0], (3.0, 5.0)),
        (two, (3.0, 0.0), (3.0, 0.0)),
        (named, {"a": 5.0, "z": 3.0}, (3.0, 5.0)),
        (ordered, {"a": 5.0, "z": 3.0}, (3.0, 5.0)),
        (nested, {"a": [1.0, 0.5], "z": 3.0}, (3.0, 1.0 + 0.5 * 4.0)),
        (nested, {"a": 1.0, "z": 3.0}, (3.0, 1.0 + 4.0)),
    ],
)
def test_weights_are_those_of_their_terms(terms, weights, expected, float64):
    model = made(giving(terms), loss_weights=weights)

    kernel = weights_of(model)[2]
    loss = expected[0] * np.mean(errors_of(model) ** 2) + expected[1] * np.mean(kernel**2)
    assert loss_of(model) == pytest.approx(loss, rel=ROUNDING)


@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        (two, [1.0], r"\[1\.0\] for 2 terms\. Allowed is one weight, or one for each term"),
        (two, [1.0, 2.0, 3.0], r"for 2 terms"),
        (two, {"a": 1.0, "z": 1.0}, r"for 2 terms"),
        (named, [1.0, 2.0], r"\[1\.0, 2\.0\] for terms named 'a', 'z'"),
        (named, {"z": 1.0}, r"for terms named 'a', 'z'"),
        (named, {"a": 1.0, "z": 1.0, "b": 1.0}, r"for terms named 'a', 'z'"),
        (lambda errors, _: errors, "abc", r"'abc' for one term"),
    ],
)
def test_weights_that_do_not_fit_the_terms_are_refused(terms, weights, message, float64):
    model = made(giving(terms), loss_weights=weights)

    with pytest.raises(UnsupportedError, match=rf"loss_weights do not fit .*{message}"):
        loss_of(model)


def test_weights_below_zero_are_refused_by_solvers_for_squares(float64):
    model = made(loss_weights=-1.0)

    with pytest.raises(UnsupportedError, match=r"the loss is -.*or weights below 0"):
        model.fit(T, Y, epochs=1, verbose=0)


# --- weights of samples ------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(SAMPLES,), (SAMPLES, 1)])
def test_weights_of_samples_are_those_of_rows(shape, float64):
    model = made(giving(lambda errors, _: ops.concatenate([errors, 2.0 * errors], axis=1)))

    loss = np.mean(W[:, None] * errors_of(model) ** 2) * 2.5
    assert loss_of(model, ops.reshape(W, shape)) == pytest.approx(loss, rel=ROUNDING)


@pytest.mark.parametrize("rows", [1, 7, SAMPLES + 1])
def test_terms_without_rows_of_samples_take_the_mean_of_the_weights(rows, float64):
    def terms(errors, network):
        return [errors, network(ops.ones((rows, 1))), network.out.kernel[0, 0]]

    model = made(giving(terms))

    kernel, bias, out, shift = weights_of(model)
    squares = (np.tanh(kernel + bias) @ out + shift).item() ** 2 + out[0, 0] ** 2
    loss = np.mean(W[:, None] * errors_of(model) ** 2) + np.mean(W) * squares
    assert loss_of(model, ops.convert_to_tensor(W)) == pytest.approx(loss, rel=ROUNDING)


@pytest.mark.parametrize(
    ("weight", "message"),
    [(np.ones((SAMPLES, 2)), r"of shape \(13, 2\)"), ({"a": W}, r"it is dict")],
)
def test_other_weights_than_one_for_each_sample_are_refused(weight, message, float64):
    weight = keras.tree.map_structure(ops.convert_to_tensor, weight)

    with pytest.raises(UnsupportedError, match=rf"does not fit residuals: .*{message}\. Allowed"):
        loss_of(made(), weight)


# --- saving ------------------------------------------------------------------------------


def test_a_model_that_was_saved_goes_on_exactly(tmp_path, float64):
    begun, straight = made_functional(loss_weights=[3.0]), made_functional(loss_weights=[3.0])
    begun.fit(T, Y, epochs=2, verbose=0)
    begun.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rest = loaded.fit(T, Y, epochs=4, initial_epoch=2, verbose=0).history["loss"]

    losses = straight.fit(T, Y, epochs=4, verbose=0).history["loss"]
    assert rest == losses[2:]
    assert rest[-1] == pytest.approx(3.0 * np.mean(errors_of(loaded) ** 2), rel=ROUNDING)
    for one, other in zip(weights_of(loaded), weights_of(straight), strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_of_terms_are_saved_with_their_weights(tmp_path, float64):
    model = made(Decay, loss_weights={"start": 9.0, "equation": 1.0})
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    equation, start = decay_terms(model, T)
    loss = np.mean(equation**2) + 9.0 * start**2
    assert loaded.evaluate(T, verbose=0) == pytest.approx(loss, rel=ROUNDING)


# --- misuse ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError(), {"a": "mse"}])
def test_a_loss_beside_residuals_is_refused(loss):
    with pytest.raises(
        UnsupportedError, match=r"cannot be honored: Network makes its loss of compute_residuals"
    ):
        made(loss=loss)


class Silent(kormos.LeastSquaresMixin, keras.Sequential):
    """A model that says nothing of its residuals."""


@pytest.mark.parametrize("optimizer", ["native:lbfgs", LM])
def test_a_model_without_residuals_is_told_to_write_them(optimizer):
    model = Silent([keras.Input((1,)), layers.Dense(1)])
    model.compile(optimizer)

    with pytest.raises(UnsupportedError, match=r"Silent has no compute_residuals\(self, x, y"):
        model.fit(T, Y, epochs=1, verbose=0)
    with pytest.raises(NotImplementedError, match=r"Silent has no compute_residuals"):
        model.compute_residuals(T, Y, Y)


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        (None, "NoneType"),
        ([], "list"),
        ("x", "str"),
        (np.ones(3), "ndarray"),
        ({"a": None}, "dict"),
    ],
)
def test_what_is_no_residuals_is_refused(gives, told, float64):
    model = made(giving(lambda errors, network: gives))

    with pytest.raises(
        UnsupportedError, match=rf"gives no residuals: {told}\. Allowed is a tensor, or a list"
    ):
        loss_of(model)


def test_an_own_loss_beside_residuals_is_refused(float64):
    class Doubled(Network):
        def compute_loss(self, *arguments, **named):
            return 2.0 * super().compute_loss(*arguments, **named)

    with pytest.raises(UnsupportedError, match=r"half the sum of the residuals' squares.*holds m"):
        made(Doubled).fit(T, Y, epochs=1, verbose=0)
