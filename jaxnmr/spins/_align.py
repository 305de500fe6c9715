r"""The rotation that brings the tensors of one site onto those of another.

Two sites are equivalent in a powder if one rotation R takes every tensor of the one to that of the other, $R\,T_k R^\top
= T'_k$. Each tensor's own invariants do not tell: two sites may have the same shielding and the same field gradient in
different mutual orientation, or antisymmetric parts that point to different sides. The smallest of $\sum_k |R\,T_k
R^\top - T'_k|^2$ over all rotations is the joint invariant that does, it is continuous, and it is in the units of the
tensors.
"""

from __future__ import annotations

import numpy as np

__all__ = ["aligned"]

# Proper changes of sign of three axes: eigenvectors do not say which way they point.
_SIGNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
# Mixtures of (symmetric parts..., square of the antisymmetric vector) whose axes are tried: one tensor may be isotropic or
# axial, and then only another fixes the frame.
_MIXTURES = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0.3], [1, -0.7, 0.3], [0.5, 0.2, 1], [0.2, 1, -0.6]])
_STEPS = 12
_GENERATORS = np.array(
    [[[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]]], dtype=float
)


def aligned(tensors: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The tensors, turned together so that they come as near to the target as they can.

    Args:
        tensors: (kind, 3, 3), each in units of its tolerance, so that differences count alike.
        target: (kind, 3, 3).

    Returns:
        (kind, 3, 3).
    """
    # Never below a millionth of a tolerance, so that the rounding of an isotropic tensor fixes no frame.
    sizes = [np.linalg.norm(both - _isotropic(both), axis=(1, 2)) for both in (tensors, target)]
    scales = np.maximum(np.maximum(*sizes), 1e-6)
    rotations = np.concatenate([_frames(tensors, target, scales), np.eye(3)[None]])
    turned = _turn(rotations, tensors)
    # Principal axes are exact where nothing is degenerate; a few steps of Gauss and Newton settle the rest.
    for _ in range(_STEPS):
        jacobian = np.einsum("gik,rtkj->rtgij", _GENERATORS, turned) - np.einsum("rtik,gkj->rtgij", turned, _GENERATORS)
        jacobian = np.moveaxis(jacobian, 2, -1).reshape(len(turned), -1, 3)
        residual = (target - turned).reshape(len(turned), -1, 1)
        normal = np.swapaxes(jacobian, 1, 2) @ jacobian
        # The ridge leaves alone what no tensor fixes, as a turn about the axis of axial ones.
        ridge = 1e-9 * (np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-300) * np.eye(3)
        step = np.linalg.solve(normal + ridge, np.swapaxes(jacobian, 1, 2) @ residual)[..., 0]
        turned = _turn_each(_exponential(step), turned)
    return turned[np.argmin(np.linalg.norm((turned - target).reshape(len(turned), -1), axis=1))]


def _isotropic(tensors: np.ndarray) -> np.ndarray:
    return np.trace(tensors, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)


def _frames(tensors: np.ndarray, target: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Rotations (mixture and sign, 3, 3) that take principal axes of mixtures of the one to those of the other."""
    start, end = _parts(tensors, scales), _parts(target, scales)
    rotations = []
    for mixture in _MIXTURES:
        frames = [np.linalg.eigh(np.einsum("k,kij->ij", mixture, parts))[1] for parts in (start, end)]
        frames = [frame * np.sign(np.linalg.det(frame)) for frame in frames]
        rotations.append(np.einsum("ik,sk,jk->sij", frames[1], _SIGNS, frames[0]))
    return np.concatenate(rotations)


def _parts(tensors: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Symmetric parts of (up to) two tensors, and the square of the first one's antisymmetric vector, each of size one."""
    symmetric = (tensors + np.swapaxes(tensors, 1, 2)) / 2
    parts = (symmetric - _isotropic(symmetric)) / scales[:, None, None]
    if len(parts) == 1:
        parts = np.concatenate([parts, np.zeros((1, 3, 3))])
    skew = tensors[0] - tensors[0].T
    vector = np.array([skew[1, 2], skew[2, 0], skew[0, 1]])
    square = np.outer(vector, vector)
    return np.concatenate([parts, square[None] / (np.linalg.norm(square) + 1e-300)])


def _turn(rotations: np.ndarray, tensors: np.ndarray) -> np.ndarray:
    return np.einsum("rik,tkl,rjl->rtij", rotations, tensors, rotations)


def _turn_each(rotations: np.ndarray, tensors: np.ndarray) -> np.ndarray:
    return np.einsum("rik,rtkl,rjl->rtij", rotations, tensors, rotations)


def _exponential(vectors: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) about vectors (n, 3), by Rodrigues' formula; no step beyond half a radian."""
    angle = np.linalg.norm(vectors, axis=1)
    bounded = np.minimum(angle, 0.5)
    axis = vectors / np.where(angle > 0, angle, 1)[:, None]
    k = np.einsum("ng,gij->nij", axis, _GENERATORS)
    sine, cosine = np.sin(bounded)[:, None, None], np.cos(bounded)[:, None, None]
    return np.eye(3) + sine * k + (1 - cosine) * k @ k
