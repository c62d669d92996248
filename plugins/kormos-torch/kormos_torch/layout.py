"""How one flat vector and a list of torch parameters map onto each other.

Each parameter is raveled in C order, a complex one as pairs of real and imaginary parts.
Parameters of one device and dtype travel together, so that a copy to or from an accelerator
is made once for each, and in the parameters' own precision.

Symbols: ``x`` parameters (n,), float64.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["Layout"]

_DIGITS = ("float64", "float32", "float16", "bfloat16")  # the most first


@final
@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Order, shapes and offsets of parameters in the flat vector.

    Attributes
    ----------
    parameters : tuple of torch.Tensor
        The parameters, each one once.
    offsets : tuple of int
        Start of each parameter in the vector, and the vector's length as last entry.
    """

    parameters: tuple[torch.Tensor, ...]
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, parameters: Iterable[torch.Tensor]) -> Layout:
        """Lay out parameters one after the other.

        Parameters
        ----------
        parameters : iterable of torch.Tensor
            Those that are frozen are left out, as are repetitions.

        Returns
        -------
        Layout
            The layout.

        Raises
        ------
        UnsupportedError
            If none is left.
        """
        kept = {id(p): p for p in parameters if p.requires_grad}
        if not kept:
            message = (
                "there is nothing to optimize: no parameter has requires_grad=True. Allowed is "
                "at least one. Unfreeze some, such as by model.requires_grad_(True)."
            )
            raise UnsupportedError(message)
        lengths = [_real(p.detach()).numel() for p in kept.values()]
        return cls(tuple(kept.values()), tuple(itertools.accumulate(lengths, initial=0)))

    @property
    def size(self) -> int:
        """Number of real parameters n."""
        return self.offsets[-1]

    @property
    def dtype(self) -> str:
        """Dtype of the lowest precision among the parameters, such as ``"float32"``."""
        names = {str(_real(p.detach()).dtype).removeprefix("torch.") for p in self.parameters}
        digits = {name: index for index, name in enumerate(_DIGITS)}
        return max(names, key=lambda name: digits.get(name, len(digits)))

    def slices(self) -> list[slice]:
        """Return the place of each parameter in the vector."""
        return [slice(a, b) for a, b in itertools.pairwise(self.offsets)]

    def read(self) -> NDArray[np.float64]:
        """Read the parameters' present values into a flat vector, shape (n,)."""
        return self.gather([p.detach() for p in self.parameters])

    def write(self, x: NDArray[np.float64]) -> None:
        """Set the parameters to the flat vector `x`, shape (n,), in place."""
        with torch.no_grad():
            for parameter, part in zip(self.parameters, self.scatter(x), strict=True):
                parameter.copy_(part)

    def gather(self, tensors: Sequence[torch.Tensor | None]) -> NDArray[np.float64]:
        """Put tensors such as gradients into one flat vector.

        Parameters
        ----------
        tensors : sequence of torch.Tensor or None
            One of each parameter's shape; None is zero.

        Returns
        -------
        ndarray, shape (n,), float64
            The vector.
        """
        x = np.zeros(self.size)
        blocks: dict[Any, list[tuple[slice, torch.Tensor]]] = {}
        for place, tensor in zip(self.slices(), tensors, strict=True):
            if tensor is not None:
                part = _real(tensor.detach().to_dense()).reshape(-1)
                blocks.setdefault((part.device, part.dtype), []).append((place, part))
        for block in blocks.values():
            values = torch.cat([part for _, part in block]).cpu().to(torch.float64).numpy()
            start = 0
            for place, part in block:
                x[place] = values[start : start + part.numel()]
                start += part.numel()
        return x

    def scatter(self, x: NDArray[np.float64]) -> list[torch.Tensor]:
        """Cut a flat vector into tensors like the parameters.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The vector.

        Returns
        -------
        list of torch.Tensor
            One of each parameter's shape, dtype and device.
        """
        blocks: dict[Any, list[int]] = {}
        for index, parameter in enumerate(self.parameters):
            key = (parameter.device, _real(parameter.detach()).dtype)
            blocks.setdefault(key, []).append(index)
        places, parts = self.slices(), list(self.parameters)
        for (device, dtype), block in blocks.items():
            values = np.concatenate([x[places[index]] for index in block])
            moved = torch.from_numpy(values).to(dtype).to(device)
            lengths = [places[index].stop - places[index].start for index in block]
            for index, part in zip(block, torch.split(moved, lengths), strict=True):
                parts[index] = _shaped(part, self.parameters[index])
        return parts

    def join(self, tensors: Sequence[torch.Tensor | None], like: torch.Tensor) -> torch.Tensor:
        """Put tensors such as gradients into one flat tensor.

        Parameters
        ----------
        tensors : sequence of torch.Tensor or None
            One of each parameter's shape; None is zero.
        like : torch.Tensor
            Whose dtype and device it takes.

        Returns
        -------
        torch.Tensor, shape (n,)
            The tensor.
        """
        parts = [
            torch.zeros(place.stop - place.start, dtype=like.dtype, device=like.device)
            if tensor is None
            else _real(tensor.detach().to_dense()).reshape(-1).to(like.device, like.dtype)
            for place, tensor in zip(self.slices(), tensors, strict=True)
        ]
        return torch.cat(parts)

    def cut(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Cut a flat tensor `x`, shape (n,), into tensors like the parameters."""
        return [
            _shaped(x[place].to(parameter.device), parameter)
            for place, parameter in zip(self.slices(), self.parameters, strict=True)
        ]


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """View a complex tensor as pairs of reals."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _shaped(part: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Bring the real numbers of one parameter into its shape and dtype."""
    if not parameter.is_complex():
        return part.to(parameter.dtype).view(parameter.shape)
    pairs = part.to(parameter.real.dtype).view(*parameter.shape, 2)
    return torch.complex(pairs[..., 0], pairs[..., 1])
