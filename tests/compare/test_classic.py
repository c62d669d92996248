from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import least_squares

from kormos_core.compare.classic import CLASSIC
from kormos_core.compare.classic import tables as data

# --- the paper's definitions, residual by residual, as it numbers them -------------------


def helical_theta(x1, x2):
    if x1 == 0:
        return math.copysign(0.25, x2)
    return np.arctan(x2 / x1) / (2 * np.pi) + (0.5 if x1 < 0 else 0.0)


def gulf(x, i):
    y = 25 + (-50 * np.log(i / 100)) ** (2 / 3)
    return np.exp(-(np.abs(y - x[1]) ** x[2]) / x[0]) - i / 100


def brown_dennis(x, t):
    first = (x[0] + t * x[1] - np.exp(t)) ** 2
    return first + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def biggs(x, t):
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    model = x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4])
    return model - y


def osborne_2(x, t, y):
    bells = sum(x[k] * np.exp(-x[k + 4] * (t - x[k + 7]) ** 2) for k in (1, 2, 3))
    return y - (x[0] * np.exp(-t * x[4]) + bells)


def watson(x):
    n, r = len(x), []
    for t in (i / 29 for i in range(1, 30)):
        slope = sum((j - 1) * x[j - 1] * t ** (j - 2) for j in range(2, n + 1))
        r.append(slope - sum(x[j - 1] * t ** (j - 1) for j in range(1, n + 1)) ** 2 - 1)
    return [*r, x[0], x[1] - x[0] ** 2 - 1]


def extended_rosenbrock(x):
    pairs = zip(x[::2], x[1::2], strict=True)
    return [r for a, b in pairs for r in (10 * (b - a**2), 1 - a)]


def powell_singular(x):
    r = []
    for k in range(0, len(x), 4):
        a, b, c, d = x[k : k + 4]
        r += [a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2]
    return r


def penalty_2(x):
    n, a, r = len(x), np.sqrt(1e-5), [x[0] - 0.2]
    for i in range(2, n + 1):
        y = np.exp(i / 10) + np.exp((i - 1) / 10)
        r.append(a * (np.exp(x[i - 1] / 10) + np.exp(x[i - 2] / 10) - y))
    r += [a * (np.exp(x[i - n] / 10) - np.exp(-1 / 10)) for i in range(n + 1, 2 * n)]
    return [*r, sum((n - j + 1) * x[j - 1] ** 2 for j in range(1, n + 1)) - 1]


def variably_dimensioned(x):
    s = sum(j * (xj - 1) for j, xj in enumerate(x, 1))
    return [*(x - 1), s, s**2]


def trigonometric(x):
    n, c = len(x), sum(np.cos(x))
    return [n - c + i * (1 - np.cos(xi)) - np.sin(xi) for i, xi in enumerate(x, 1)]


def boundary_value(x):
    n = len(x)
    h, x = 1 / (n + 1), [0, *x, 0]
    inner = range(1, n + 1)
    return [2 * x[i] - x[i - 1] - x[i + 1] + h**2 * (x[i] + i * h + 1) ** 3 / 2 for i in inner]


def integral_equation(x):
    n, h, r = len(x), 1 / (len(x) + 1), []
    s = [(x[j - 1] + j * h + 1) ** 3 for j in range(1, n + 1)]
    for i in range(1, n + 1):
        left = (1 - i * h) * sum(j * h * s[j - 1] for j in range(1, i + 1))
        right = i * h * sum((1 - j * h) * s[j - 1] for j in range(i + 1, n + 1))
        r.append(x[i - 1] + h * (left + right) / 2)
    return r


def broyden_tridiagonal(x):
    x = [0, *x, 0]
    inner = range(1, len(x) - 1)
    return [(3 - 2 * x[i]) * x[i] - x[i - 1] - 2 * x[i + 1] + 1 for i in inner]


def broyden_banded(x):
    n, r = len(x), []
    for i in range(1, n + 1):
        near = [j for j in range(max(1, i - 5), min(n, i + 1) + 1) if j != i]
        near_sum = sum(x[j - 1] * (1 + x[j - 1]) for j in near)
        r.append(x[i - 1] * (2 + 5 * x[i - 1] ** 2) + 1 - near_sum)
    return r


def linear_full_rank(x, m=20):
    s = 2 / m * sum(x) + 1
    return [*(x - s), *[-s] * (m - len(x))]


def linear_rank_1(x, m=20):
    s = sum(j * xj for j, xj in enumerate(x, 1))
    return [i * s - 1 for i in range(1, m + 1)]


def linear_rank_1_with_zeros(x, m=20):
    s = sum(j * x[j - 1] for j in range(2, len(x)))
    return [-1, *((i - 1) * s - 1 for i in range(2, m)), -1]


