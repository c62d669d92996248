"""The same regression by the functional API, solved by Newton-CG.

Newton-CG takes Hessian-vector products and converges quadratically. In float32 its end
shows the noise of the arithmetic; in float64 the gradient vanishes to eight digits.

python examples/functional_newton.py
"""

import keras
import numpy as np
import pandas as pd

import kormos

keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")

rank = 50
model_input = keras.Input(shape=(rank,), name="input")
model_output = keras.layers.Dense(
    units=1,
    activation=None,
    use_bias=False,
    kernel_regularizer=keras.regularizers.L2(1e-3),
    kernel_initializer="ones",
)(model_input)
model = kormos.models.BatchOptimizedModel(inputs=model_input, outputs=model_output)
loss = keras.losses.MeanSquaredError()
model.compile(loss=loss, optimizer="newton-cg", metrics=["mean_absolute_error"])

np.random.seed(1)
w = np.random.normal(size=rank)
X = np.random.normal(size=(1000, rank))
y = np.expand_dims(X.dot(w), axis=1)
Xval = np.random.normal(size=(1000, rank))
yval = np.expand_dims(Xval.dot(w), axis=1)

history = model.fit(x=X, y=y, epochs=10, validation_data=(Xval, yval), verbose=0)
best_fit_weights = np.reshape(model.trainable_weights[0].numpy(), (1, -1))
assert np.allclose(best_fit_weights, w, 1e-2)
assert history.result.grad_norm < 1e-6
print(pd.DataFrame(history.history).to_string(), end="\n\n")
print(history.result)
