"""A zoo of tiny compiled models that differ in kind, each with data of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAMPLES = 13  # a prime: every batch size leaves a ragged last batch


@contextmanager
def floatx(dtype: str) -> Iterator[None]:
    """Let Keras compute in `dtype`: layers follow the policy, losses and metrics the floatx."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)


@dataclass
class Case:
    """A compiled model with its data."""

    model: keras.Model
    x: Any
    y: Any
    sample_weight: Any = None


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def sequences(length: int = 4, words: int = 7) -> np.ndarray:
    """Word indices, padded with zeros at the end, one sequence of each length at least."""
    rng = np.random.default_rng(3)
    x = rng.integers(1, words, (SAMPLES, length))
    for row in range(SAMPLES):
        x[row, 1 + row % length :] = 0
    return x


def classes(*shape: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(4).integers(0, count, (SAMPLES, *shape))


def regression(*body: layers.Layer, shape: tuple[int, ...] = (3,)) -> Case:
    """Put `body` and a linear unit behind an input, with a squared loss."""
    model = keras.Sequential([keras.Input(shape), *body, layers.Dense(1)])
    model.compile(loss="mse", optimizer="sgd")
    return Case(model, normal(SAMPLES, *shape), normal(SAMPLES, 1, seed=1))


def dense() -> Case:
    return regression(
        layers.Dense(4, "tanh", kernel_regularizer="l2", activity_regularizer="l2"),
        layers.Dense(2, "softplus", bias_regularizer=keras.regularizers.L2(0.1)),
    )


def convolution() -> Case:
    model = keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            layers.Conv2D(2, 3, activation="tanh", kernel_regularizer="l2"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer="sgd", metrics=["accuracy"])
    return Case(model, normal(SAMPLES, 5, 5, 1), classes())


def max_pooling() -> Case:
    return regression(
        layers.Conv2D(2, 2, activation="tanh"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        shape=(5, 5, 1),
    )


def average_pooling() -> Case:
    return regression(
        layers.Conv2D(2, 2, activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        shape=(5, 5, 1),
    )


def masked_tokens(sample_weight: Any = None, **loss_options: Any) -> Case:
    """Classify every token; padding is masked out of the loss."""
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(7, 3, mask_zero=True, embeddings_regularizer="l2"),
            layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, **loss_options)
    model.compile(loss=loss, optimizer="sgd")
    return Case(model, sequences(), classes(4), sample_weight)


def masked_then_pooled() -> Case:
    """Let a recurrent layer consume the mask."""
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(7, 2, mask_zero=True),
            layers.SimpleRNN(3),
            layers.Dense(1),
        ]
    )
    model.compile(loss="mse", optimizer="sgd")
    return Case(model, sequences(), normal(SAMPLES, 1))