def chebyquad(x):
    n, r = len(x), []
    for i in range(1, n + 1):
        polynomial = np.polynomial.Chebyshev.basis(i)
        integral = 0 if i % 2 else -1 / (i**2 - 1)  # of the shifted one over [0, 1]
        r.append(np.mean(polynomial(2 * x - 1)) - integral)
    return r


ORACLES = {
    1: lambda x: [10 * (x[1] - x[0] ** 2), 1 - x[0]],
    2: lambda x: [
        -13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1],
        -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1],
    ],
    3: lambda x: [1e4 * x[0] * x[1] - 1, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001],
    4: lambda x: [x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2],
    5: lambda x: [y - x[0] * (1 - x[1] ** i) for i, y in enumerate((1.5, 2.25, 2.625), 1)],
    6: lambda x: [2 + 2 * i - (np.exp(i * x[0]) + np.exp(i * x[1])) for i in range(1, 11)],
    7: lambda x: [
        10 * (x[2] - 10 * helical_theta(x[0], x[1])),
        10 * (np.hypot(x[0], x[1]) - 1),
        x[2],
    ],
    8: lambda x: [
        y - (x[0] + u / ((16 - u) * x[1] + min(u, 16 - u) * x[2]))
        for u, y in enumerate(data.BARD, 1)
    ],
    9: lambda x: [
        x[0] * np.exp(-x[1] * ((8 - i) / 2 - x[2]) ** 2 / 2) - y
        for i, y in enumerate(data.GAUSSIAN, 1)
    ],
    10: lambda x: [
        x[0] * np.exp(x[1] / (45 + 5 * i + x[2])) - y for i, y in enumerate(data.MEYER, 1)
    ],
    11: lambda x: [gulf(x, i) for i in range(1, 100)],
    12: lambda x: [
        np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))
        for t in (i / 10 for i in range(1, 11))
    ],
    13: powell_singular,
    14: lambda x: [
        *extended_rosenbrock(x[:2]),
        np.sqrt(90) * (x[3] - x[2] ** 2),
        1 - x[2],
        np.sqrt(10) * (x[1] + x[3] - 2),
        (x[1] - x[3]) / np.sqrt(10),
    ],
    15: lambda x: [
        y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])
        for u, y in zip(data.KOWALIK_OSBORNE_T, data.KOWALIK_OSBORNE_Y, strict=True)
    ],
    16: lambda x: [brown_dennis(x, i / 5) for i in range(1, 21)],
    17: lambda x: [
        y - (x[0] + x[1] * np.exp(-10 * i * x[3]) + x[2] * np.exp(-10 * i * x[4]))
        for i, y in enumerate(data.OSBORNE_1)
    ],
    18: lambda x: [biggs(x, i / 10) for i in range(1, 14)],
    19: lambda x: [osborne_2(x, i / 10, y) for i, y in enumerate(data.OSBORNE_2)],
    20: watson,
    21: extended_rosenbrock,
    22: powell_singular,
    23: lambda x: [*(np.sqrt(1e-5) * (x - 1)), sum(x**2) - 0.25],
    24: penalty_2,
    25: variably_dimensioned,
    26: trigonometric,
    27: lambda x: [*(x[:-1] + sum(x) - (len(x) + 1)), np.prod(x) - 1],
    28: boundary_value,
    29: integral_equation,
    30: broyden_tridiagonal,
    31: broyden_banded,
    32: linear_full_rank,
    33: linear_rank_1,
    34: linear_rank_1_with_zeros,
    35: chebyquad,
}
NAMES = {function.name: function for function in CLASSIC}

# f(x0), by hand from the definitions or as the literature has it
START_VALUES = {
    "Rosenbrock": 24.2,
    "Freudenstein and Roth": 400.5,
    "Powell badly scaled": 1 + (math.exp(-1) - 0.0001) ** 2,
    "Brown badly scaled": (1e6 - 1) ** 2 + (1 - 2e-6) ** 2 + 1,
    "Beale": 14.203125,
    "Jennrich and Sampson": 64.58562**2,
    "helical valley": 2500.0,
    "Bard": 41.68170,
    "Meyer": 1.693608e9,
    "Box three-dimensional": 32.11158**2,
    "Powell singular": 215.0,
    "Wood": 19192.0,
    "Kowalik and Osborne": 0.07289151**2,
    "Brown and Dennis": 7926693.33669,
    "Osborne 1": 0.937564**2,
    "Biggs EXP6": 0.7790701,
    "Osborne 2": 1.446865**2,
    "Watson, n=6": 30.0,
    "Watson, n=9": 30.0,
    "extended Rosenbrock": 5 * 24.2,
    "extended Powell singular": 3 * 215.0,
    "penalty I, n=4": 1e-5 * 14 + 29.75**2,
    "penalty I, n=10": 1e-5 * 285 + 384.75**2,
    "variably dimensioned": 3.85 + 38.5**2 + 38.5**4,
    "Broyden tridiagonal": 21.0,
    "Broyden banded": 360.0,
    "linear, full rank": 50.0,
    "linear, rank 1": 55**2 * 2870 - 110 * 210 + 20,
    "linear, rank 1 with zero columns and rows": 44**2 * 2109 - 88 * 171 + 20,
    "Chebyquad": 0.1965138**2,
}

