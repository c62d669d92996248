"""The checks as tests of pytest: one class to derive from."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from kormos_core.testing.case import Case
from kormos_core.testing.checks import CHECKS, find_check
from kormos_core.testing.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kormos_core.testing.check import Check

__all__ = ["BatchOptimizerConformance"]


class BatchOptimizerConformance:
    """Let pytest make every check of a solver: derive a class whose name begins with ``Test``.

    Each check is a test, ``test_<name of the check>``. One that does not apply, or lacks a
    package, is skipped and says why.

    Attributes
    ----------
    solver : str
        Name of the solver: ``"my:solver"``.
    options : mapping of str to object
        Its options.
    known_failures : mapping of str to str
        Names of checks that are known to fail, and why. They must fail.
    constraint : object
        ``x[0] + x[1] <= 1`` in the form of the solver's library; None for SciPy's mapping.

    Examples
    --------
    >>> from kormos_core.testing import BatchOptimizerConformance
    >>> class TestMySolver(BatchOptimizerConformance):
    ...     solver = "scipy:l-bfgs-b"
    """

    solver: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    known_failures: ClassVar[Mapping[str, str]] = MappingProxyType({})
    constraint: ClassVar[Any] = None
    _case: ClassVar[Case | None] = None

    @classmethod
    def case(cls) -> Case:
        """Return the solver, found once for all tests of the class.

        Returns
        -------
        Case
            The solver and what its checks share.
        """
        if cls._case is None:
            found = Case.of(cls.solver, cls.options)
            cls._case = Case(found.registered, cls.options, cls.constraint)
        return cls._case

    @classmethod
    def teardown_class(cls) -> None:
        """Let go of what the checks have shared."""
        cls._case = None

    def test_known_failures_are_names_of_checks(self) -> None:
        """Fail where a known failure is no check."""
        for name in self.known_failures:
            find_check(name)


def _test_of(check: Check) -> Callable[[BatchOptimizerConformance], None]:
    """Return a check as a method that pytest collects."""

    def test(self: BatchOptimizerConformance) -> None:
        import pytest

        verdict = judge(check, self.case(), self.known_failures)
        if verdict.outcome in {"does not apply", "cannot run"}:
            pytest.skip(f"{verdict.outcome}: {verdict.message}")
        if verdict.outcome == "known failure":
            pytest.xfail(verdict.message)
        if verdict.error is not None:
            raise verdict.error
        if verdict.is_bad:
            pytest.fail(verdict.message, pytrace=False)

    test.__name__ = f"test_{check.name}"
    test.__qualname__ = f"{BatchOptimizerConformance.__name__}.{test.__name__}"
    test.__doc__ = check.law
    return test


for _check in CHECKS:
    setattr(BatchOptimizerConformance, f"test_{_check.name}", _test_of(_check))
