"""NIST's certified regression problems.

References
----------
National Institute of Standards and Technology, Statistical Reference Datasets, Nonlinear
Regression and Linear Regression; public domain. doi:10.18434/T43G6C
"""

from kormos_core.compare.nist.tables import Regression, linear, nonlinear

__all__ = ["Regression", "linear", "nonlinear"]
