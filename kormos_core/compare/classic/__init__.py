"""The classical functions on which unconstrained solvers are compared.

References
----------
J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing Unconstrained Optimization Software",
ACM Trans. Math. Softw. 7(1), 1981, pages 17-41, doi:10.1145/355934.355936.
"""

from typing import Final

from kormos_core.compare.classic.data_fitting import DATA_FITTING
from kormos_core.compare.classic.equations import EQUATIONS
from kormos_core.compare.classic.function import ClassicFunction
from kormos_core.compare.classic.scalable import SCALABLE
from kormos_core.compare.classic.small import SMALL

__all__ = ["CLASSIC", "ClassicFunction"]

CLASSIC: Final[tuple[ClassicFunction, ...]] = tuple(
    sorted((*SMALL, *DATA_FITTING, *SCALABLE, *EQUATIONS), key=lambda function: function.number)
)
