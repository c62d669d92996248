from __future__ import annotations

import keras
import pytest
from sklearn.decomposition import PCA

SCRIPT = "autoencoder_digits.py"
CODE = 4


@pytest.fixture(scope="module")
def images(script):
    return script.load(400)


def fit(script, images, kind, optimizer, epochs):
    keras.utils.set_random_seed(1)
    model = {"linear": script.build_linear, "deep": script.build_deep}[kind](CODE)
    optimizer = script.optimizers(kind)[optimizer]
    return script.train(kind, model, optimizer, images, epochs)


def test_the_optimum_is_that_of_scikit_learn(script, images):
    x, x_val = images
    peer = PCA(CODE, svd_solver="full").fit(x)

    told = script.principal_components(x, x_val, CODE)

    for part, loss in zip(images, told, strict=True):
        drawn = peer.inverse_transform(peer.transform(part))
        assert loss == pytest.approx(((part - drawn) ** 2).mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("solver", "most", "tolerance"),
    # the first ends where a step gains 1e-12, or when its iterations are over
    [("native:lbfgs", 2000, 1e-6), ("native:newton-cg", 200, 1e-7)],
)
@pytest.mark.usefixtures("float64")
def test_the_linear_autoencoder_reaches_the_loss_of_pca(script, images, solver, most, tolerance):
    optimum, _ = script.principal_components(*images, CODE)

    linear = fit(script, images, "linear", solver, most)

    assert linear.loss == pytest.approx(optimum, rel=tolerance)
    assert linear.loss > optimum * (1.0 - 1e-12)


@pytest.mark.usefixtures("float64")
def test_the_batch_solver_ends_lower_than_adam_after_as_many_sweeps(script, images):
    adam = fit(script, images, "linear", "adam", 60)
    lbfgs = fit(script, images, "linear", "native:lbfgs", 54)

    assert lbfgs.evaluations <= 60
    assert lbfgs.loss < adam.loss


@pytest.mark.usefixtures("float64")
def test_the_deep_autoencoder_does_what_no_linear_one_can(script, images):
    optimum, _ = script.principal_components(*images, CODE)

    deep = fit(script, images, "deep", "native:lbfgs", 300)

    assert deep.loss < optimum


def test_the_script_tells_and_draws_what_came_of_it(run_script):
    ran = run_script("--epochs", "5", "--iterations", "20", "--samples", "200")

    assert ran.picture.startswith(b"\x89PNG")
    assert "linear: 1088 parameters, 200 images" in ran.told  # 64 x 8, 8 x 64 and 64 biases
    assert "PCA" in ran.told
