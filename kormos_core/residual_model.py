"""Models that compute residuals: their loss is a weighted sum of mean squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from kormos_core.errors import UnsupportedError
from kormos_core.model import BatchOptimizedMixin, BatchOptimizedModel
from kormos_core.objective import mean_of_squares, residuals_of

if TYPE_CHECKING:
    from kormos_core.optimizer import BatchOptimizer

__all__ = ["LeastSquaresMixin", "LeastSquaresModel"]


class LeastSquaresMixin(BatchOptimizedMixin):
    """Let a Keras model be fitted to residuals that it computes: put it before `keras.Model`.

    The loss is ``sum_k w_k mean(r_k ** 2)`` over the terms ``r_k`` that `compute_residuals`
    gives, with the ``loss_weights`` of `compile` as ``w_k``, and what regularizers add. So
    it trains with every optimizer of Keras and every solver, and with those for least
    squares, which see the residuals.

    Attributes
    ----------
    residual_weights : float, list, dict or None
        What `compile` was given as ``loss_weights``.

    Examples
    --------
    A network ``u`` with ``u' = -u`` and ``u(0) = 1``:

    >>> import keras, numpy as np, tensorflow as tf, kormos
    >>> class Decay(kormos.LeastSquaresMixin, keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = keras.layers.Dense(8, activation="tanh")
    ...         self.out = keras.layers.Dense(1)
    ...
    ...     def call(self, t):
    ...         return self.out(self.hidden(t))
    ...
    ...     def compute_residuals(self, x, y, y_pred):
    ...         with tf.GradientTape() as tape:
    ...             tape.watch(x)
    ...             u = self(x)
    ...         return {"equation": tape.gradient(u, x) + u, "start": self(0.0 * x[:1]) - 1.0}
    >>> model = Decay()
    >>> model.compile("native:levenberg-marquardt", loss_weights={"equation": 1.0, "start": 10.0})
    >>> t = np.linspace(0.0, 2.0, 40, dtype="float32")[:, None]
    >>> history = model.fit(t, epochs=20, verbose=0)
    >>> bool(np.abs(model.predict(t, verbose=0) - np.exp(-t)).max() < 1e-2)
    True
    """

    residual_weights: Any = None

    def compile(  # type: ignore[override]
        self,
        optimizer: str | BatchOptimizer | Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        **others: Any,  # those of Keras that follow, by name
    ) -> None:
        """Configure the model, as `keras.Model.compile`.

        Parameters
        ----------
        optimizer : str, keras.optimizers.Optimizer, kormos.BatchOptimizer or kormos.Chain
            As of `BatchOptimizedMixin.compile`.
        loss : None
            There is none to choose: it is made of the residuals.
        loss_weights : float, list, dict or None
            Weight of each term, in the structure that `compute_residuals` gives.
        **others : object
            All else that `BatchOptimizedMixin.compile` takes, by name.

        Raises
        ------
        UnsupportedError
            If there is a loss.
        """
        if loss is not None:
            message = (
                f"loss={loss!r:.80} cannot be honored: {type(self).__name__} makes its loss of "
                "compute_residuals. Allowed is None. Leave it out, or compute the residuals of "
                "that loss."
            )
            raise UnsupportedError(message)
        self.residual_weights = loss_weights
        super().compile(optimizer=optimizer, loss=None, loss_weights=loss_weights, **others)

    def compute_residuals(self, x: Any, y: Any, y_pred: Any) -> Any:
        """Return the residuals of a batch; a subclass says what they are.

        Parameters
        ----------
        x, y : structure of tensor
            One batch of inputs and targets; `y` is None where there are none.
        y_pred : structure of tensor
            The model's outputs for it.

        Returns
        -------
        tensor, or list or dict of tensor
            Terms of any shapes, of which the loss takes the mean of the squares. With
            several batches, the mean over all samples is that of one full batch only for terms
            that have a row for each sample.

        Raises
        ------
        NotImplementedError
            Here.
        """
        message = f"{type(self).__name__} has no compute_residuals(self, x, y, y_pred). Write it."
        raise NotImplementedError(message)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002 - Keras's signature
    ) -> Any:
        """Return the loss of a batch, as Keras's own training and evaluation take it.

        Parameters
        ----------
        x, y, y_pred : structure of tensor
            One batch, and the model's outputs for it.
        sample_weight : tensor, shape (samples,) or (samples, 1), or None
            Weight of each row of the terms that have a row for each sample; other terms take
            the mean of the weights.
        training : bool
            Not used: the outputs are there.

        Returns
        -------
        tensor, scalar
            The loss.
        """
        del training
        residuals = residuals_of(self, (x, y, sample_weight), y_pred)
        loss = mean_of_squares(residuals, self.residual_weights, sample_weight)
        for added in self.losses:  # type: ignore[attr-defined]
            loss = loss + keras.ops.cast(keras.ops.sum(added), loss.dtype)
        return loss


@keras.saving.register_keras_serializable(package="kormos")
class LeastSquaresModel(LeastSquaresMixin, BatchOptimizedModel):
    """`LeastSquaresMixin` and `BatchOptimizedModel`: functional or subclassed."""
