from __future__ import annotations

import gc
import itertools
import weakref

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from models import SAMPLES, Case, make
from oracles import RAGGED, objective_of, point_of

from kormos_core.data import StreamBatches, adapt, streams
from kormos_core.errors import DataError
from kormos_core.objective import Settings, build_objective

ROUNDING = 1e-12

ZOO = make("dense")
X, Y = ZOO.x, ZOO.y
W = np.linspace(0.5, 2.0, SAMPLES)
SLICES = [slice(0, 5), slice(5, 10), slice(10, 13)]


def batches_of(*arrays):
    return [tuple(array[part] for array in arrays) for part in SLICES]


def generator(*arrays):
    yield from batches_of(*arrays)


class Indexed(keras.utils.PyDataset):
    """Batches by their number."""

    def __init__(self, *arrays):
        super().__init__()
        self.batches = batches_of(*arrays)
        self.asked = []

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.batches[index]


class Endless(keras.utils.PyDataset):
    """Batches without an end."""

    num_batches = None

    def __getitem__(self, index):
        return batches_of(X, Y)[index % 3]


class Iterable:
    """Batches that can be gone through again and again."""

    def __init__(self, *arrays):
        self.arrays = arrays
        self.sweeps = 0

    def __iter__(self):
        self.sweeps += 1
        return generator(*self.arrays)


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(RAGGED)


def everything(*_):
    return True


def of_unknown_length(*arrays):
    return dataset(*arrays).filter(everything)


def from_generator(*arrays):
    signature = tuple(tf.TensorSpec((None, *array.shape[1:]), tf.float64) for array in arrays)
    return tf.data.Dataset.from_generator(lambda: generator(*arrays), output_signature=signature)


def iterator(*arrays):
    return iter(batches_of(*arrays))


SOURCES = {
    "tf.data.Dataset": dataset,
    "dataset of unknown length": of_unknown_length,
    "dataset from a generator": from_generator,
    "PyDataset": Indexed,
    "generator": generator,
    "iterator": iterator,
    "iterable": Iterable,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_a_stream_gives_the_objective_of_the_arrays(name, weighted):
    arrays = (X, Y, W) if weighted else (X, Y)
    reference = objective_of(Case(ZOO.model, *arrays), eager=True)[0]
    x = point_of(reference)
    batches = adapt(SOURCES[name](*arrays), float_dtype="float64")
    objective = build_objective(
        ZOO.model, batches, settings=Settings(eager=True), hvp="finite-difference"
    )[0]

    f, g = objective.value_and_grad(x)

    expected_f, expected_g = reference.value_and_grad(x)
    assert isinstance(batches, StreamBatches)
    assert f == pytest.approx(expected_f, rel=ROUNDING)
    assert g == pytest.approx(expected_g, rel=1e-9)  # single entries may cancel


@pytest.mark.parametrize("name", SOURCES)
def test_every_sweep_gives_the_same_batches(name):
    batches = adapt(SOURCES[name](X, Y))

    sweeps = [[keras.ops.convert_to_numpy(batch.x) for batch in batches] for _ in range(3)]

    assert [len(x) for x in sweeps[0]] == [5, 5, 3]
    for sweep in sweeps:
        assert (np.concatenate(sweep) == X).all()


@pytest.mark.parametrize(
    ("name", "num_batches"),
    [
        ("tf.data.Dataset", 3),
        ("dataset of unknown length", None),
        ("PyDataset", 3),
        ("generator", 3),
        ("iterable", None),
    ],
)
def test_the_number_of_batches_is_known_where_it_can_be(name, num_batches):
    assert adapt(SOURCES[name](X, Y)).num_batches == num_batches


@pytest.mark.parametrize("name", SOURCES)
def test_steps_take_the_first_batches(name):
    batches = adapt(SOURCES[name](X, Y), steps=2)

    sweeps = [[batch.num_samples for batch in batches] for _ in range(2)]

    assert sweeps == [[5, 5]] * 2
    assert batches.num_batches == 2


@pytest.mark.parametrize("name", SOURCES)
def test_a_stream_that_ends_before_its_steps_is_refused(name):
    with pytest.raises(DataError, match=r"ended early: 3 batches of 5.*Lower steps_per_epoch"):
        list(adapt(SOURCES[name](X, Y), steps=5))


ENDLESS = {
    "dataset": lambda: dataset(X, Y).repeat(),
    "PyDataset": Endless,
    "generator": lambda: itertools.cycle(batches_of(X, Y)),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_stream_is_refused(name, monkeypatch):
    monkeypatch.setattr(streams, "MAX_CACHED_BATCHES", 10)

    with pytest.raises(DataError, match=r"the training data is endless.*Pass steps_per_epoch"):
        adapt(ENDLESS[name]())


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_stream_is_cut_by_steps(name):
    batches = adapt(ENDLESS[name](), steps=4)

    sweeps = [[batch.num_samples for batch in batches] for _ in range(2)]

    assert sweeps == [[5, 5, 3, 5]] * 2


def test_a_generator_that_would_fill_the_memory_is_refused(monkeypatch):
    class Memory:
        available = 2 * 100 * X[:5].nbytes

    monkeypatch.setattr(streams.psutil, "virtual_memory", Memory)

    with pytest.raises(DataError, match=r"a generator that had not ended after .* batches"):
        adapt(itertools.cycle(batches_of(X, Y)))


@pytest.mark.parametrize("steps", [0, -1, 1.5, "a"])
def test_steps_that_are_not_positive_are_refused(steps):
    with pytest.raises(DataError, match="steps_per_epoch is not usable"):
        adapt(generator(X, Y), steps=steps)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda: iter(()), id="generator"),
        pytest.param(lambda: dataset(X[:0], Y[:0]), id="dataset"),
        pytest.param(lambda: Iterable(X[:0], Y[:0]), id="empty batches"),
    ],
)
def test_a_stream_without_data_is_refused(source):
    with pytest.raises(DataError, match=r"gave no batch|the training data is empty"):
        list(adapt(source()))


