"""The two references against textbook numbers, exact limits and each other."""

import ast
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.special

from . import brute, floquet, liouville

MAGIC = np.arccos(1 / np.sqrt(3))


def tilt(theta: float, phi: float = 0.0) -> np.ndarray:
    """Rotation Rz(phi) Ry(theta)."""
    c, s = np.cos(theta), np.sin(theta)
    cz, sz = np.cos(phi), np.sin(phi)
    return np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def coupling(c_q: float, eta: float = 0.0, theta: float = 0.0, phi: float = 0.0) -> np.ndarray:
    """Quadrupole tensor, Hz."""
    r = tilt(theta, phi)
    return r @ np.diag([-c_q * (1 - eta) / 2, -c_q * (1 + eta) / 2, c_q]) @ r.T


def shift(iso: float, zeta: float = 0.0, eta: float = 0.0, theta: float = 0.0, phi: float = 0.0) -> np.ndarray:
    """Shift tensor, ppm."""
    r = tilt(theta, phi)
    return r @ np.diag([iso - zeta * (1 + eta) / 2, iso - zeta * (1 - eta) / 2, iso + zeta]) @ r.T


def jumps(k: float, p: np.ndarray) -> np.ndarray:
    """Jumps between all pairs keeping p: rate k p_i into site i from every other."""
    return k * (p[:, None] * np.ones(len(p)) - np.eye(len(p)))


def relative_l2(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / |b|."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def second_order_isotropic(spin: float, c_q: float, eta: float, nu0: float) -> float:
    """Isotropic second-order shift of the central transition, Hz (textbook)."""
    s = (spin * (spin + 1) - 0.75) / (spin * (2 * spin - 1)) ** 2
    return -(3 / 40) * c_q**2 / abs(nu0) * s * (1 + eta**2 / 3)


def centre(system: brute.System, m: float, directions: np.ndarray, weights: np.ndarray) -> float:
    """Powder first moment, Hz: 1^T L p / (2 pi i), width taken out."""
    ell = brute.generators(system, m, directions)
    return float(np.dot(weights, (ell @ system.populations).sum(axis=-1)).imag / (2 * np.pi))


def test_reference_is_independent():
    """Only numpy, scipy and the standard library are imported."""
    allowed = {"numpy", "scipy", "dataclasses", "__future__", "ast", "collections", "pathlib", "pytest"}
    for file in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= allowed, file


@pytest.mark.parametrize("spin", [0.5, 1, 1.5, 2.5, 4.5])
def test_spin_algebra(spin):
    """[Ix, Iy] = i Iz and the square is I(I+1)."""
    x, y, z = brute.spin_matrices(spin)
    np.testing.assert_allclose(x @ y - y @ x, 1j * z, atol=1e-12)
    np.testing.assert_allclose(x @ x + y @ y + z @ z, spin * (spin + 1) * np.eye(len(x)), atol=1e-12)


def test_sphere_and_frames():
    """Exact second and fourth moments; frames are right-handed rotations."""
    n, w = brute.sphere(5, 9)
    np.testing.assert_allclose(np.einsum("c,ci,cj->ij", w, n, n), np.eye(3) / 3, atol=1e-14)
    np.testing.assert_allclose(w @ n**4, np.full(3, 0.2), atol=1e-14)
    frames = brute.frames_from_axes(n)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0)
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(3), frames.shape), atol=1e-14)
    np.testing.assert_allclose(frames[..., 2], n, atol=1e-14)


def test_expm():
    """SciPy's exponential where it is safe; population kept where rates are huge."""
    p = np.array([0.5, 0.3, 0.2])
    a = jumps(20.0, p) + 1j * np.diag([3.0, -8.0, 40.0])
    np.testing.assert_allclose(brute.expm(a[None])[0], scipy.linalg.expm(a), rtol=1e-11, atol=1e-13)
    fast = brute.expm(jumps(1e6, p)[None].astype(complex))[0]
    np.testing.assert_allclose(fast, np.tile(p[:, None], 3), rtol=1e-8)


def test_first_order_pake():
    """I = 1: lines at +-(3/4) C_Q P2(cos theta), so 3/2 C_Q apart along the axis and 3/4 C_Q across it."""
    system = brute.make_system(1, 1e15, shift(0)[None], coupling(2e5)[None])
    n = np.array([[0, 0, 1.0], [1.0, 0, 0]])
    plus, minus = (brute.generators(system, m, n)[:, 0, 0].imag / (2 * np.pi) for m in (1, 0))
    np.testing.assert_allclose(np.abs(plus - minus), [3e5, 1.5e5], rtol=1e-6)
    np.testing.assert_allclose(plus, -minus, rtol=1e-6)


