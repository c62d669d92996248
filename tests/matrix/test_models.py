"""Models of every make, with every family of solvers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from matrix.families import (
    EVALUATED,
    FAMILIES,
    ONE_OF_EACH,
    OPTIMUM,
    SAMPLES,
    Shared,
    best_line,
    column,
    evaluated,
    flat_weights,
    least_squares,
    line,
    line_data,
    normal,
    tight,
    way,
)

import kormos

# --- losses of a model's own ---------------------------------------------------------------


class Slope(kormos.BatchOptimizedMixin, keras.Model):
    """Solve u' + u = f by a combination of fixed bumps: the loss holds a derivative of u."""

    def __init__(self):
        super().__init__()
        self.bumps = layers.Dense(4, "tanh", trainable=False, kernel_initializer="random_normal")
        self.mix = layers.Dense(1, use_bias=False)

    def call(self, t):
        return self.mix(self.bumps(t))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        with tf.GradientTape() as tape:
            tape.watch(x)
            u = self(x)
        return ops.mean(ops.square(tape.gradient(u, x) + u - y))


def slope(**how):
    model = Slope()
    model(np.zeros((1, 1)))
    model.bumps.set_weights([np.array([[0.5, 1.0, -1.5, 2.0]]), np.array([0.3, -0.2, 0.5, 0.1])])
    model.compile(**how)
    return model


SLOPE = Shared(slope)
T = np.linspace(-1.0, 1.0, SAMPLES)[:, None]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loss_with_derivatives_of_the_network_inside_is_minimized(family):
    y = np.sin(3.0 * T)

    history = SLOPE.fit(family, T, y)

    kernel, bias = history.model.bumps.get_weights()
    bumps = np.tanh(T @ kernel + bias)
    design = (1.0 - bumps**2) * kernel + bumps  # of u' + u, by the chain rule
    expected = least_squares(design, y[:, 0])[1] / SAMPLES
    assert history.result.loss == pytest.approx(expected, rel=OPTIMUM)
    assert evaluated(history.model, T, y)["loss"] == pytest.approx(expected, rel=OPTIMUM)


class Shrink(layers.Layer):
    """Add the mean square of what passes, times a factor."""

    def call(self, x):
        self.add_loss(0.3 * ops.mean(ops.square(x)))
        return x


def shrunk(**how):
    model = kormos.BatchOptimizedSequentialModel([keras.Input((2,)), layers.Dense(1), Shrink()])
    model.compile(loss="mse", **how)
    return model


SHRUNK = Shared(shrunk)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_added_loss_is_minimized_too(family):
    x, y = line_data()
    design = column(x)
    both = np.concatenate([design, np.sqrt(0.3) * design])

    history = SHRUNK.fit(family, x, y)

    expected = least_squares(both, np.concatenate([y[:, 0], 0.0 * y[:, 0]]))[1] / SAMPLES
    assert history.result.loss == pytest.approx(expected, rel=OPTIMUM)
    assert evaluated(history.model, x, y)["loss"] == pytest.approx(expected, rel=OPTIMUM)


# --- layers that are nested, shared and frozen ---------------------------------------------


def siamese(**how):
    """Compare two inputs by one nested model, of which a part is frozen."""
    frozen = layers.Dense(3, "tanh", trainable=False)
    inner = keras.Sequential([keras.Input((2,)), frozen, layers.Dense(2, use_bias=False)])
    one, two = keras.Input((2,)), keras.Input((2,))
    difference = layers.Subtract()([inner(one), inner(two)])
    model = kormos.BatchOptimizedModel([one, two], difference)
    model.compile(loss="mse", **how)
    return model