def test_an_iterable_that_is_used_up_is_refused():
    once = generator(X, Y)

    class UsedUp:
        def __iter__(self):
            return once

    batches = adapt(UsedUp())
    list(batches)

    with pytest.raises(DataError, match=r"gave no batch.*more than once"):
        list(batches)


def test_a_function_that_makes_generators_is_refused_with_what_is_allowed():
    with pytest.raises(DataError, match=r"not usable: function\. Allowed are .*generators"):
        adapt(lambda: generator(X, Y))


@pytest.mark.parametrize(
    "given", [{"y": Y}, {"sample_weight": W}, {"batch_size": 5}, {"y": Y, "batch_size": 5}]
)
@pytest.mark.parametrize("name", SOURCES)
def test_what_a_stream_gives_itself_is_refused_beside_it(name, given):
    with pytest.raises(DataError, match=rf"{', '.join(given)} cannot be given beside a "):
        adapt(SOURCES[name](X, Y), **given)


def test_arrays_in_a_batch_must_be_of_one_length():
    with pytest.raises(DataError, match=r"differ in length: \[5, 3\] samples"):
        list(adapt(iter([(X[:5], Y[:3])])))


def test_single_samples_are_refused_with_the_cure():
    single = tf.data.Dataset.from_tensor_slices((X, Y))

    with pytest.raises(DataError, match=r"gives single samples, .*dataset\.batch\(256\)"):
        list(adapt(single))


def test_a_batch_of_too_many_parts_is_refused():
    with pytest.raises(DataError, match=r"is a tuple of 4\. Allowed are x, \(x,\), \(x, y\)"):
        list(adapt(dataset(X, Y, W, W)))


def test_frames_in_a_batch_are_arrays():
    (batch,) = adapt(iter([(pd.DataFrame(X), pd.Series(Y[:, 0]))]))

    assert np.array(batch.x).tolist() == X.tolist()
    assert np.array(batch.y).tolist() == Y.tolist()


def broken(*arrays):
    yield from batches_of(*arrays)[:1]
    raise OSError("the disk is gone")


def test_a_dataset_that_cannot_be_read_is_told_in_our_words():
    signature = (tf.TensorSpec((None, 3)), tf.TensorSpec((None, 1)))
    source = tf.data.Dataset.from_generator(lambda: broken(X, Y), output_signature=signature)

    with pytest.raises(DataError, match=r"cannot be read: \w+: OSError: the disk is gone\."):
        list(adapt(source))


def test_an_error_of_a_users_own_generator_is_passed_on():
    with pytest.raises(OSError, match="the disk is gone"):
        list(adapt(broken(X, Y)))


@pytest.mark.parametrize(
    ("source", "counted"),
    [
        (dataset(X, Y), True),
        (dataset(X, Y).repeat(), True),
        (of_unknown_length(X, Y), False),
        (Iterable(X, Y), True),
    ],
    ids=["known", "endless", "unknown", "Python"],
)
def test_a_stream_knows_whether_its_steps_are_there(source, counted):
    assert adapt(source, steps=2).is_counted is counted


