"""Random numbers that follow from a key and a counter alone, whatever is drawn before or beside them.

Philox4x32-10 of Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (2011).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(key: tuple[int, int], counter: Sequence[Tensor], rounds: int = 10) -> list[Tensor]:
    """Four random numbers of 32 bits for each counter.

    Args:
        key: two numbers of 32 bits.
        counter: four int64 tensors of numbers of 32 bits, of shapes that broadcast.
        rounds: of the cipher.

    Returns:
        Four int64 tensors of one shape.
    """
    a, b, c, d = counter
    first, second = key
    for _ in range(rounds):
        low, high = a * MULTIPLIERS[0], c * MULTIPLIERS[1]  # int64 wraps around and keeps all 64 bits
        a, b, c, d = (
            ((high >> 32) & MASK) ^ b ^ first,
            high & MASK,
            ((low >> 32) & MASK) ^ d ^ second,
            low & MASK,
        )
        first, second = (first + WEYL[0]) & MASK, (second + WEYL[1]) & MASK
    return [a, b, c, d]


def numbers(seed: int, epoch: int, positions: Tensor, count: int, stream: int = 0) -> Tensor:
    """Numbers in [0, 1) with 24 bits, `(N, count)` float32: a row for each position in an epoch, the same in any batch.

    Args:
        seed: of the run, 32 bits.
        epoch: from 0.
        positions: `(N,)` int64, on the device that the numbers are wanted on.
        count: numbers a row.
        stream: what they are for; of two purposes they have nothing in common.
    """
    blocks = torch.arange(-(-count // 4), device=positions.device)
    zero = torch.zeros_like(blocks)
    found = torch.stack(philox((seed, epoch), [blocks, positions[:, None], zero + stream, zero]), dim=-1)
    return (found.flatten(1)[:, :count] >> 8).float() * 2.0**-24


def normals(seed: int, epoch: int, positions: Tensor, count: int, stream: int) -> Tensor:
    """Numbers of the standard normal distribution, `(N, count)` float32, by Box and Muller; arguments of `numbers`."""
    radius, angle = numbers(seed, epoch, positions, 2 * (-(-count // 2)), stream).chunk(2, dim=1)
    length = (-2 * torch.log1p(-radius)).sqrt()
    turned = 2 * torch.pi * angle
    return torch.cat([length * turned.cos(), length * turned.sin()], dim=1)[:, :count]
