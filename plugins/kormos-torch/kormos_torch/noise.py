"""The same random numbers at every evaluation of a solve.

A solver compares losses of different points: with a fresh dropout mask, or other samples, at
each of them there is nothing to compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FrozenNoise"]


@final
class FrozenNoise:
    """The state of torch's global generators at the beginning of a solve.

    Parameters
    ----------
    devices : iterable of torch.device
        Where parameters are; generators of CUDA devices among them are kept beside the CPU's.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._host = torch.get_rng_state()
        self._cuda = {
            device: torch.cuda.get_rng_state(device)
            for device in sorted({d for d in devices if d.type == "cuda"}, key=str)
        }

    def restore(self) -> None:
        """Set the generators back."""
        torch.set_rng_state(self._host)
        for device, state in self._cuda.items():
            torch.cuda.set_rng_state(state, device)
