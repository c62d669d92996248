"""Every solver of kormos as a `torch.optim.Optimizer`.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,).
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, final

import torch

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.run import Interrupt, Run
from kormos_core.state import SolverState
from kormos_torch.closure import Closure
from kormos_torch.group_bounds import group_bounds
from kormos_torch.layout import Layout
from kormos_torch.noise import FrozenNoise
from kormos_torch.objective import ClosureObjective, kinds_of
from kormos_torch.solver import Solver
from kormos_torch.standing import memory_for, to_state, to_tensors
from kormos_torch.told import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.optim.optimizer import ParamsT

    from kormos_core import Result
    from kormos_core.run import Iterate

__all__ = ["SolverOptimizer"]

_KEY: Final = "kormos"
_ASKED: Final = ("solver", "options", "maxiter", "tol", "hvp", "freeze_noise")
_COUNTS: Final = ("steps", "num_iterations", "fg_evals", "hessp_evals")


@final
class SolverOptimizer(torch.optim.Optimizer):
    """Minimize a deterministic loss of a torch module by any solver of kormos.

    One `step` is a whole solve: it calls the closure until the solver converges, or reaches
    `maxiter`. Parameters that are frozen (``requires_grad=False``) are left alone, shared
    ones are counted once.

    Parameters
    ----------
    params : iterable of torch.Tensor, of (str, torch.Tensor), or of dict
        As any optimizer of torch's takes them; a group may have ``"bounds"`` of its own.
        Parameters may be of several floating dtypes, complex ones too, and on several devices.
    solver : str
        Name or alias of a solver: ``"scipy:newton-cg"``, ``"Newton-CG"``. All that run on the
        host do (``scipy:*``, ``torch:lbfgs``); those that are written in `keras.ops`
        (``native:*``) do where Keras's backend is torch.
    options : mapping of str to object, optional
        The solver's options; ``maxiter`` may be among them.
    maxiter : int, optional
        Iterations of one step; without a limit until the solver converges, at most 15,000.
    tol : float, optional
        The solver's general tolerance.
    bounds : tuple of (lower, upper), optional
        Bounds of the groups that have none of their own: None, numbers, or tensors that
        broadcast to each parameter.
    constraints : object or sequence of objects, optional
        SciPy's constraints, on the flat vector of all parameters that are not frozen, in
        order, each raveled: what `torch.nn.utils.parameters_to_vector` makes of them.
    hvp : {"auto", "reverse-over-reverse", "finite-difference"}
        How Hessian products are made, for solvers that take them.
    callback : callable, optional
        Called with a `kormos_core.run.Iterate` after each iteration, the parameters set to
        it; returning True, or raising `StopIteration`, ends the step.
    freeze_noise : bool
        Whether each evaluation of a step draws the same numbers from torch's generators, so
        that dropout is the same at every point; the next step draws others.

    Attributes
    ----------
    result : Result or None
        Outcome of the latest step: why it ended, counts, and ``|g|`` as kormos measured it.
        None before the first step, and after one that an exception ended.
    counts : dict of str to int
        Totals over all steps: ``steps``, ``num_iterations``, ``fg_evals``, ``hessp_evals``.

    Raises
    ------
    KormosError
        If there is no such solver or option, or the solver cannot do what is asked of it.

    Notes
    -----
    The solver works on one flat float64 vector on the host; the loss is computed in the
    parameters' own dtypes, on their devices. Products with the Hessian differentiate the
    gradient once more, which is recorded once a point for all products there; they are
    checked against differences of the gradient, and replaced by such where they are wrong or
    missing. Losses have to be deterministic: evaluate all data at each call, in one batch or
    in several whose ``backward()`` add up. Buffers that the module updates when it is called,
    such as moving statistics, are updated at every evaluation.

    References
    ----------
    pytorch-minimize, https://github.com/gngdb/pytorch-minimize, put SciPy's methods behind
    torch's interface before; closures that are written for it run here unchanged.

    Examples
    --------
    >>> import torch
    >>> from kormos_torch import SolverOptimizer
    >>> w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    >>> optimizer = SolverOptimizer([w], "scipy:bfgs")
    >>> loss = optimizer.step(lambda: ((w - 3.0) ** 2).sum())
    >>> optimizer.result.status.name, w.tolist()
    ('GRAD_TOL', [3.0, 3.0])
    """

    def __init__(
        self,
        params: ParamsT,
        solver: str = "scipy:l-bfgs-b",
        *,
        options: Mapping[str, Any] | None = None,
        maxiter: int | None = None,
        tol: float | None = None,
        bounds: Any = None,
        constraints: Any = None,
        hvp: str = "auto",
        callback: Callable[[Iterate], Any] | None = None,
        freeze_noise: bool = True,
    ) -> None:
        self._asked: dict[str, Any] = {
            "solver": solver,
            "options": dict(options or {}),
            "maxiter": maxiter,
            "tol": tol,
            "hvp": hvp,
            "freeze_noise": freeze_noise,
        }
        self._constraints = constraints
        self._callback = callback
        self._state: SolverState | None = None
        self.result: Result | None = None
        self.counts = dict.fromkeys(_COUNTS, 0)
        made = self._solver()
        super().__init__(params, {"bounds": bounds})
        layout = self._layout()
        made.check(layout, group_bounds(self.param_groups, layout))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run the solver to its end.

        Parameters
        ----------
        closure : callable
            Evaluates the module and returns the loss, one number. It may call ``zero_grad()``
            and ``loss.backward()``, as for `torch.optim.LBFGS`, and need do neither: ``.grad``
            is None when it is called, and what it leaves there is the gradient; where it
            leaves none, the loss it returns is differentiated.

        Returns
        -------
        torch.Tensor, scalar
            The loss at the point that the parameters are left at; `torch.optim.LBFGS` returns
            that of the first evaluation.

        Raises
        ------
        KormosError
            If there is no closure, or it returns no loss with a gradient; if the solver cannot
            do what is asked of it.
        KeyboardInterrupt
            On a second Ctrl-C; the first one ends the step within an evaluation.

        Warns
        -----
        RuntimeWarning
            If loss or gradient became NaN or infinite.
        CurvatureWarning
            If Hessian products are wrong or missing, and differences are taken instead.

        Notes
        -----
        Parameters are changed in place. At the end they hold the best accepted point, and
        ``.grad`` the gradient there, whatever it held before. If the closure or the callback
        raises, the exception passes after the parameters have been set to the best accepted
        point. A step begins at the parameters' present values; a solver that can be resumed
        goes on where the last step left off if nothing has changed, and had not come to its end.
        """
        if not callable(closure):
            message = (
                f"step() needs a closure and was given {closure!r:.80}: a solver evaluates the "
                "loss many times. Allowed is a function that returns the loss. Pass one: "
                "optimizer.step(closure)."
            )
            raise UnsupportedError(message)
        self.result = None
        solver = self._solver()
        objective = self._objective(closure, solver)
        solver.check(objective.layout, objective.bounds)
        run, result = self._run(solver, objective)
        counts = objective.counts
        self.result = replace(result, fg_evals=counts.fg, hessp_evals=counts.hvp)
        self._keep(solver, run, objective)
        if result.status is Status.NONFINITE:
            warnings.warn(result.message, RuntimeWarning, stacklevel=3)
        like = objective.closure.returned
        return torch.tensor(
            result.loss,
            dtype=torch.float64 if like is None else like.dtype,
            device=None if like is None else like.device,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later optimizer goes on from, apart from functions.

        Returns
        -------
        dict of str to object
            What torch's optimizers have, bounds among the groups; and under ``"kormos"``
            solver, options, counts, and the solver's memory where it can be resumed. Callback
            and constraints are not in it.
        """
        packed = super().state_dict()
        packed[_KEY] = {
            **self._asked,
            "counts": dict(self.counts),
            "standing": to_tensors(self._state),
        }
        return packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, solver and options included.

        Parameters
        ----------
        state_dict : dict of str to object
            The state of a `SolverOptimizer` of parameters of the same shapes.

        Raises
        ------
        UnsupportedError
            If it is that of another optimizer.
        """
        own = state_dict.get(_KEY)
        if not isinstance(own, dict) or not {*_ASKED, "counts", "standing"} <= own.keys():
            message = (
                "this is not the state of a SolverOptimizer: it holds "
                f"{', '.join(map(repr, state_dict))}. Allowed is what its state_dict() returned. "
                "Load that, or make a new optimizer."
            )
            raise UnsupportedError(message)
        before = self._asked
        self._asked = {name: own[name] for name in _ASKED}
        try:
            self._solver()
        except Exception:
            self._asked = before
            raise
        super().load_state_dict(state_dict)
        self.counts = {name: int(own["counts"][name]) for name in _COUNTS}
        self._state = to_state(own["standing"])

    def __getstate__(self) -> dict[str, Any]:
        names = ("_asked", "_constraints", "_callback", "_state", "result", "counts")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in names}}

    def __repr__(self) -> str:
        asked = ", ".join(
            f"{name}={value!r}" for name, value in self._asked.items() if value not in (None, {})
        )
        return f"{type(self).__name__}({asked})"

    def _solver(self) -> Solver:
        asked = self._asked
        return Solver.of(
            asked["solver"],
            options=asked["options"],
            maxiter=asked["maxiter"],
            tol=asked["tol"],
            hvp=asked["hvp"],
            constraints=self._constraints,
        )

    def _layout(self) -> Layout:
        return Layout.of(p for group in self.param_groups for p in group["params"])

    def _objective(self, closure: Callable[[], Any], solver: Solver) -> ClosureObjective:
        layout = self._layout()
        noise = None
        if self._asked["freeze_noise"]:
            noise = FrozenNoise(parameter.device for parameter in layout.parameters)
        return ClosureObjective(
            Closure(closure, layout.parameters, noise),
            layout,
            bounds=group_bounds(self.param_groups, layout),
            constraints=solver.constraints,
            kinds=kinds_of(solver.hvp),
            records=solver.takes_products,
        )

    def _run(self, solver: Solver, objective: ClosureObjective) -> tuple[Run, Result]:
        """Run a solver, and leave the parameters at the best point whatever happens."""
        best, state, self._state = objective.layout.read(), self._state, None
        told, steps = Told(self._callback, objective), 1 if self._callback else None
        with Interrupt() as interrupt:
            try:
                memory = memory_for(state, solver, objective, best)
                run = Run(objective, solver.registered, told, interrupt, steps, memory)
                try:
                    result = run.solve(solver.method, best, maxiter=solver.maxiter)
                finally:
                    best = best if run.best is None else run.best
                if not objective.knows(best):
                    objective.value_and_grad(best)
            finally:
                objective.leave(best)
        return run, result

    def _keep(self, solver: Solver, run: Run, objective: ClosureObjective) -> None:
        """Add up counts, and keep where the solve stands."""
        assert self.result is not None  # noqa: S101 - just set
        self.counts["steps"] += 1
        for name in _COUNTS[1:]:
            self.counts[name] += getattr(self.result, name)
        self._state = SolverState(
            solver=solver.registered.name,
            method=repr(solver.method),
            num_iterations=self.counts["num_iterations"],
            weights=objective.layout.read(),
            memory=run.snapshot(),
        )
