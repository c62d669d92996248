"""Kinds of Hessian products that plugins bring."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import kormos
from kormos_core import HVPSpec, SolverSpec, hookimpl
from kormos_core.errors import CurvatureWarning, PluginError, UnsupportedError
from kormos_core.objective import FunctionObjective, Numerics
from kormos_core.registry import Plugin, Registry
from kormos_core.registry.loader import collect


def doubled(function, x):
    """Multiply by twice the Hessian, which is wrong."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            f = function(x)
        g = inner.gradient(f, x)
    return lambda v: 2.0 * tape.gradient(g, x, output_gradients=v)


def identity(function, x):
    """Take the identity for the Hessian."""
    return lambda v: v


def brought(*specs):
    plugin = Plugin(
        namespace="mine", distribution="mine", version="1", target="mine", hvps=tuple(specs)
    )
    return Registry([*kormos_registry().plugins(), plugin])


def kormos_registry():
    from kormos_core.registry import installed

    return installed()


@pytest.fixture
def registry(monkeypatch):
    """Let a plugin bring a wrong product and an approximate one."""
    found = brought(
        HVPSpec(name="doubled", factory=f"{__name__}:doubled"),
        HVPSpec(name="identity", factory=f"{__name__}:identity", exact=False),
        HVPSpec(name="missing", factory="nowhere.at_all:function"),
    )
    monkeypatch.setattr("kormos_core.objective.kinds.installed", lambda: found)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())
    return found


def _this():
    import types

    module = types.ModuleType(__name__)
    module.doubled, module.identity = doubled, identity
    return module


def cube(x):
    return keras.ops.sum(x**3)


X, V = np.array([1.0, 2.0]), np.array([0.5, -1.0])


def test_an_approximation_is_taken_as_it_is(registry):
    objective = FunctionObjective(cube, 2, numerics=Numerics(hvp="mine:identity"))

    hv = objective.hvp(X, V)

    assert hv.tolist() == V.tolist()
    assert objective.counts.value_and_grad == 0


def test_an_exact_kind_is_checked_and_replaced_where_it_is_wrong(registry):
    objective = FunctionObjective(cube, 2, numerics=Numerics(hvp="mine:doubled"))

    with pytest.warns(CurvatureWarning, match="mine:doubled: it disagrees with differences"):
        hv = objective.hvp(X, V)

    assert hv == pytest.approx(6 * X * V)


def test_a_solver_in_the_graph_uses_it(registry):
    result = kormos.minimize(
        lambda x: 0.5 * keras.ops.sum((x - 1.0) ** 2),
        [3.0, -2.0],
        solver="native:newton-cg",
        hvp="mine:identity",
        jit_compile=False,
    )

    assert result.x == pytest.approx([1.0, 1.0])
    assert result.num_iterations == 1


def test_one_that_cannot_be_imported_is_told(registry):
    objective = FunctionObjective(cube, 2, numerics=Numerics(hvp="mine:missing"))

    with pytest.raises(PluginError, match=r"mine:missing \(mine 1\) cannot be imported from"):
        objective.hvp(X, V)


def test_an_unknown_one_is_refused_with_what_there_is(registry):
    with pytest.raises(UnsupportedError, match=r"hvp='mine:xdoubled'\. Did you mean 'mine:d"):
        FunctionObjective(cube, 2, numerics=Numerics(hvp="mine:xdoubled"))
    with pytest.raises(UnsupportedError, match=r"Brought by plugins: mine:doubled, mine:iden"):
        registry.hvp("mine:other")


class Both:
    @hookimpl
    def kormos_solvers(self):
        yield SolverSpec(name="x", factory="a:B")

    @hookimpl
    def kormos_hvps(self):
        yield HVPSpec(name="y", factory="a:b")


class Twice:
    @hookimpl
    def kormos_hvps(self):
        return [HVPSpec(name="y", factory="a:b")] * 2


class Wrong:
    @hookimpl
    def kormos_hvps(self):
        return [SolverSpec(name="x", factory="a:B")]


def test_a_plugin_declares_solvers_and_products():
    solvers, hvps, problems = collect(Both())

    assert [spec.name for spec in solvers] == ["x"]
    assert [spec.name for spec in hvps] == ["y"]
    assert problems == []


@pytest.mark.parametrize(
    ("plugin", "match"),
    [
        (Twice(), r"Hessian products are declared twice: \['y'\]"),
        (Wrong(), r"kormos_hvps gave SolverSpec.*It gives objects of type HVPSpec alone"),
    ],
)
def test_a_faulty_declaration_is_refused(plugin, match):
    with pytest.raises(PluginError, match=match):
        collect(plugin)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"name": "a b"}, "name of a Hessian product 'a b' is not usable"),
        ({"name": "Upper"}, "A name is in lower case"),
        ({"factory": "no-colon"}, "It has the form 'package.module:function'"),
    ],
)
def test_a_declaration_that_could_not_be_honored_is_refused(fields, match):
    with pytest.raises(ValueError, match=match):
        HVPSpec(**({"name": "a", "factory": "a:b"} | fields))