SIAMESE = Shared(siamese)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_nested_shared_and_partly_frozen_model_is_trained(family):
    one, two, y = normal(SAMPLES, 2), normal(SAMPLES, 2, seed=1), normal(SAMPLES, 2, seed=2)
    frozen = SIAMESE.model(family).layers[2].layers[0]
    before = frozen.get_weights()

    history = SIAMESE.fit(family, [one, two], y)

    design = np.tanh(one @ before[0] + before[1]) - np.tanh(two @ before[0] + before[1])
    expected = sum(least_squares(design, y[:, k])[1] for k in (0, 1)) / y.size
    assert history.result.loss == pytest.approx(expected, rel=OPTIMUM)
    assert history.result.x.size == 6
    for weight, kept in zip(frozen.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert history.result.loss == pytest.approx(
        evaluated(history.model, [one, two], y)["loss"], rel=EVALUATED
    )


# --- freezing and thawing --------------------------------------------------------------------


def two_layers(family):
    keras.utils.set_random_seed(5)
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((2,)), layers.Dense(3, "tanh", name="first"), layers.Dense(1)]
    )
    model.get_layer("first").trainable = False
    model.compile(optimizer=tight(family, epochs=25), loss="mse", **way(family))
    return model


@pytest.mark.parametrize("recompiled", [False, True])
@pytest.mark.parametrize("family", ["scipy:l-bfgs-b", "native:newton-cg"])
def test_a_part_that_is_thawed_takes_part_in_the_next_fit(family, recompiled):
    # Keras's own fit goes on with the weights that it knew until compile() is called again.
    x, y = line_data()
    y = np.sin(2.0 * y)
    model = two_layers(family)
    first = model.get_layer("first")
    hidden = column(np.tanh(x @ first.get_weights()[0] + first.get_weights()[1]))
    frozen = model.fit(x, y, verbose=0).result
    kernel = first.get_weights()[0]

    first.trainable = True
    if recompiled:
        model.compile(optimizer=tight(family, epochs=25), loss="mse", **way(family))
    thawed = model.fit(x, y, verbose=0).result

    assert frozen.loss == pytest.approx(
        least_squares(hidden, y[:, 0])[1] / SAMPLES, rel=1e-4
    )  # 25 iterations are not all that some need
    assert (frozen.x.size, thawed.x.size) == (4, 13)
    assert thawed.loss < 0.9 * frozen.loss
    assert not np.array_equal(first.get_weights()[0], kernel)
    assert evaluated(model, x, y)["loss"] == pytest.approx(thawed.loss, rel=EVALUATED)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_a_part_that_is_frozen_without_compiling_stays(family):
    x, y = line_data()
    model = line(optimizer=tight(family), **way(family))
    model.fit(x, y, epochs=1, verbose=0)
    kernel = model.get_layer("unit").get_weights()[0]

    model.get_layer("unit").trainable = False

    with pytest.raises(kormos.KormosError, match="has no trainable weights"):
        model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.get_layer("unit").get_weights()[0], kernel)


# --- copies ----------------------------------------------------------------------------------


def functional():
    inputs = keras.Input((2,))
    return kormos.BatchOptimizedModel(inputs, layers.Dense(1, name="unit")(inputs))


def plain():
    return keras.Sequential([keras.Input((2,)), layers.Dense(1, name="unit")])


def by_config(model):
    return type(model).from_config(model.get_config())


COPIES = {
    "clone of a functional model": lambda: keras.models.clone_model(functional()),
    "functional model from its config": lambda: by_config(functional()),
    "Keras's class from a config of ours": lambda: keras.Model.from_config(
        functional().get_config()
    ),
    "clone of a sequential model": lambda: keras.models.clone_model(line()),
    "sequential model from its config": lambda: by_config(line()),
    "Keras's own model": plain,
}


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        *(("scipy:newton-cg", kind) for kind in COPIES),
        ("native:lbfgs", "clone of a functional model"),
        ("native:lbfgs", "Keras's own model"),
        ("tfp:l-bfgs", "sequential model from its config"),
    ],
)
def test_copies_and_plain_models_are_fitted_as_the_original_is(family, kind):
    x, y = line_data()
    model = COPIES[kind]()
    model.compile(loss="mse", **way(family))

    history = kormos.fit(model, x, y, solver=tight(family), verbose=0)

    # the error of the parameters is that of the gradient over the least curvature
    np.testing.assert_allclose(flat_weights(model), best_line()[0], atol=1e-5)
    assert history.result.loss == pytest.approx(evaluated(model, x, y)["loss"], rel=EVALUATED)