@pytest.mark.parametrize("nu0", [6e7, -6e7])
def test_shift_has_the_sign_of_ppm(nu0):
    """A higher shift lies at positive offset whatever the sign of gamma; 1^T n delta n along each axis."""
    system = brute.make_system(0.5, nu0, np.array([[[10.0, 4, 0], [-4, 20, 0], [0, 0, 30]]]))
    ell = brute.generators(system, 0.5, np.eye(3))[:, 0, 0]
    np.testing.assert_allclose(ell / (2j * np.pi), 60 * np.array([10.0, 20, 30]), rtol=1e-12)


@pytest.mark.parametrize(("spin", "nu0"), [(1.5, 1.35e8), (2.5, -8e7), (3.5, 1e8), (4.5, -1e8)])
def test_second_order_isotropic(spin, nu0):
    """Powder mean of the central transition; a product grid integrates it exactly."""
    system = brute.make_system(spin, nu0, shift(0)[None], coupling(3e6, 0.4, 0.3, 1.1)[None])
    got = centre(system, 0.5, *brute.sphere(5, 10))
    np.testing.assert_allclose(got, second_order_isotropic(spin, 3e6, 0.4, nu0), rtol=1e-8)


@pytest.mark.parametrize(("m", "order"), [(0.5, 4), (1.5, 3), (-0.5, 3)])
@pytest.mark.parametrize("nu0", [1e8, -1e8])
def test_error_of_second_order(m, order, nu0):
    """Against full diagonalisation what is missing is third order (central line: fourth)."""
    n, _ = brute.sphere(3, 4)
    errors = []
    for c_q in (2e6, 1e6):
        system = brute.make_system(1.5, nu0, shift(0)[None], coupling(c_q, 0.3, 0.4)[None])
        got = brute.generators(system, m, n)[:, 0, 0].imag / (2 * np.pi)
        errors.append(np.linalg.norm(got - brute.exact_frequencies(system, m, n)[:, 0]))
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.1


@pytest.mark.parametrize("m", [2.5, 1.5, 0.5])
@pytest.mark.parametrize("nu0", [1e8, -1e8])
def test_cross_term(m, nu0):
    """Quadrupole-shift cross term, antisymmetric shift included: what is bilinear in both."""
    n, _ = brute.sphere(3, 5)
    delta = (shift(50, 300, 0.7, 0.9) + np.array([[0, 80, -40], [-80, 0, 60], [40, -60, 0]]))[None]
    q, none = coupling(2e5, 0.3)[None], np.zeros((1, 3, 3))

    def bilinear(frequencies):
        both, with_q, with_shift = (
            frequencies(brute.make_system(2.5, nu0, d, c), m, n) for d, c in ((delta, q), (none, q), (delta, none))
        )
        return both - with_q - with_shift

    got = bilinear(lambda *a: brute.generators(*a)[:, 0].imag / (2 * np.pi))
    exact = bilinear(brute.exact_frequencies)
    # 7 and 4 Hz for the satellites, zero for the central line; the next order measures 3e-3 to 8e-3 Hz.
    np.testing.assert_allclose(got, exact, atol=0.02)
    assert np.abs(exact).max() < 0.02 if m == 0.5 else np.abs(exact).max() > 3


@pytest.mark.parametrize(("nu0", "p"), [(1.35e8, [0.5, 0.5]), (-1.35e8, [0.7, 0.3])])
@pytest.mark.parametrize("spin", [1.5, 2.5])
def test_slow_and_fast_limits(spin, nu0, p):
    """Slow: mean of the squares. Fast against omega_0: square of the mean, the mean tensor's shift."""
    p = np.array(p)
    q = np.array([coupling(4e6, 0.2), coupling(3e6, 0.5, np.pi / 3, 0.4)])
    grid = brute.sphere(5, 10)

    def at(rate):
        return centre(brute.make_system(spin, nu0, np.zeros((2, 3, 3)), q, jumps(rate, p), p), 0.5, *grid)

    mean = np.tensordot(p, q, 1)

    def isotropic(tensor):  # C_Q^2 (1 + eta^2/3) = (2/3) tr q^2
        return second_order_isotropic(spin, 1.0, 0.0, nu0) * (2 / 3) * np.sum(tensor**2)

    np.testing.assert_allclose(at(1e3), p @ [isotropic(t) for t in q], rtol=1e-6)
    np.testing.assert_allclose(at(1e13), isotropic(mean), rtol=1e-6)


