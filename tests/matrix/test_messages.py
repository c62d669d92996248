"""What cannot be done, with every family: each refusal says what, which value, and the cure."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from matrix.families import (
    FAMILIES,
    ONE_OF_EACH,
    SAMPLES,
    Shared,
    flat_weights,
    line,
    line_data,
    normal,
    way,
)

import kormos
from kormos import Status
from kormos_core.errors import (
    BoundsError,
    DataError,
    KormosError,
    NotCompiledError,
    OptionError,
    UnknownOptionError,
    UnknownSolverError,
    UnsupportedError,
)

X, Y = line_data()
LABELS = (Y > 0).astype("int64")
LINE = Shared(line)


def spoiled(array, value=np.nan):
    array = np.array(array)
    array.flat[7] = value
    return array


def stream(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


# --- arguments of fit --------------------------------------------------------------------------


ARGUMENTS = {
    "batch_size": ({"batch_size": "a"}, DataError, r"batch_size is not usable: 'a'.*None for the"),
    "epochs": ({"epochs": 0}, UnsupportedError, r"\(epochs, or .*\) is not usable: 0\. Allowed"),
    "epochs as text": ({"epochs": "x"}, UnsupportedError, "is not usable: 'x'. Allowed is a pos"),
    "split": ({"validation_split": 2}, DataError, "validation_split is out of range: 2. Allowed"),
    "split as text": ({"validation_split": "x"}, DataError, "is out of range: 'x'. Allowed is a"),
    "first epoch": (
        {"initial_epoch": 9, "epochs": 3},
        UnsupportedError,
        "no iteration is left: epochs=3 .* initial_epoch=9 .*Raise it",
    ),
    "steps": ({"steps_per_epoch": "a"}, DataError, "steps_per_epoch='a' does not fit.*Allowed is"),
    "class weights": (
        {"y": LABELS, "class_weight": [1.0, 2.0]},
        DataError,
        r"class_weight is not usable: \[1\.0, 2\.0\]\. Allowed is a mapping",
    ),
    "sample weights": (
        {"sample_weight": np.ones(7)},
        DataError,
        r"differ in length: \[23, 23, 7\] samples.*Pass arrays of equal length",
    ),
    "verbose": ({"verbose": 7}, UnsupportedError, "verbose is not usable: 7. Allowed are 'auto'"),
    "frequency": (
        {"validation_data": (X, Y), "validation_freq": 0},
        DataError,
        "validation_freq is not usable: 0. Allowed is a positive",
    ),
    "callbacks": ({"callbacks": ["x"]}, UnsupportedError, "not a callback: 'x'. Allowed are"),
    "option": ({"options": {"gtoll": 1}}, UnknownOptionError, r"'gtoll' .* Allowed: "),
    "tolerance": ({"tol": "x"}, KormosError, "option tol='x' of .* is not usable. Allowed: a "),
    "solver": (
        {"method": "adagradd"},
        UnknownSolverError,
        "unknown solver 'adagradd'.*`kormos so",
    ),
    "plugin": ({"method": "nlopt:mma"}, UnknownSolverError, "'nlopt:mma'.*Installed: .*native"),
    "kinds of both": (
        {"y": LABELS, "class_weight": {0: 2.0}, "sample_weight": np.ones(SAMPLES)},
        DataError,
        "exclude each other. Allowed is one of them. Multiply",
    ),
}


@pytest.mark.parametrize("what", ARGUMENTS)
@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_an_argument_that_means_nothing_is_refused_and_nothing_is_changed(family, what):
    arguments, error, match = ARGUMENTS[what]
    model = LINE.model(family)
    start = flat_weights(model)

    with pytest.raises(error, match=match):
        model.fit(**({"x": X, "y": Y, "method": family, "verbose": 0} | arguments))

    np.testing.assert_array_equal(flat_weights(model), start)


BOUNDS = {
    "size": ([(0, 1)], BoundsError, "bounds have 1 pairs for 3 parameters.*Name weights"),
    "order": ((2, 1), BoundsError, r"lower 2\.0, upper 1\.0.*Swap or widen"),
    "name": ({"uint": (0, 1)}, BoundsError, "bounds name 'uint'.*unit/kernel"),
    "solver": ((0, 1), UnsupportedError, "does not honor bounds.*use a solver that honors them: "),
}


@pytest.mark.parametrize("what", BOUNDS)
@pytest.mark.parametrize("family", ["scipy:newton-cg", "native:lbfgs", "tfp:l-bfgs"])
def test_bounds_that_do_not_fit_are_refused(family, what):
    bounds, error, match = BOUNDS[what]

    with pytest.raises(error, match=match):
        LINE.fit(family, X, Y, bounds=bounds)


@pytest.mark.parametrize("family", FAMILIES)
def test_constraints_are_refused_with_the_names_of_those_that_keep_them(family):
    constraint = {"type": "ineq", "fun": lambda x: x[0]}

    with pytest.raises(UnsupportedError, match=f"{family} does not honor constr.*scipy:slsqp"):
        LINE.fit(family, X, Y, constraints=[constraint])


# --- data --------------------------------------------------------------------------------------


SHAPES = {
    "no data": ((None, Y), DataError, "there is no training data: x is None. Pass arrays"),
    "no targets": ((X, None), DataError, "there are no targets: y is None.*Pass y"),
    "empty": ((X[:0], Y[:0]), DataError, r"the training data is empty: sample counts \[0, 0\]"),
    "empty stream": ((stream(X, Y).take(0).batch(2), None), DataError, "gave no batch"),
    "lengths": ((X, Y[:5]), DataError, r"differ in length: \[23, 5\] samples.*equal length"),
    "inputs": ((normal(SAMPLES, 3), Y), UnsupportedError, r"Inputs: float64\[23, 3\].*Compare"),
    "flat inputs": ((normal(SAMPLES), Y), UnsupportedError, r"Expected shape \(None, 2\)"),
    "wide targets": ((X, normal(SAMPLES, 2)), DataError, r"\(23, 2\) do not fit outputs of shape"),
    "nested list": ((X, Y.tolist()), DataError, r"y is a nested list.*np\.asarray\(y\)"),
    "words": ((np.full((SAMPLES, 2), "a"), Y), UnsupportedError, r"Inputs: string\[23, 2\]"),
    "complex": ((X + 1j, Y), DataError, "imaginary parts would be lost.*side by side"),
    "single samples": ((stream(X, Y), None), DataError, r"single samples.*dataset\.batch"),
    "path": (("data.csv", Y), DataError, "is not usable: str. Allowed are arrays.*Convert"),
    "function": ((lambda: iter([(X, Y)]), None), DataError, "not usable: function. Allowed are"),
}


@pytest.mark.parametrize("what", SHAPES)
@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_data_of_the_wrong_shape_is_refused(family, what):
    arrays, error, match = SHAPES[what]

    with pytest.raises(error, match=match):
        LINE.fit(family, *arrays)


SPOILED = {
    "input": ((spoiled(X), Y), "the input has 1 NaN or infinite values"),
    "target": ((X, spoiled(Y, np.inf)), "the target has 1 NaN or infinite values"),
}


@pytest.mark.parametrize("where", SPOILED)
@pytest.mark.parametrize("family", FAMILIES)
def test_nan_in_the_data_is_named_and_leaves_the_weights(family, where):
    arrays, cause = SPOILED[where]
    model = LINE.model(family)
    start = flat_weights(model)

    with pytest.warns(RuntimeWarning, match=f"at the starting point: {cause}"):
        result = LINE.fit(family, *arrays).result

    assert result.status is Status.NONFINITE
    np.testing.assert_array_equal(flat_weights(model), start)


# --- labels ------------------------------------------------------------------------------------


MANY = 40  # the trial evaluation before the first step looks at 32


def classifier(**how):
    model = kormos.BatchOptimizedSequentialModel([keras.Input((2,)), layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, **how)
    return model


CLASSIFIER = Shared(classifier)


@pytest.mark.parametrize("at", [3, MANY - 1], ids=["seen before the start", "seen on the way"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_label_out_of_range_is_told_in_our_words(family, at):
    labels = np.arange(MANY) % 3
    labels[at] = 7

    with pytest.raises(
        UnsupportedError, match=r"^the model '.*' cannot be evaluated on its data: .*value of 7 wh"
    ):
        CLASSIFIER.fit(family, normal(MANY, 2), labels)


def test_a_label_out_of_range_is_named_where_xla_makes_it_nan():
    model = classifier(optimizer="scipy:l-bfgs-b", jit_compile=True)
    labels = np.arange(MANY) % 3
    labels[-1] = -1

    with pytest.warns(
        RuntimeWarning, match="class indices outside of 0 to 2: 1 of 40, such as -1"
    ):
        result = model.fit(normal(MANY, 2), labels, verbose=0).result

    assert result.status is Status.NONFINITE


# --- losses and compilation --------------------------------------------------------------------


LOSSES = {
    "none": (None, NotCompiledError, r"has no loss: loss=None.*Pass loss= to compile\(\)"),
    "number": (3, UnsupportedError, "Could not interpret loss identifier: 3"),
    "raises": (lambda y, p: 1 / 0, UnsupportedError, "ZeroDivisionError: division by zero. Inp"),
    "names": ({"unit": "mse"}, UnsupportedError, "have no names.*Pass one loss, or a list"),
    "NumPy": (
        lambda y, p: np.mean((np.asarray(y) - np.asarray(p)) ** 2),
        UnsupportedError,
        "cannot be evaluated on its data: NotImplementedError: Cannot convert a symbolic",
    ),
}


@pytest.mark.parametrize("what", LOSSES)
@pytest.mark.parametrize("family", ["scipy:l-bfgs-b", "native:lbfgs"])
def test_a_loss_that_is_none_is_refused(family, what):
    loss, error, match = LOSSES[what]
    model = line(optimizer=family, loss=loss, jit_compile=False)

    with pytest.raises(error, match=match):
        model.fit(X, Y, verbose=0)


class Own(kormos.BatchOptimizedModel):
    """A model whose loss is a number for each sample."""

    def __init__(self):
        super().__init__()
        self.unit = layers.Dense(1)

    def call(self, x):
        return self.unit(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.square(y - y_pred)


@pytest.mark.parametrize("batch_size", [None, 9])
@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_a_loss_that_is_a_vector_is_refused(family, batch_size):
    model = Own()
    model.compile(optimizer=family, **way(family))

    with pytest.raises(
        UnsupportedError, match=r"compute_loss of 'own.*Reduce it, such as by keras"
    ):
        model.fit(X, Y, batch_size=batch_size, verbose=0)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_a_model_that_is_not_compiled_is_refused(family):
    model = kormos.BatchOptimizedSequentialModel([keras.Input((2,)), layers.Dense(1)])

    with pytest.raises(NotCompiledError, match=r"is not compiled.*Call compile\(\) before fit"):
        model.fit(X, Y, method=family)


@pytest.mark.parametrize(
    ("optimizer", "error", "match"),
    [
        ("native:lbgfs", UnknownSolverError, "Did you mean 'native:lbfgs'"),
        ("tfp:adam", UnknownSolverError, "unknown solver 'tfp:adam'"),
    ],
)
def test_a_solver_that_there_is_not_is_refused_when_compiling(optimizer, error, match):
    with pytest.raises(error, match=match):
        line(optimizer=optimizer)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_option_that_there_is_not_is_refused_when_it_is_made(family):
    with pytest.raises(
        OptionError, match=rf"unknown option 'gtoll'.* solver {family}\..*Allowed: "
    ):
        kormos.BatchOptimizer(family, options={"gtoll": 1.0})


# --- functions ---------------------------------------------------------------------------------


FUNCTIONS = {
    "vector": (lambda x: x**2, r"gives a tensor of shape \(2,\).*Reduce it"),
    "integer": (lambda x: ops.cast(ops.sum(x), "int32"), "gives int32, which has no derivative"),
    "NumPy": (lambda x: np.sum(np.asarray(x)), "the function cannot be traced: NotImplemented"),
    "nothing": (lambda x: None, r"cannot be traced: ValueError: .*\(None\).*a scalar tensor"),
}


@pytest.mark.parametrize("what", FUNCTIONS)
@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_a_function_that_gives_no_number_is_refused(family, what):
    function, match = FUNCTIONS[what]

    with pytest.raises(UnsupportedError, match=match):
        kormos.minimize(function, np.ones(2), solver=family)
