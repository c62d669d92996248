"""Linear regression with L-BFGS-B, and then with Adam: the first example of kormos 0.1.

python examples/linear_regression.py
"""

import keras
import numpy as np
import pandas as pd

import kormos

rank = 50

# The model, by the Sequential API.
model = kormos.models.BatchOptimizedSequentialModel()
model.add(keras.Input(shape=(rank,)))
model.add(
    keras.layers.Dense(
        units=1,
        activation=None,
        use_bias=False,
        kernel_regularizer=keras.regularizers.L2(1e-3),
        kernel_initializer="ones",
    )
)
loss = keras.losses.MeanSquaredError()
model.compile(loss=loss, optimizer="l-bfgs-b", metrics=["mean_absolute_error"])

# Normally distributed samples.
np.random.seed(1)
w = np.random.normal(size=rank)
X = np.random.normal(size=(1000, rank))
y = np.expand_dims(X.dot(w), axis=1)
Xval = np.random.normal(size=(1000, rank))
yval = np.expand_dims(Xval.dot(w), axis=1)

# `options` takes SciPy's own names. kormos 0.1's README had "maxcors" here, which SciPy
# ignored; now a misprint is an error that names `maxcor`.
history = model.fit(
    x=X, y=y, epochs=10, validation_data=(Xval, yval), options={"maxcor": 10}, verbose=0
)
best_fit_weights = np.reshape(model.trainable_weights[0].numpy(), (1, -1))
assert np.allclose(best_fit_weights, w, 1e-2)
print(pd.DataFrame(history.history).to_string(), end="\n\n")
print(history.result, end="\n\n")

# Compiled anew, the same model trains with one of Keras's own optimizers.
model.compile(loss=model.loss, optimizer="adam", metrics=["mean_absolute_error"])
model.set_weights([np.random.random(size=(rank, 1))])
history = model.fit(x=X, y=y, epochs=150, validation_data=(Xval, yval), verbose=0)
print(pd.DataFrame(history.history).to_string(max_rows=10))