@pytest.mark.parametrize(("k", "expected"), [(1e6, -9.0e3), (1e8, -8.3e3), (1e9, -4.0e3), (1e12, -4.0e3)])
def test_line_centre_against_omega_0(k, expected):
    """I = 3/2, 135 MHz, C_Q 7 MHz, axes 60 degrees apart: second transition of the line near k = omega_0."""
    q = np.array([coupling(7e6), coupling(7e6, theta=np.pi / 3)])
    p = np.array([0.5, 0.5])
    system = brute.make_system(1.5, 1.35e8, np.zeros((2, 3, 3)), q, jumps(2 * k, p), p, 500.0)  # k each way
    powder = brute.sphere(5, 10)
    grid = np.linspace(-60e3, 40e3, 401)
    for line in (
        brute.static_spectrum(system, 0.5, *powder, grid),
        liouville.static_spectrum(system, "central", *powder, grid),
    ):
        # First moment in this window; broad components reach beyond it, which moves it by 0.1 to 0.2 kHz.
        np.testing.assert_allclose((line @ grid) / line.sum(), expected, atol=200.0)


def test_slow_mode_keeps_the_mean_frequency_of_the_tensor():
    """For k far above omega_0 one narrow mode is left, at the mean tensor's shift at each orientation."""
    q = np.array([coupling(7e6), coupling(5e6, 0.3, np.pi / 3)])
    p = np.array([0.6, 0.4])
    n, _ = brute.sphere(3, 4)
    moving = brute.make_system(1.5, 1.35e8, np.zeros((2, 3, 3)), q, jumps(1e14, p), p)
    still = brute.make_system(1.5, 1.35e8, np.zeros((1, 3, 3)), np.tensordot(p, q, 1)[None])
    got = (brute.generators(moving, 0.5, n) @ p).sum(axis=-1)
    expected = brute.generators(still, 0.5, n)[:, 0, 0]
    np.testing.assert_allclose(got.imag, expected.imag, rtol=1e-3, atol=1.0)
    # What motion leaves as a real part falls as 1/k and only ever damps.
    assert np.all(got.real <= 0.0)


CASES = [
    (spin, n, k)
    for spin, n, rates in (
        (1.5, 2, (1e4, 1e6, 1e8, 1e9, 1e12)),
        (1.5, 3, (1e5, 3e8)),
        (2.5, 2, (1e5, 1e7, 1e10)),
        (2.5, 3, (1e4, 1e9, 1e12)),
    )
    for k in rates
]


@pytest.mark.parametrize(("spin", "n", "k"), CASES)
def test_second_order_with_motion(spin, n, k):
    """Perturbation theory with motion against full Liouville space, the same crystallites."""
    p = np.array({2: [0.6, 0.4], 3: [0.5, 0.3, 0.2]}[n])
    q = np.array([coupling(4e6, 0.3), coupling(4e6, 0.3, np.pi / 3), coupling(3e6, 0.6, 1.2, 0.8)])[:n]
    d = np.array([shift(0, 30, 0.5), shift(20, 20), shift(-10, 15, 0.2, 0.7)])[:n]
    system = brute.make_system(spin, 1.35e8, d, q, jumps(k, p), p, 400.0)
    directions, weights = brute.sphere(4, 5)
    grid = np.linspace(-15e3, 12e3, 181)
    secular = brute.static_spectrum(system, 0.5, directions, weights, grid)
    full = liouville.static_spectrum(system, "central", directions, weights, grid)
    # Measured 2e-5 to 4e-4; the mean of the sites' second-order shifts misses by 0.5 to 0.9 for k >= 1e9.
    assert relative_l2(secular, full) < 1e-3


