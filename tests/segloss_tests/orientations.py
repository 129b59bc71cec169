"""Orders of axes and rotations in space."""

from itertools import permutations, product

import numpy as np

ORDERS = ["".join(letters) for pairs in permutations(("LR", "PA", "IS")) for letters in product(*pairs)]


def turn(angle, about=(0, 0, 1)):
    """Rodrigues' formula."""
    x, y, z = np.array(about) / np.linalg.norm(about)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
