"""Matrix factorization of MovieLens ratings with L-BFGS-B.

    python examples/movielens_recommender.py [--ratings ratings.csv] [--picture out.png]

Without --ratings the script downloads ml-latest-small from GroupLens (research use; see
its README). The preprocessing is that of Keras's example "Collaborative Filtering for
Movie Recommendations".
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pandas as pd

import kormos

mpl.use("agg")  # draws to a file; needs no screen
import matplotlib.pyplot as plt

URL = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"


def build_model(rank: int, num_users: int, num_items: int) -> kormos.BatchOptimizedModel:
    """Predict a rating by the product of a user's and an item's features."""
    inputs = [
        keras.Input(shape=(1,), name="user", dtype="int32"),
        keras.Input(shape=(1,), name="item", dtype="int32"),
    ]
    embeddings = [
        keras.layers.Embedding(
            input_dim=size + 1,
            output_dim=rank,
            mask_zero=True,
            embeddings_initializer="normal",
            embeddings_regularizer=keras.regularizers.L2(1e-5),
            name=f"{name}_embedding",
        )
        for name, size in (("user", num_users), ("item", num_items))
    ]
    features = [embedding(tensor) for embedding, tensor in zip(embeddings, inputs, strict=True)]
    output = keras.layers.Dot(axes=2, normalize=False)(features)
    return kormos.BatchOptimizedModel(inputs=inputs, outputs=output)


def download() -> Path:
    """Fetch the archive once and unpack the ratings."""
    archive = Path(keras.utils.get_file("ml-latest-small.zip", URL, extract=False))
    with zipfile.ZipFile(archive) as packed:
        return Path(packed.extract("ml-latest-small/ratings.csv", archive.parent))


def load(path: Path) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Read ratings: pairs of user and item numbers, and targets scaled to [0, 1]."""
    df = pd.read_csv(path)
    users = {user: number for number, user in enumerate(df["userId"].unique())}
    items = {item: number for number, item in enumerate(df["movieId"].unique())}
    df["user"] = df["userId"].map(users)
    df["item"] = df["movieId"].map(items)
    df = df.sample(frac=1, random_state=42)
    rating = df["rating"].to_numpy(np.float32)
    y = (rating - rating.min()) / (rating.max() - rating.min())
    # A column: Keras 3 does not make one of flat targets, as the Keras of kormos 0.1 did.
    return df[["user", "item"]].to_numpy(), y[:, None], len(users), len(items)


def every_pair(model: keras.Model, x: tuple[np.ndarray, np.ndarray], y: np.ndarray) -> float:
    """Validation loss as kormos 0.1 printed it.

    Its Keras compared flat targets with outputs of shape (samples, 1, 1) by pairing every
    target with every prediction. That is a mistake, and kept here only to compare figures.
    """
    predicted = model.predict(x, batch_size=2**14, verbose=0)
    paired = np.mean((predicted - y.mean()) ** 2) + y.var()
    return float(paired + sum(float(loss) for loss in model.losses))


def draw(history: dict[str, list[float]], path: Path) -> None:
    """Draw both losses against the evaluations of loss and gradient."""
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.plot(history["fg_evals"], history["loss"], marker="o", label="training loss")
    axes.plot(history["fg_evals"], history["val_loss"], marker="s", label="validation loss")
    axes.set(
        xlabel="evaluations of loss and gradient (sweeps over the data)",
        ylabel="mean squared error of scaled ratings",
        yscale="log",
        title="MovieLens, rank 5, scipy:l-bfgs-b",
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train, print the history, draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=Path, help="path of MovieLens' ratings.csv")
    parser.add_argument("--picture", type=Path, default=Path("movielens_recommender.png"))
    arguments = parser.parse_args()
    x, y, num_users, num_items = load(arguments.ratings or download())
    split = int(0.9 * len(x))

    keras.utils.set_random_seed(1)
    model = build_model(5, num_users, num_items)
    model.compile(loss=keras.losses.MeanSquaredError(), optimizer="l-bfgs-b")
    history = model.fit(
        x=(x[:split, 0], x[:split, 1]),
        y=y[:split],
        batch_size=2**14,
        epochs=20,
        verbose=0,
        validation_data=((x[split:, 0], x[split:, 1]), y[split:]),
    )
    print(pd.DataFrame(history.history).to_string(), end="\n\n")
    print(history.result)
    paired = every_pair(model, (x[split:, 0], x[split:, 1]), y[split:])
    print(f"validation loss with every target paired with every prediction: {paired:.6f}")
    draw(history.history, arguments.picture)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