# m of the functions (1) to (20), as the paper or its software has it
NUM_RESIDUALS = (2, 2, 2, 3, 3, 10, 3, 15, 15, 16, 99, 10, 4, 6, 11, 20, 33, 13, 65, 31)

# the minima other than 0, with the digits that the paper prints
PUBLISHED = {
    "Freudenstein and Roth": (48.9842,),
    "Jennrich and Sampson": (124.362,),
    "Bard": (8.21487e-3, 17.4286),
    "Gaussian": (1.12793e-8,),
    "Meyer": (87.9458,),
    "Kowalik and Osborne": (3.07505e-4, 1.02734e-3),
    "Brown and Dennis": (85822.2,),
    "Osborne 1": (5.46489e-5,),
    "Biggs EXP6": (5.65565e-3,),
    "Osborne 2": (4.01377e-2,),
    "Watson, n=6": (2.28767e-3,),
    "Watson, n=9": (1.39976e-6,),
    "penalty I, n=4": (2.24997e-5,),
    "penalty I, n=10": (7.08765e-5,),
    "penalty II, n=4": (9.37629e-6,),
    "penalty II, n=10": (2.93660e-4,),
    "trigonometric": (2.79506e-5,),
    "Brown almost-linear": (1.0,),
    "linear, full rank": (10.0,),
    "linear, rank 1": (20 * 19 / (2 * 41),),
    "linear, rank 1 with zero columns and rows": ((400 + 60 - 6) / (2 * 37),),
    "Chebyquad": (3.51687e-3,),
}

# Points from which least squares go to a minimum; for those not named, the standard start.
NEAR = {
    ("Freudenstein and Roth", 0): (4.9, 4.1),
    ("trigonometric", 0): (0.01,) * 10,
    ("Brown almost-linear", 0): (0.98,) * 9 + (1.2,),
}
RATE, HEIGHT = 1.71141599472, 1.16314366092  # of two exponentials
SADDLES = {
    ("Biggs EXP6", 1): (RATE, 17.6831981809, HEIGHT, 5.18656155199, RATE, HEIGHT),
    ("Brown almost-linear", 1): (0.0,) * 9 + (11.0,),
}
# along these the sum of squares goes down to the minimum
TO_INFINITY = {
    ("Bard", 1): lambda s: (sum(data.BARD) / 15, -s, -s),
    ("Kowalik and Osborne", 1): lambda s: (
        0.022095935730168666 * s,
        -14.07588340060329,
        -s,
        -0.6238013410486994 * s,
    ),
}
MINIMA = [
    (function.name, k)
    for function in CLASSIC
    for k in range(len(function.minima))
    if (function.name, k) not in {**SADDLES, **TO_INFINITY}
]

every_function = pytest.mark.parametrize("function", CLASSIC, ids=lambda function: function.name)


def residuals(function, x):
    return np.array(function.residuals(tf.constant(np.array(x, dtype="float64"))))


def oracle(function, x):
    return np.array(ORACLES[function.number](np.array(x, dtype="float64")), dtype="float64")


def jacobian(function, x):
    """Approximate the oracle's Jacobian by central differences."""
    x, columns = np.array(x, dtype="float64"), []
    for j in range(len(x)):
        step = np.zeros_like(x)
        step[j] = 1e-5 * max(abs(x[j]), 1e-2)
        columns.append((oracle(function, x + step) - oracle(function, x - step)) / (2 * step[j]))
    return np.stack(columns, axis=1)


def gradient(function, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        f = function(x)
    return tape.gradient(f, x)


def forward_over_reverse(function, x, v):
    x = tf.constant(x)
    with tf.autodiff.ForwardAccumulator(x, tf.constant(v)) as accumulator:
        g = gradient(function, x)
    return accumulator.jvp(g)


def reverse_over_reverse(function, x, v):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        slope = tf.tensordot(gradient(function, x), tf.constant(v), 1)
    return tape.gradient(slope, x)


def points(function):
    """Return the standard start and a point off it, on no symmetry of the function."""
    x0 = np.array(function.x0)
    return x0, 1.01 * x0 + 0.01 * np.cos(np.arange(1.0, len(x0) + 1))


# --- tests -------------------------------------------------------------------------------


def test_the_collection_has_every_number_of_the_paper_and_no_name_twice():
    assert {function.number for function in CLASSIC} == set(range(1, 36))
    assert [function.number for function in CLASSIC] == sorted(f.number for f in CLASSIC)
    assert len(NAMES) == len(CLASSIC)
    assert len({(function.number, function.size) for function in CLASSIC}) == len(CLASSIC)


@every_function
def test_residuals_are_those_of_the_paper(function):
    for x in points(function):
        found, expected = residuals(function, x), oracle(function, x)

        # sorted, for their order is free; terms cancel by up to three digits
        tolerance = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=0, atol=tolerance)


