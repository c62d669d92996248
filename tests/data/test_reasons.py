from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kormos_core.data import reason_of

GRAPH = """Graph execution error:

Detected at node while/loss/SparseSoftmaxCrossEntropyWithLogits defined at (most recent call last):
  File "fit.py", line 3, in <module>

  File "keras/losses.py", line 14, in call

Received a label value of 7 which is outside of [0, 3).  Label values: 0 1 2 0 1 2 0 7
\t [[{{node while/loss/SparseSoftmaxCrossEntropyWithLogits}}]] [Op:__inference_loop_17]"""
ROOTS = """2 root error(s) found.
  (0) INVALID_ARGUMENT:  assertion failed: [x must be positive]
\t [[{{node Assert}}]]
  (1) INVALID_ARGUMENT:  assertion failed: [x must be positive]"""
PYTHON = """{{function_node __wrapped__IteratorGetNext}} RuntimeError: the file is gone
Traceback (most recent call last):

  File "script_ops.py", line 269, in __call__"""
BOLD = """Exception encountered when calling Dense.call().

\x1b[1mMatrix size-incompatible: In[0]: [5,3], In[1]: [2,1]\x1b[0m

Arguments received by Dense.call():"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("loss is unknown.", "loss is unknown"),
        ("", "it gives no reason"),
        ("\n \n", "it gives no reason"),
        (
            GRAPH,
            "Received a label value of 7 which is outside of [0, 3).  Label values: [...]",
        ),
        (ROOTS, "assertion failed: [x must be positive]"),
        (PYTHON, "RuntimeError: the file is gone"),
        (BOLD, "Matrix size-incompatible: In[0]: [5,3], In[1]: [2,1]"),
        (f"bad input {np.ones((4, 5))} with name 'a'", "bad input [...] with name 'a'"),
        ("x" * 400, "x" * 300),
    ],
    ids=["plain", "empty", "blank", "graph", "roots", "python", "bold", "array", "long"],
)
def test_the_line_that_says_what_is_wrong_is_found(text, reason):
    assert reason_of(ValueError(text)) == reason


def test_a_real_error_of_a_compiled_function_has_one_line():
    @tf.function
    def function(labels):
        logits = tf.zeros((tf.shape(labels)[0], 3))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    with pytest.raises(tf.errors.InvalidArgumentError, match="label value of 7") as caught:
        function(tf.constant([0] * 60 + [7]))

    assert reason_of(caught.value).startswith("Received a label value of 7")
    assert len(reason_of(caught.value)) < 150
