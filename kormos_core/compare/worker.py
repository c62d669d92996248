"""The process of one run: ``python -m kormos_core.compare.worker``.

It reads one line of JSON, a `kormos_core.compare.plan.Job`, from standard input, and writes
lines of JSON to standard output: ``{"event": "begin"}`` where a timed solve begins,
``{"event": "row"}`` for each row of the trace, and at last ``{"event": "end"}`` with what goes
into the store. Whatever else is written, by whomever, goes to standard error. When standard
input ends, whoever started it is gone, and so is it.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import signal
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Final, final

from kormos_core.peak_memory import peak_memory_bytes

if TYPE_CHECKING:
    from kormos_core.compare.limits import Limits
    from kormos_core.compare.solve import Measured
    from kormos_core.compare.watch import Row

__all__ = ["main"]

_PACKAGES: Final = ("keras", "tensorflow", "numpy", "scipy", "tensorflow-probability")


@final
class _Told:
    """Writes what goes on to the process that asked for it."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe

    def write(self, event: str, **fields: Any) -> None:
        """Write one event; NaN and infinities are Python's words."""
        self._pipe.write(json.dumps({"event": event, **fields}) + "\n")
        self._pipe.flush()

    def begin(self, what: str) -> None:
        """Take note that a timed solve begins."""
        self.write("begin", what=what)

    def row(self, row: Row) -> None:
        """Take a row of its trace."""
        self.write("row", row=row)


def main() -> None:
    """Do the run that standard input asks for."""
    told = _Told(_own_output())
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    told.write("started")
    try:
        fields, rows = _run(job, told)
    except Exception as error:  # noqa: BLE001 - it becomes the run's message
        fields, rows = {"status": "FAILED", "message": f"{type(error).__name__}: {error}"}, []
        import traceback

        traceback.print_exc()
    fields |= {"peak_memory_bytes": peak_memory_bytes(), "versions": _versions()}
    told.write("end", fields=fields, rows=rows)


def _run(job: dict[str, Any], told: _Told) -> tuple[dict[str, Any], list[Row]]:
    """Do a run; return the columns of the store that only this process knows, and the trace."""
    from kormos_core.compare.quiet import start_backend

    start_backend()
    import keras

    from kormos_core.compare.catalog import find_problem
    from kormos_core.compare.limits import Limits

    keras.config.set_floatx(job["dtype"])
    problem = find_problem(job["problem"])
    instance = problem.make(seed=job["seed"], start=job["start"], dtype=job["dtype"])
    measured = _train(instance, job, Limits(**job["budget"]), told)
    fields = {
        field.name: getattr(measured, field.name)
        for field in dataclasses.fields(measured)
        if field.name != "rows"
    }
    fields |= {
        "num_samples": len(instance.data.x),
        "f_min": problem.f_min,
        "metric": problem.metric,
    }
    return fields, measured.rows


def _train(instance: Any, job: dict[str, Any], limits: Limits, told: _Told) -> Measured:
    from kormos_core.compare.solve import run_solver
    from kormos_core.compare.tune import run_optimizer
    from kormos_core.registry import installed

    if ":" in job["solver_name"]:
        registered = installed().resolve(job["solver_name"])
        return run_solver(instance, registered, job["options"], limits, told)
    return run_optimizer(
        instance,
        job["solver_name"],
        job["options"],
        job["rates"],
        limits,
        told,
        seed=job["seed"],
    )


def _own_output() -> IO[str]:
    """Keep standard output for the events; what else is printed goes to standard error."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


def _end_with_parent() -> None:
    """Wait for the end of standard input, which is that of the process that asked."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)  # whatever the main thread is in


def _versions() -> dict[str, str]:
    """Return versions of what the result may depend on."""
    versions = {"python": platform.python_version()}
    names = {*_PACKAGES, *(name for name in _distributions() if name.startswith("kormos"))}
    for name in sorted(names):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _distributions() -> set[str]:
    from kormos_core.registry import installed

    return {"kormos", *(plugin.distribution for plugin in installed().plugins())}


if __name__ == "__main__":
    main()
