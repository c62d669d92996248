from __future__ import annotations

import keras
from models import floatx, make

from kormos_core.objective.layers import sublayers


def test_sublayers_are_found_in_wrappers_containers_and_custom_layers():
    class Holder(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.held = {"a": [keras.layers.Dense(1, name="in a list in a dict")]}

    with floatx("float32"):
        wrapped = keras.layers.TimeDistributed(keras.layers.Dense(1, name="wrapped"))
        model = keras.Sequential([wrapped, keras.Sequential([Holder()], name="nested")])

    names = [layer.name for layer in sublayers(model)]

    assert names[0] == model.name
    assert {"wrapped", "nested", "in a list in a dict"} <= set(names)
    assert len(set(names)) == len(names)


def test_sublayers_end_where_layers_hold_each_other():
    one, two = keras.layers.Dense(1, name="one"), keras.layers.Dense(1, name="two")
    object.__setattr__(one, "friend", two)
    object.__setattr__(two, "friend", [one])

    names = [layer.name for layer in sublayers(one)]

    assert names == ["one", "two"]


def test_sublayers_of_a_graph_are_those_that_keras_shows():
    model = make("two_in_two_out").model

    assert set(sublayers(model)) == {model, *model.layers}
