"""The first-order methods of optax that have a name here: the one list of them."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["METHODS", "Method"]


class Method(NamedTuple):
    """A first-order method of optax.

    Attributes
    ----------
    summary : str
        What it is, in one line.
    citation : str
        Its source.
    learning_rate : float
        Default of the learning rate, which optax has none for: that of Keras.
    """

    summary: str
    citation: str
    learning_rate: float = 1e-3


_ADAM: Final = "D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, 2014, "
_DECAY: Final = "I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, 2017, "
_NESTEROV: Final = "T. Dozat, Incorporating Nesterov Momentum into Adam, 2016"

METHODS: Final[dict[str, Method]] = {
    "adam": Method(
        "Gradient descent with adaptive moments", f"{_ADAM}doi:10.48550/arXiv.1412.6980"
    ),
    "adamw": Method("Adam with decoupled weight decay", f"{_DECAY}doi:10.48550/arXiv.1711.05101"),
    "sgd": Method(
        "Gradient descent, with momentum if asked for",
        "B. T. Polyak, Some methods of speeding up the convergence of iteration methods, 1964, "
        "doi:10.1016/0041-5553(64)90137-5",
        0.01,
    ),
    "adabelief": Method(
        "Adam scaled by how far gradients are from what was expected",
        "J. Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed "
        "Gradients, 2020, doi:10.48550/arXiv.2010.07468",
    ),
    "adagrad": Method(
        "Gradient descent with rates that fall with all gradients seen",
        "J. Duchi, E. Hazan, Y. Singer, Adaptive Subgradient Methods for Online Learning and "
        "Stochastic Optimization, 2011",
    ),
    "adamax": Method("Adam scaled by the largest gradient", f"{_ADAM}section 7.1"),
    "amsgrad": Method(
        "Adam whose rates never rise again",
        "S. Reddi, S. Kale, S. Kumar, On the Convergence of Adam and Beyond, 2018, "
        "doi:10.48550/arXiv.1904.09237",
    ),
    "lion": Method(
        "Steps of one length by the sign of a momentum",
        "X. Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, "
        "doi:10.48550/arXiv.2302.06675",
    ),
    "nadam": Method("Adam with Nesterov's momentum", _NESTEROV),
    "nadamw": Method("Adam with Nesterov's momentum and decoupled weight decay", _NESTEROV),
    "radam": Method(
        "Adam with rectified first steps",
        "L. Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020, "
        "doi:10.48550/arXiv.1908.03265",
    ),
    "rmsprop": Method(
        "Gradient descent scaled by the root of mean squared gradients",
        "T. Tieleman, G. Hinton, Lecture 6.5: rmsprop, COURSERA: Neural Networks for Machine "
        "Learning, 2012",
    ),
    "rprop": Method(
        "A step size for each parameter by the signs of its slopes",
        "M. Riedmiller, H. Braun, A direct adaptive method for faster backpropagation learning: "
        "the RPROP algorithm, 1993, doi:10.1109/ICNN.1993.298623",
    ),
    "yogi": Method(
        "Adam whose second moment changes by bounded steps",
        "M. Zaheer et al., Adaptive Methods for Nonconvex Optimization, 2018",
    ),
}
"""The methods by name, which is that of optax's function; the likeliest choice first."""
