"""A convolutional network on MNIST: Adam for one epoch, then a batch solver.

    python examples/mnist_convnet.py [--mnist mnist.npz] [--samples 60000]

Without --mnist, Keras downloads the data. The network has 34,826 parameters: kormos 0.1's
README chose BFGS here, whose dense matrix would take gigabytes; kormos says so before the
first step, and the example goes on with L-BFGS-B, which keeps a few vectors.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np

import kormos
from kormos.models import BatchOptimizedSequentialModel

num_classes = 10
input_shape = (28, 28, 1)


def load(path: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images in [0, 1] with one channel, labels as one-hot rows."""
    if path is None:
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    else:
        with np.load(path) as data:
            x_train, y_train = data["x_train"], data["y_train"]
            x_test, y_test = data["x_test"], data["y_test"]
    x_train = np.expand_dims(x_train.astype("float32") / 255, -1)
    x_test = np.expand_dims(x_test.astype("float32") / 255, -1)
    y_train = keras.utils.to_categorical(y_train, num_classes)
    y_test = keras.utils.to_categorical(y_test, num_classes)
    return x_train, y_train, x_test, y_test


def build_model() -> BatchOptimizedSequentialModel:
    """Two convolutions with pooling, dropout, softmax."""
    return BatchOptimizedSequentialModel(
        [
            keras.Input(shape=input_shape),
            keras.layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            keras.layers.MaxPooling2D(pool_size=(2, 2)),
            keras.layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            keras.layers.MaxPooling2D(pool_size=(2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(num_classes, activation="softmax"),
        ]
    )


def main() -> None:
    """Train with Adam, then with a batch solver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", help="path of mnist.npz")
    parser.add_argument("--samples", type=int, default=60_000, help="training samples to use")
    arguments = parser.parse_args()
    x_train, y_train, x_test, y_test = load(arguments.mnist)
    x_train, y_train = x_train[: arguments.samples], y_train[: arguments.samples]

    keras.utils.set_random_seed(0)
    loss = keras.losses.CategoricalCrossentropy()
    model = build_model()
    model.compile(loss=loss, optimizer="adam", metrics=["accuracy"])
    model.fit(
        x_train, y_train, batch_size=32, epochs=1, validation_data=(x_test, y_test), verbose=2
    )

    # Compiled anew, the weights stay: Adam's end is the solver's start.
    optimizer = kormos.optimizers.ScipyBatchOptimizer()
    model.compile(loss=loss, optimizer=optimizer, metrics=["accuracy"])
    try:
        model.fit(x_train, y_train, batch_size=2**13, epochs=3, method="bfgs", verbose=2)
    except kormos.KormosError as error:
        print(f"bfgs: {error}")
    model.fit(
        x_train,
        y_train,
        batch_size=2**13,  # much larger than for stochastic optimizers, and only for memory
        epochs=3,
        validation_data=(x_test, y_test),
        method="l-bfgs-b",
        verbose=2,
    )


if __name__ == "__main__":
    main()