@every_function
def test_sizes_are_those_of_the_paper(function):
    n = function.size
    variable = {23: n + 1, 24: 2 * n, 25: n + 2, 32: 20, 33: 20, 34: 20}.get(function.number, n)
    expected = dict(enumerate(NUM_RESIDUALS, 1)).get(function.number, variable)

    assert residuals(function, function.x0).shape == (expected,)
    assert len(function.x0) == n


@pytest.mark.parametrize("name", START_VALUES)
def test_the_sum_of_squares_at_the_start_is_the_known_one(name):
    function = NAMES[name]

    f = function(tf.constant(function.x0, dtype="float64"))

    assert f.shape == ()
    assert f.dtype == tf.float64
    # the least exact of the known ones have seven digits
    assert float(f) == pytest.approx(START_VALUES[name], rel=1e-6)


@pytest.mark.parametrize("x1", [-2.0, -1e-9, 0.0, 1e-9, 0.5])
@pytest.mark.parametrize("x2", [-1.5, -1e-3, 1e-3, 3.0])
def test_the_angle_of_the_helical_valley_is_that_of_the_paper_in_every_quadrant(x1, x2):
    function = NAMES["helical valley"]

    x = (x1, x2, 0.1)

    np.testing.assert_allclose(residuals(function, x), oracle(function, x), rtol=1e-13)


@every_function
def test_gradients_agree_with_differences(function):
    for x in points(function):
        g = gradient(function, x)

        expected = 2 * jacobian(function, x).T @ oracle(function, x)
        # a step of 1e-5 divides the rounding of residuals, one of which is near 10⁶
        assert np.linalg.norm(g - expected) <= 1e-5 * np.linalg.norm(expected)


@every_function
@pytest.mark.parametrize("product", [forward_over_reverse, reverse_over_reverse])
def test_hessian_products_agree_with_differences_of_gradients(function, product):
    _, x = points(function)
    v = np.maximum(np.abs(x), 1e-2) * np.sin(np.arange(2.0, len(x) + 2))

    hv = product(function, x, v)

    up, down = (gradient(function, x + sign * 1e-5 * v) for sign in (1, -1))
    expected = (up - down) / 2e-5
    # as above; that gradient is near 10⁶ too, where the product is near 1
    assert np.linalg.norm(hv - expected) <= 1e-4 * np.linalg.norm(expected)


@every_function
def test_minima_are_those_published(function):
    others = tuple(least for least in function.minima if least != 0.0)

    assert function.minima in {others, (0.0, *others)}
    assert list(others) == sorted(others)
    # six digits, cut off or rounded
    assert others == pytest.approx(PUBLISHED.get(function.name, ()), rel=1e-5)


@pytest.mark.parametrize(("name", "k"), MINIMA)
def test_least_squares_end_at_each_minimum(name, k):
    function, x = NAMES[name], NEAR.get((name, k), NAMES[name].x0)
    least = function.minima[k]

    solved = least_squares(
        lambda z: oracle(function, z),
        x,
        jac=lambda z: jacobian(function, z),
        method="lm",
        **dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15),
    )

    f = float(function(tf.constant(solved.x)))
    assert f == pytest.approx(least, rel=1e-10, abs=0 if least else 1e-25)
    columns = np.linalg.norm(solved.jac, axis=0)
    g = 2 * solved.jac.T @ solved.fun / np.where(columns, columns, 1.0)
    # where columns and residuals are at right angles up to this, f is exact to its square
    assert np.abs(g).max() <= 1e-5 * max(math.sqrt(f), 1e-6)


@pytest.mark.parametrize(("name", "k"), SADDLES)
def test_published_minima_that_are_saddles_are_stationary(name, k):
    function, x = NAMES[name], SADDLES[name, k]

    f = float(function(tf.constant(x, dtype="float64")))

    assert f == pytest.approx(function.minima[k], rel=1e-10)
    assert np.abs(2 * jacobian(function, x).T @ oracle(function, x)).max() <= 1e-8


@pytest.mark.parametrize(("name", "k"), TO_INFINITY)
def test_minima_at_infinity_are_limits(name, k):
    function, along = NAMES[name], TO_INFINITY[name, k]
    least = function.minima[k]

    far, farther = (float(function(tf.constant(along(s), dtype="float64"))) for s in (1e4, 1e12))

    assert far > farther
    assert farther == pytest.approx(least, rel=1e-10)