@pytest.mark.parametrize("nu0", [1.35e8, -1.35e8])
def test_all_transitions_low_coupling(nu0):
    """Satellites and central line, weak coupling: the sum over transitions is the whole I+ signal."""
    p = np.array([0.6, 0.4])
    q = np.array([coupling(5e4, 0.3), coupling(5e4, 0.3, np.pi / 3)])
    d = np.array([shift(0, 30, 0.5), shift(20, 20)])
    system = brute.make_system(1.5, nu0, d, q, jumps(2e4, p), p, 1e3)
    directions, weights = brute.sphere(3, 4)
    grid = np.linspace(-6e4, 6e4, 121)
    total, separate = np.zeros((2, len(grid)))
    for m, w in brute.transitions(1.5, "all"):
        total += w * brute.static_spectrum(system, m, directions, weights, grid)
        separate += w * liouville.static_spectrum(system, (m, m - 1), directions, weights, grid)
    together = liouville.static_spectrum(system, "all", directions, weights, grid)
    # Measured 1.3e-5 both ways.
    assert relative_l2(total, separate) < 1e-4
    assert relative_l2(total, together) < 1e-4


def test_signal_starts_at_one_and_area():
    """S(t = 0) = 1; the transform of the signal is the resolvent; unit area."""
    p = np.array([0.6, 0.4])
    d = np.array([shift(5, 20), shift(-5, 20, 0.3, 0.9)])
    system = brute.make_system(0.5, 1e8, d, None, jumps(3e3, p), p, 300)
    directions, weights = brute.sphere(3, 4)
    dt = 2e-5
    fid = brute.static_fid(system, 0.5, directions, weights, dt, 1000)
    np.testing.assert_allclose(fid[0], 1.0, rtol=1e-12)
    nu = (np.arange(1000) - 500) / (1000 * dt)
    np.testing.assert_allclose(brute.spectrum(fid, dt, 0.0, nu).sum() * (nu[1] - nu[0]), 1.0, rtol=1e-10)
    got = brute.spectrum(fid, dt, 0.0, nu[400:600])
    direct = brute.static_spectrum(system, 0.5, directions, weights, nu[400:600])
    assert relative_l2(got, direct) < 3e-3  # wings folded at 50 kHz


