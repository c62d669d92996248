"""One solver at work on a model."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

REPLICAS = """
    import keras, kormos, numpy as np, tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"][:int({count})]).scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
    x = np.random.default_rng(0).normal(size=(8, 2))
    history = kormos.fit(model, x, x[:, :1], solver="native:lbfgs", verbose=0)
    assert history.result.loss < 1e-8
"""


@pytest.mark.parametrize(
    ("count", "told"), [(1, ""), (2, "was made for 2 replicas, over which batch solvers do not")]
)
def test_several_replicas_are_refused(count, told):
    script = textwrap.dedent(REPLICAS.format(count=count))
    run = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )

    assert (run.returncode == 0) is not bool(told), run.stderr[-1000:]
    assert told in run.stderr