def test_a_dataset_of_fewer_batches_is_refused_before_it_is_read():
    with pytest.raises(DataError, match=r"ended early: 3 batches of 5"):
        adapt(dataset(X, Y), steps=5)


@pytest.mark.parametrize("item", [X[:5], (X[:5],)])
def test_a_batch_may_be_of_inputs_alone(item):
    (batch,) = adapt(iter([item]))

    assert (keras.ops.convert_to_numpy(batch.x) == X[:5]).all()
    assert batch.y is batch.sample_weight is None


def test_a_batch_may_be_a_structure():
    item = ({"a": X[:5], "b": [Y[:5]]}, {"c": Y[:5]}, {"c": W[:5]})

    (batch,) = adapt(iter([item]))

    keras.tree.assert_same_structure(batch.arrays, item)


def test_class_weights_become_sample_weights_of_each_batch():
    labels = np.arange(SAMPLES) % 3

    batches = adapt(dataset(X, labels), class_weight={0: 2.0, 2: 0.5})

    weights = np.concatenate([batch.sample_weight for batch in batches])
    assert weights.tolist() == [[2.0, 1.0, 0.5][label] for label in labels]


def test_class_weights_beside_sample_weights_are_refused():
    with pytest.raises(DataError, match="exclude each other"):
        list(adapt(dataset(X, Y, W), class_weight={0: 2.0}))


class Augmented(Indexed):
    """Batches with other noise each time."""

    rng = np.random.default_rng(0)

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + self.rng.normal(size=x.shape), y


def shuffled_batches():
    return dataset(X, Y).shuffle(3)


def shuffled_samples():
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(SAMPLES).batch(5)


def augmented():
    return Augmented(X, Y)


@pytest.mark.parametrize("source", [shuffled_batches, shuffled_samples, augmented])
def test_a_stream_that_changes_from_sweep_to_sweep_is_refused(source):
    tf.random.set_seed(0)
    batches = adapt(source())

    def sweep():
        for _ in range(20):  # a shuffle of three gives the same first one now and then
            list(batches)

    with pytest.raises(DataError, match=r"changes from sweep to sweep.*reshuffle_each_iteration"):
        sweep()


def test_a_shuffle_that_stays_is_taken():
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(
        SAMPLES, seed=1, reshuffle_each_iteration=False
    )
    batches = adapt(shuffled.batch(5))

    sweeps = [np.concatenate([batch.x for batch in batches]) for _ in range(3)]

    assert (sweeps[0] == sweeps[1]).all()
    assert (sweeps[0] == sweeps[2]).all()


def test_words_stay_the_same_from_sweep_to_sweep():
    words = np.array([f"word {number}" for number in range(SAMPLES)])
    batches = adapt(dataset(words))

    sweeps = [
        [keras.ops.convert_to_numpy(batch.x).tolist() for batch in batches] for _ in range(2)
    ]

    assert sweeps[0] == sweeps[1]


def test_batches_are_asked_for_anew_on_every_sweep():
    source = Indexed(X, Y)
    batches = adapt(source)

    for _ in range(3):
        list(batches)

    assert source.asked == [0, 1, 2] * 3


def test_an_iterable_is_gone_through_anew_on_every_sweep():
    source = Iterable(X, Y)
    batches = adapt(source)

    for _ in range(3):
        list(batches)

    assert source.sweeps == 3


def test_an_iterator_is_read_once():
    reads = []
    source = (reads.append(index) or (X[:5], Y[:5]) for index in range(3))
    batches = adapt(source)

    for _ in range(3):
        list(batches)

    assert reads == [0, 1, 2]


class Tracked:
    """An endless supply of batches, each of which tells whether it lives."""

    def __init__(self, count):
        self.count = count
        self.living = weakref.WeakSet()
        self.most = 0

    def __iter__(self):
        for _ in range(self.count):
            x = np.zeros((64, 3)).view(Watched)
            self.living.add(x)
            self.most = max(self.most, len(self.living))
            yield x, np.zeros((64, 1))


class Watched(np.ndarray):
    """An array that can be referred to weakly."""

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return self is other


def test_no_more_than_one_batch_of_a_stream_is_alive_at_a_time():
    source = Tracked(20)
    batches = adapt(source, float_dtype="float64")
    objective = build_objective(
        ZOO.model, batches, settings=Settings(), hvp="forward-over-reverse"
    )[0]
    x = point_of(objective)
    gc.collect()
    source.most = 0

    for _ in range(2):
        objective.value_and_grad(x)
    objective.hvp(x, x)

    assert source.most <= 2  # one in use, and the next one as it is made
    gc.collect()
    assert len(source.living) == 0