def test_gaussian_width():
    """The apodisation gives a Gaussian of the width asked for."""
    dt, g = 1e-5, 800.0
    nu = np.linspace(-1000, 1000, 41)
    sigma = g / np.sqrt(8 * np.log(2))
    expected = np.exp(-((nu / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(brute.spectrum(np.ones(1000), dt, g, nu), expected, rtol=1e-8)


def test_motional_narrowing():
    """Fast hops: width Delta + 4 pi p1 p2 dnu^2 / k_ex at the mean."""
    p, k_ex = np.array([0.7, 0.3]), 1e6
    system = brute.make_system(0.5, 1e8, np.array([shift(-4), shift(4)]), None, jumps(k_ex, p), p, 10.0)
    slow = np.linalg.eigvals(brute.generators(system, 0.5, np.eye(3)[:1])[0])
    slow = slow[np.argmax(slow.real)]
    np.testing.assert_allclose(slow.imag / (2 * np.pi), -160.0, rtol=1e-4)
    np.testing.assert_allclose(-slow.real / np.pi, 10 + 4 * np.pi * 0.21 * 800**2 / k_ex, rtol=1e-4)


def test_rotor_echo_and_hops_under_mas():
    """Without hops the signal returns after each period; with them SLEEPY's converged 0.96848 after one."""
    d = np.array([shift(0, 100), shift(0, 100, 0, np.deg2rad(70.5))])
    p = np.array([0.5, 0.5])
    axes, weights = brute.sphere(10, 20)
    frames = brute.frames_from_axes(axes)
    for k, expected in ((0.0, 1.0), (1e3, 0.96848)):  # converged in steps: 0.968477
        system = brute.make_system(0.5, 400e6 * 0.25145, d, None, jumps(2 * k, p), p)
        fid = brute.mas_fid(system, 0.5, frames, weights, MAGIC, 1e4, 32, 33, substeps=4)
        np.testing.assert_allclose(fid[0], 1.0, rtol=1e-12)
        np.testing.assert_allclose(fid[32].real, expected, atol=1e-10 if k == 0 else 2e-5)


def test_substeps_converge_at_second_order():
    """Averaging the generator over a step errs as its square where K and precession do not commute."""
    p = np.array([0.6, 0.4])
    d = np.array([shift(0, 60), shift(10, 60, 0.2, 1.0)])
    system = brute.make_system(0.5, 1e8, d, None, jumps(3e4, p), p, 50)
    frames = brute.frames_from_axes(np.array([[0.3, -0.5, 0.8]]))
    runs = [brute.mas_fid(system, 0.5, frames, [1.0], MAGIC, 1e4, 8, 20, substeps=s) for s in (1, 2, 4, 32)]
    errors = [relative_l2(r, runs[-1]) for r in runs[:-1]]
    assert 3.3 < errors[0] / errors[1] < 4.7
    assert 3.3 < errors[1] / errors[2] < 4.7


def test_infinite_spinning():
    """One step per period keeps the second-order centre, loses rank two; fast spinning tends to it."""
    tensors = shift(10, 80, 0.3)[None], coupling(3e6, 0.4, 0.3)[None]
    system = brute.make_system(2.5, 8e7, *tensors, linewidth=200.0)
    axes, weights = brute.sphere(5, 10)
    frames = brute.frames_from_axes(axes)
    ell = brute.rotor_generators(system, 0.5, frames, MAGIC, 1)[:, 0]
    expected = 800 + second_order_isotropic(2.5, 3e6, 0.4, 8e7)
    np.testing.assert_allclose(weights @ ell[:, 0, 0].imag / (2 * np.pi), expected, rtol=1e-8)
    rate, n = 2e7, 8
    fast = brute.mas_fid(system, 0.5, frames, weights, MAGIC, rate, n, 41)
    limit = brute.fid_of_generators(system, ell, weights, 1 / (n * rate), 41)
    np.testing.assert_allclose(fast, limit, atol=1e-3)


def test_rejects_transposed_rates():
    """K.T and populations that do not fit are refused."""
    p = np.array([0.7, 0.3])
    with pytest.raises(ValueError, match="columns"):
        brute.make_system(0.5, 1e8, np.zeros((2, 3, 3)), None, jumps(1e3, p).T, p)
    with pytest.raises(ValueError, match="stationary"):
        brute.make_system(0.5, 1e8, np.zeros((2, 3, 3)), None, jumps(1e3, p), p[::-1])


@pytest.mark.parametrize(("spin", "nu0"), [(0.5, 1e8), (2.5, -5e7)])
def test_floquet_space_is_the_limit_of_short_steps(spin, nu0):
    """Steps and samples halved, their line tends to the one in Floquet space as the square: Richardson's limit."""
    p = np.array([0.6, 0.4])
    q = None if spin == 0.5 else np.array([coupling(2e6, 0.3), coupling(2e6, 0.3, np.pi / 3)])
    d = np.array([shift(0, 60), shift(10, 60, 0.2, 1.0)])
    system = brute.make_system(spin, nu0, d, q, jumps(3e4, p), p, 500.0)
    frames, weights = brute.frames_from_axes([[0.3, -0.5, 0.8], [0.9, 0.1, 0.3]]), [0.7, 0.3]
    nu = np.linspace(-9e3, 9e3, 37)
    exact = floquet.mas_spectrum(system, 0.5, frames, weights, MAGIC, 1e4, nu)
    runs = []
    for phases in (64, 128):
        fid = brute.mas_fid(system, 0.5, frames, weights, MAGIC, 1e4, phases, 100 * phases)
        runs.append(brute.spectrum(fid, 1e-4 / phases, 0.0, nu))
    assert relative_l2(runs[1], exact) < 1e-3
    assert relative_l2((4 * runs[1] - runs[0]) / 3, exact) < 1e-6
    # Components kept: enough twice over.
    assert relative_l2(floquet.mas_spectrum(system, 0.5, frames, weights, MAGIC, 1e4, nu, orders=16), exact) < 1e-9


def test_floquet_space_without_a_rotor():
    """On the axis of the field the rotor does nothing: the static line."""
    p = np.array([0.6, 0.4])
    system = brute.make_system(0.5, 1e8, np.array([shift(5, 20), shift(-5, 20, 0.3, 0.9)]), None, jumps(3e3, p), p, 300)
    n, weights = brute.sphere(3, 4)
    nu = np.linspace(-4e3, 4e3, 41)
    spinning = floquet.mas_spectrum(system, 0.5, brute.frames_from_axes(n), weights, 0.0, 5e3, nu)
    assert relative_l2(spinning, brute.static_spectrum(system, 0.5, n, weights, nu)) < 1e-10


def test_convolution():
    """A Lorentzian under a Gaussian is SciPy's Voigt profile."""
    nu, sigma = np.linspace(-2e3, 2e3, 21), 300 / np.sqrt(8 * np.log(2))
    got = brute.convolved(lambda x: 200 / np.pi / (x**2 + 200**2), 300.0, nu, 40.0)
    np.testing.assert_allclose(got, scipy.special.voigt_profile(nu, sigma, 200), rtol=1e-10)