class MaskingBlock(layers.Layer):
    """A custom layer that hides an embedding, and with it a mask."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.embedding = layers.Embedding(7, 3, mask_zero=True)

    def build(self, shape):
        self.embedding.build(shape)

    def call(self, x):
        return self.embedding(x)


def hidden_mask() -> Case:
    model = keras.Sequential([keras.Input((4,), dtype="int32"), MaskingBlock(), layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer="sgd")
    return Case(model, sequences(), classes(4))


def ignored_class() -> Case:
    """Let the loss itself mask out the targets of one class."""
    model = keras.Sequential([keras.Input((4, 2)), layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    model.compile(loss=loss, optimizer="sgd")
    return Case(model, normal(SAMPLES, 4, 2), classes(4))


def simple_rnn() -> Case:
    return regression(layers.SimpleRNN(2), shape=(3, 2))


def gru() -> Case:
    return regression(layers.GRU(2), shape=(3, 2))


def lstm() -> Case:
    return regression(layers.LSTM(2), shape=(3, 2))


def attention() -> Case:
    inputs = keras.Input((3, 2))
    hidden = layers.MultiHeadAttention(1, 2)(inputs, inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(hidden)))
    model.compile(loss="mse", optimizer="sgd")
    return Case(model, normal(SAMPLES, 3, 2), normal(SAMPLES, 1, seed=1))


def two_in_two_out(**compile_options: Any) -> Case:
    """Two inputs by name, two outputs with losses and weights of their own."""
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((3,), name="b")}
    joined = layers.Concatenate()(
        [layers.Dense(2, "tanh")(inputs["a"]), layers.Dense(2, "tanh")(inputs["b"])]
    )
    outputs = {
        "price": layers.Dense(1, name="price", kernel_regularizer="l2")(joined),
        "kind": layers.Dense(3, name="kind")(joined),
    }
    model = keras.Model(inputs, outputs)
    kind = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {
        "loss": {"price": "mae", "kind": kind},
        "loss_weights": {"price": 0.3, "kind": 2.0},
    }
    model.compile(optimizer="sgd", **(options | compile_options))
    x = {"a": normal(SAMPLES, 2), "b": normal(SAMPLES, 3, seed=1)}
    return Case(model, x, {"price": normal(SAMPLES, 1, seed=2), "kind": classes()})


def masked_and_plain() -> Case:
    """One output for each token, masked; one for the sequence, not masked."""
    inputs = keras.Input((4,), dtype="int32")
    tokens = layers.Embedding(7, 3, mask_zero=True)(inputs)
    one = layers.Dense(2, name="token")(tokens)
    other = layers.Dense(1, name="whole")(layers.SimpleRNN(2)(tokens))
    model = keras.Model(inputs, [one, other])
    token = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=[token, "mse"], loss_weights=[1.5, 0.5], optimizer="sgd")
    return Case(model, sequences(), [classes(4, count=2), normal(SAMPLES, 1)])


def batch_normalization() -> Case:
    return regression(layers.Dense(2), layers.BatchNormalization(), layers.Dense(2, "tanh"))


def layer_normalization() -> Case:
    return regression(layers.Dense(3), layers.LayerNormalization(), layers.Dense(2, "tanh"))


def group_normalization() -> Case:
    return regression(layers.Dense(4), layers.GroupNormalization(2), layers.Dense(2, "tanh"))


def frozen_layer() -> Case:
    frozen = layers.Dense(3, "tanh", trainable=False, kernel_regularizer="l2")
    return regression(frozen, layers.Dense(2, "tanh", kernel_regularizer="l2"))


def shared_layer() -> Case:
    one, two = keras.Input((2,)), keras.Input((2,))
    shared = layers.Dense(3, "tanh", kernel_regularizer="l2", activity_regularizer="l2")
    model = keras.Model([one, two], layers.Dot(1)([shared(one), shared(two)]))
    model.compile(loss="mse", optimizer="sgd")
    x = [normal(SAMPLES, 2), normal(SAMPLES, 2, seed=1)]
    return Case(model, x, normal(SAMPLES, 1, seed=2))


def nested_models() -> Case:
    inner = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, "tanh", activity_regularizer="l2")]
    )
    return regression(inner, keras.Sequential([keras.Input((2,)), layers.Dense(2, "tanh")]))


class Subclassed(keras.Model):
    """A model that is built by its first call, without a graph of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(3, "tanh", kernel_regularizer="l2")
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))


def subclassed() -> Case:
    model = Subclassed()
    model.compile(loss="mse", optimizer="sgd")
    return Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1, seed=1))


class OwnLoss(Subclassed):
    """A model that computes its loss itself, as a mean or as a sum."""

    def __init__(self, reduce: Callable[..., Any]) -> None:
        super().__init__()
        self.reduce = reduce

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return self.reduce(ops.logaddexp(y_pred - y, y - y_pred))


def own_mean_loss() -> Case:
    model = OwnLoss(ops.mean)
    model.compile(optimizer="sgd")
    return Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1, seed=1))


def own_sum_loss() -> Case:
    model = OwnLoss(ops.sum)
    model.compile(optimizer="sgd")
    return Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1, seed=1))


class Adding(layers.Layer):
    """Passes its input on and adds a loss that `reduce` makes of it."""

    def __init__(self, reduce: Callable[..., Any], **options: Any) -> None:
        super().__init__(**options)
        self.reduce = reduce

    def call(self, x):
        self.add_loss(self.reduce(x))
        return x


def added(reduce: Callable[..., Any]) -> Case:
    return regression(layers.Dense(2, "tanh", kernel_regularizer="l2"), Adding(reduce))


def added_mean() -> Case:
    return added(lambda x: 0.5 * ops.mean(ops.square(x)))


def added_sum() -> Case:
    return added(lambda x: 0.5 * ops.sum(ops.square(x)))


def relu() -> Case:
    return regression(layers.Dense(8, "relu"), layers.Dense(4, "relu"))


ZOO: dict[str, Callable[[], Case]] = {
    make.__name__: make
    for make in (
        dense,
        convolution,
        max_pooling,
        average_pooling,
        masked_tokens,
        masked_then_pooled,
        hidden_mask,
        ignored_class,
        simple_rnn,
        gru,
        lstm,
        attention,
        two_in_two_out,
        masked_and_plain,
        batch_normalization,
        layer_normalization,
        group_normalization,
        frozen_layer,
        shared_layer,
        nested_models,
        subclassed,
        own_mean_loss,
        own_sum_loss,
        added_mean,
        added_sum,
    )
}


def make(name: str, dtype: str = "float64") -> Case:
    """Make one of the zoo, always with the same weights and data."""
    with floatx(dtype):
        keras.utils.set_random_seed(7)
        return ZOO[name]()
