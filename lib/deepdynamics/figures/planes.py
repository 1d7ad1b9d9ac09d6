"""Pictures of high-dimensional particles in two dimensions that can be compared with one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepdynamics._checks import Array, Numbers, real

__all__ = ["common_planes"]


def common_planes(states: Sequence[Numbers]) -> Array:
    """The same n particles in several spaces, each seen in its own principal plane, all turned into one frame.

    ``states``: arrays, tensors or lists (n, d_l), d_l >= 2, particles in the same order. Each is centred, projected on
    its two leading principal components, scaled to mean square radius 1, and turned (or reflected) so that it lies as
    close as it can to the one before: the orthogonal Procrustes problem min_R ‖A R - B‖, solved by R = U Vᵀ with
    AᵀB = U S Vᵀ (Schönemann 1966). A separation that is seen in a plane is there in the space; what overlaps in the
    plane need not overlap in the space. Returns (len(states), n, 2).

    Raises ``ValueError`` for no states, fewer than two particles or dimensions, numbers of particles that differ,
    entries that are not finite, and particles that all lie in one place.

    >>> square = np.array([[1.0, 1, 0], [1, -1, 0], [-1, -1, 0], [-1, 1, 0]])
    >>> turned = square[:, [2, 1, 0]]
    >>> first, second = common_planes([square, 3 * turned])
    >>> np.allclose(first, second)
    True
    """
    spaces = [real(f"states[{index}]", state) for index, state in enumerate(states)]
    if not spaces:
        raise ValueError("states is empty: at least one array is needed")
    planes: list[Array] = []
    for index, space in enumerate(spaces):
        fits = space.ndim == 2 and space.shape[0] == spaces[0].shape[0] and min(space.shape) >= 2
        if not fits or not np.isfinite(space).all():
            raise ValueError(
                f"states[{index}] of shape {space.shape}: finite (n, d) with n = {len(spaces[0])}, d >= 2 is allowed"
            )
        centred = space - space.mean(0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        plane = u[:, :2] * s[:2]
        radius = np.sqrt((plane**2).sum(1).mean())
        if radius <= 1e-12 * np.abs(space).max():
            raise ValueError(f"states[{index}]: all particles lie in one place")
        plane = plane / radius
        if planes:
            left, _, right = np.linalg.svd(plane.T @ planes[-1])
            plane = plane @ left @ right
        planes.append(plane)
    return np.stack(planes)
