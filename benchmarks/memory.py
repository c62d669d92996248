"""Peak memory of a fit over a stream, against that of one of its batches.

Each figure is the peak resident memory of a process of its own (`getrusage`), above what
the process had when Keras, the model and the solver were there and no data was: once for
a stream of one batch, once for a stream of twenty. tf.data by default reads ahead, which
holds further batches whoever iterates over it; so the stream is measured both ways, and
bare, without a fit.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

BATCH_SIZE, WIDTH = 20_000, 784


def child(num_batches: int, *, ahead: bool, bare: bool) -> None:
    """Go through a stream and print the peak above the start, in MiB."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import numpy as np
    import tensorflow as tf

    import kormos

    def batch(number):
        x = tf.random.stateless_normal((BATCH_SIZE, WIDTH), (number, 0))
        return x, tf.reduce_sum(tf.sin(x[:, :10]), axis=1, keepdims=True)

    options = tf.data.Options()
    options.autotune.enabled = ahead
    stream = tf.data.Dataset.range(num_batches).map(batch).with_options(options)
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(64, activation="tanh")
    model = keras.Sequential([keras.Input((WIDTH,)), hidden, keras.layers.Dense(1)])
    model.compile(optimizer=kormos.BatchOptimizer("scipy:l-bfgs-b"), loss="mse")
    few = (np.zeros((8, WIDTH), "float32"), np.zeros((8, 1), "float32"))
    kormos.fit(model, tf.data.Dataset.from_tensors(few), epochs=2, verbose=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if bare:
        for item in stream.repeat(5):
            del item
    else:
        kormos.fit(model, stream, epochs=5, verbose=0)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"PEAK {(after - before) / 1024:.1f}")


def peak(script: str, num_batches: int, repeats: int, *flags: str) -> float:
    """Run child processes of a script; the median of their peaks in MiB."""
    peaks = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, script, "--child", str(num_batches), *flags],
            check=True,
            capture_output=True,
            text=True,
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("PEAK"))
        peaks.append(float(line.split()[1]))
    return statistics.median(peaks)


def main() -> None:
    """Print the peaks and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", type=int)
    parser.add_argument("--ahead", action="store_true")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child, ahead=arguments.ahead, bare=arguments.bare)
        return
    data = BATCH_SIZE * WIDTH * 4 / 2**20
    print(f"one batch of data: {data:.0f} MiB; the stream of twenty: {20 * data:.0f} MiB")
    table = Table(title="peak memory, MiB; medians")
    for heading in ("", "1 batch", "20 batches", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, flags in (
        ("fit, tf.data not reading ahead", ()),
        ("fit, tf.data reading ahead (its default)", ("--ahead",)),
        ("no fit, tf.data reading ahead", ("--ahead", "--bare")),
    ):
        one, twenty = (peak(__file__, number, arguments.repeats, *flags) for number in (1, 20))
        table.add_row(name, f"{one:.0f}", f"{twenty:.0f}", f"{twenty / one:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
