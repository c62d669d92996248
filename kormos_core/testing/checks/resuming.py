"""A solve that goes on is the solve that never stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kormos_core.errors import UnsupportedError
from kormos_core.testing.check import Check
from kormos_core.testing.law import LawBrokenError, demand

if TYPE_CHECKING:
    from kormos_core.testing.case import Case

__all__ = ["RESUMING"]

_SAME: Final = 1e-10  # relative: data in the same order, a state in the same bits
_MOST: Final = 6  # iterations


def check_resume(case: Case) -> None:
    """Check that two fits by `case`, the second of which goes on, are one fit."""
    fitting = case.fitting
    whole = fitting.fit(epochs=_MOST)
    losses, x = whole.history["loss"], whole.result.x
    cut = len(losses) // 2
    demand(
        cut > 0,
        "The fit of a small model takes two iterations at least.",
        seen=str(whole.result),
        do="See why it ended so early.",
    )
    law = "A fit that goes on makes the iterations that one fit makes."
    do = (
        "Keep all that an iteration depends on in the state, or drop 'resume' from supports: "
        "then kormos says that it starts afresh."
    )
    fitting.fit(epochs=cut)
    try:
        rest = fitting.fit(epochs=len(losses), resume=True, again=False)
    except UnsupportedError as error:
        message = f"{law} Seen: {error} {do}"
        raise LawBrokenError(message) from error

    went_on = rest.history["loss"]
    demand(
        len(went_on) == len(losses) - cut
        and np.allclose(went_on, losses[cut:], rtol=_SAME, atol=0.0),
        law,
        seen=f"losses {went_on} in place of {losses[cut:]}",
        do=do,
    )
    demand(
        np.allclose(rest.result.x, x, rtol=1e-8, atol=1e-10),
        law,
        seen=f"the end {rest.result.x} in place of {x}",
        do=do,
    )


def _no_resume(case: Case) -> str:
    return "" if "resume" in case.spec.supports else "it does not declare 'resume'"


RESUMING: Final = (
    Check(
        name="resume",
        law="A fit that goes on makes the iterations of one fit.",
        run=check_resume,
        exception=_no_resume,
    ),
)
"""Checks of going on."""
