"""Whether the errors of fits are honest: coverage, efficiency and failures over many noisy synthetic spectra.

    python benchmarks/fit_statistics.py --only recovery --count 1000 --out statistics.jsonl
    python benchmarks/fit_statistics.py --only series,robust
    python benchmarks/fit_statistics.py --summary --out statistics.jsonl

One JSON line is written for each spectrum, and a run goes on where the file ends; the summary reads the file and writes
results/fit_statistics.json, where the tests that the file does not hold keep what they have.
"""

import argparse
import json
import math
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _measure import environment

jax.config.update("jax_enable_x64", True)

import jaxnmr as jn  # noqa: E402
from jaxnmr import fitting  # noqa: E402

HERE = Path(__file__).resolve().parent
POINTS = 128
SPLITTING = 40.0
START = {"d": 132.0, "zeta": -45.0, "k": 1e4, "lw": 800.0}
RANGES = {"d": (125.0, 155.0), "zeta": (-90.0, -30.0), "lw": (200.0, 2000.0), "k": (10.0, 1e9)}
CONSTRAINTS = {"k": fitting.LogRate(), "lw": fitting.Positive()}


def two_sites(isotope, experiment, axis, resolution):
    """Two sites that exchange; their splitting and orientation are known, as from the frozen spectrum."""
    turned = (0.0, np.array([0.0, 1.2]), 0.0)
    quadrupole = None if isotope == "13C" else jn.quadrupole_tensor(4.0e6, 0.3, turned)

    def model(p):
        shift = jn.shift_tensor(p["d"] + np.array([-0.5, 0.5]) * SPLITTING, p["zeta"], 0.4, turned)
        hops = jn.ExchangeModel.from_rates({(0, 1): p["k"]})
        sites = jn.Sites(isotope, shift, quadrupole)
        return jn.simulate(sites, experiment, axis, exchange=hops, linewidth=p["lw"], resolution=resolution)

    return model


# Sizes are small: truth and fit are one model, so that nothing but the noise stands between them.
CASES = {
    "13C static": ("13C", jn.Static(9.4), jn.Axis(ppm=(240.0, 40.0), points=POINTS), jn.Resolution(48, samples=512)),
    "13C MAS": ("13C", jn.MAS(9.4, 10e3), jn.Axis(ppm=(240.0, 40.0), points=POINTS), jn.Resolution(24, 8, samples=512)),
    "17O static": ("17O", jn.Static(18.8), jn.Axis(ppm=(300.0, -100.0), points=POINTS), jn.Resolution(48, samples=512)),
    "17O MAS": ("17O", jn.MAS(18.8, 20e3), jn.Axis(ppm=(260.0, -40.0), points=POINTS), jn.Resolution(24, 8, samples=512)),
}

# Spinning costs thirty times as much: one in twelve.
ORDER = (*(0, 2) * 11, 1, 3)


def drawn(rng, isotope):
    width = (300.0, 800.0) if isotope == "13C" else (800.0, 1600.0)
    return {
        "d": float(rng.uniform(135, 145)),
        "zeta": float(rng.uniform(-70, -50)),
        "k": float(10 ** rng.uniform(2, 8)),
        "lw": float(rng.uniform(*width)),
    }


def noisy(spectrum, snr, rng):
    sigma = float(spectrum.intensity.max()) / snr
    values = np.asarray(spectrum.intensity) + sigma * rng.normal(size=spectrum.intensity.shape)
    return jn.Spectrum(spectrum.ppm, spectrum.hz, values, isotope=spectrum.isotope, field=spectrum.field)


@eqx.filter_jit
def total(problem, y):
    return jnp.sum(problem(y)[0] ** 2)


def rise_at(result, truth):
    """chi2 of the truth over that of the fit, in noise variances: below zero where the search missed a lower optimum."""
    y = jnp.asarray(result.problem.space.inner(truth), result.inner.dtype)
    return (float(total(result.problem, y)) - result.objective) / result.variance


def recovery(write, done, count):
    """Random truth, random noise, a poor start; was the truth inside?"""
    models = {name: (two_sites(*case), case[0]) for name, case in CASES.items()}
    # Traced values, as in the fit: concrete ones would choose other sizes.
    simulated = {name: jax.jit(model) for name, (model, _) in models.items()}
    for index in range(count):
        name = list(CASES)[ORDER[index % len(ORDER)]]
        if ("recovery", index) in done:
            continue
        model, isotope = models[name]
        rng = np.random.default_rng([17, index])
        truth, snr = drawn(rng, isotope), float(10 ** rng.uniform(math.log10(20), math.log10(500)))
        measured = noisy(simulated[name]({key: jnp.asarray(value) for key, value in truth.items()}), snr, rng)
        begin = time.perf_counter()
        result = fitting.fit(
            model,
            START,
            measured,
            constraints=CONSTRAINTS,
            starts=fitting.MultiStart(32, 4, seed=index, ranges=RANGES),
            throw=False,
        )
        seconds = time.perf_counter() - begin
        intervals = {key: result.interval(key) for key in truth}
        write(
            test="recovery",
            index=index,
            case=name,
            snr=snr,
            truth=truth,
            found=dict(zip(result.names, map(float, result.values), strict=True)),
            intervals=intervals,
            bounded=sorted(result.bounds),
            status=result.status.code.value,
            rise_at_truth=rise_at(result, truth),
            optima=len(result.starts),
            seconds=seconds,
        )


SERIES_T = np.array([183.3, 201.6, 224.0, 252.0, 288.0])
SERIES_START = {"log_a": 12.0, "e_a": 0.36, "d": 136.0, "zeta": -50.0, "lw": 700.0}
SERIES_TRUTH = {"log_a": 13.0, "e_a": 0.4, "d": 140.0, "zeta": -60.0, "lw": 500.0}


def series_model(p):
    """Five temperatures, k from 1e2 to 1e6 by one Arrhenius law; each spectrum has a scale of its own."""
    model = two_sites(*CASES["13C static"])
    rates = [fitting.arrhenius(t, p["log_a"], p["e_a"]) for t in SERIES_T]
    return [model({"d": p["d"], "zeta": p["zeta"], "lw": p["lw"], "k": k}) for k in rates]


def series(write, done, count):
    """Scatter over noise draws against the Cramer-Rao bound, which is computed here by itself."""
    truth = {key: jnp.asarray(value) for key, value in SERIES_TRUTH.items()}
    clean = [np.asarray(s.intensity) for s in jax.jit(series_model)(truth)]
    template = jax.jit(series_model)(truth)
    sigma = max(c.max() for c in clean) / 50
    names = sorted(SERIES_TRUTH)

    def flat(x):
        p = {name: x[i] for i, name in enumerate(names)}
        return jnp.concatenate([x[len(names) + i] * s.intensity for i, s in enumerate(series_model(p))])

    at = jnp.asarray([SERIES_TRUTH[name] for name in names] + [1.0] * len(SERIES_T))
    jacobian = np.asarray(jax.jit(jax.jacfwd(flat))(at)) / sigma
    scale = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.inv((jacobian / scale).T @ (jacobian / scale)) / np.outer(scale, scale)
    bound = dict(zip(names, map(float, np.sqrt(np.diag(inverse))[: len(names)]), strict=True))
    todo = [index for index in range(count) if ("series", index) not in done]
    for first in range(0, len(todo), 20):
        batch = todo[first : first + 20]
        fits = []
        for index in batch + [batch[-1]] * (20 - len(batch)):
            rng = np.random.default_rng([23, index])
            fits.append(
                [
                    jn.Spectrum(s.ppm, s.hz, c + sigma * rng.normal(size=c.shape), isotope="13C")
                    for s, c in zip(template, clean, strict=True)
                ]
            )
        begin = time.perf_counter()
        found = fitting.fit_many(
            series_model, SERIES_START, fits, constraints={"lw": fitting.Positive()}, optimiser=fitting.LevenbergMarquardt()
        )
        seconds = (time.perf_counter() - begin) / len(batch)
        for row, index in enumerate(batch):
            write(
                test="series",
                index=index,
                found=dict(zip(found.names, map(float, found.values[row]), strict=True)),
                stderr=dict(zip(found.names, map(float, found.stderr[row]), strict=True)),
                truth=SERIES_TRUTH,
                cramer_rao=bound,
                status=found.codes[row].value,
                seconds=seconds,
            )


def posterior(write, done, count):
    """One series at a time: intervals of E_a and log A from the profile against those of NUTS."""
    truth = {key: jnp.asarray(value) for key, value in SERIES_TRUTH.items()}
    template = jax.jit(series_model)(truth)
    sigma = max(float(s.intensity.max()) for s in template) / 50
    for index in range(count):
        if ("posterior", index) in done:
            continue
        rng = np.random.default_rng([31, index])
        data = [
            jn.Spectrum(s.ppm, s.hz, np.asarray(s.intensity) + sigma * rng.normal(size=POINTS), isotope="13C")
            for s in template
        ]
        begin = time.perf_counter()
        result = fitting.fit(series_model, SERIES_START, data, constraints={"lw": fitting.Positive()}, noise=sigma)
        fitted = time.perf_counter()
        profiles = {key: fitting.profile(result, key).interval for key in ("e_a", "log_a")}
        profiled = time.perf_counter()
        drawn = fitting.sample(result, draws=1000, warmup=150, chains=1, seed=index)
        sampled = time.perf_counter()
        write(
            test="posterior",
            index=index,
            profile=profiles,
            nuts={key: drawn.interval(key) for key in profiles},
            effective=dict(zip(drawn.names, map(float, drawn.effective), strict=True)),
            divergences=drawn.divergences,
            seconds=[fitted - begin, profiled - fitted, sampled - profiled],
        )


def robust(write, done, count):
    """Random starts anywhere within the bounds: every fit ends with finite numbers and a status."""
    name = "13C static"
    model, isotope = two_sites(*CASES[name]), CASES[name][0]
    rng = np.random.default_rng(29)
    simulate = jax.jit(model)
    measured = noisy(simulate({key: jnp.asarray(value) for key, value in drawn(rng, isotope).items()}), 50.0, rng)
    constraints = {
        "k": fitting.LogRate(),
        "lw": fitting.Interval(1.0, 1e5),
        "d": fitting.Interval(-500.0, 700.0),
        "zeta": fitting.Interval(-500.0, 500.0),
    }
    starts = {
        "d": rng.uniform(-500, 700, count),
        "zeta": rng.uniform(-500, 500, count),
        "k": 10 ** rng.uniform(0, 12, count),
        "lw": 10 ** rng.uniform(0, 5, count),
    }
    for first in range(0, count, 50):
        rows = range(first, min(first + 50, count))
        if all(("robust", index) in done for index in rows):
            continue
        begin = time.perf_counter()
        found = fitting.fit_many(
            model,
            {key: value[first : first + 50] for key, value in starts.items()},
            [measured] * len(rows),
            batched_start=True,
            constraints=constraints,
        )
        seconds = (time.perf_counter() - begin) / len(rows)
        for row, index in enumerate(rows):
            errors = found.stderr[row]
            finite = bool(
                np.isfinite(found.values[row]).all() and np.isfinite(found.chi2[row]) and not np.isnan(errors).any()
            )
            write(
                test="robust",
                index=index,
                finite=finite,
                status=found.codes[row].value,
                chi2=float(found.chi2[row]),
                found=dict(zip(found.names, map(float, found.values[row]), strict=True)),
                seconds=seconds,
            )


TESTS = {"recovery": (recovery, 1000), "series": (series, 200), "robust": (robust, 1000), "posterior": (posterior, 1)}


def read(path):
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def shares(hits):
    """How many intervals held the truth, with Clopper and Pearson's 99 % band around the share, and around 95 % of n."""
    from scipy.stats import beta, binom

    n, k = len(hits), sum(hits)
    low, high = int(binom.ppf(0.005, n, 0.95)), int(binom.ppf(0.995, n, 0.95))
    exact = [
        float(beta.ppf(0.005, k, n - k + 1)) if k else 0.0,
        float(beta.ppf(0.995, k + 1, n - k)) if k < n else 1.0,
    ]
    return {"hold": k, "of": n, "share": k / n, "clopper_pearson_99": exact, "inside": low <= k <= high}


def of_recovery(rows):
    """Coverage by case and parameter; searches that missed the truth's optimum apart."""
    rises = np.array([row["rise_at_truth"] for row in rows])
    # Where the search is right, the rise at the truth is chi-squared with as many degrees of freedom as parameters.
    right = rises[rises >= -0.05]
    coverage = {}
    for label in ("all", *CASES):
        some = [row for row in rows if label in ("all", row["case"])]
        hold = lambda row, key: row["intervals"][key][0] <= row["truth"][key] <= row["intervals"][key][1]  # noqa: E731
        parts = {
            "k, interval": [hold(row, "k") for row in some if "k" not in row["bounded"]],
            "k, bound": [hold(row, "k") for row in some if "k" in row["bounded"]],
        }
        parts |= {key: [hold(row, key) for row in some if key not in row["bounded"]] for key in ("d", "zeta", "lw")}
        coverage[label] = {key: shares(hits) for key, hits in parts.items() if hits}
    return {
        "spectra": len(rows),
        "seconds_each": float(np.mean([row["seconds"] for row in rows])),
        "status": counted(rows),
        "ended_above_truth": int((rises < -0.05).sum()),
        "ended_above_truth_by_a_noise_variance": int((rises < -1).sum()),
        "rise_at_truth": {"mean": float(right.mean()), "honest_mean": 4.0, "above_9.49": float(np.mean(right > 9.488))},
        "coverage": coverage,
    }


def of_series(rows):
    """Scatter over the Cramer-Rao bound, bias over the scatter, coverage."""
    out = {"draws": len(rows), "seconds_each": float(np.mean([row["seconds"] for row in rows])), "status": counted(rows)}
    for key in ("e_a", "log_a"):
        values = np.array([row["found"][key] for row in rows])
        bias, scatter, bound = values.mean() - rows[0]["truth"][key], values.std(ddof=1), rows[0]["cramer_rao"][key]
        out[key] = {
            "scatter": float(scatter),
            "over_cramer_rao": float(scatter / bound),
            "bias_over_scatter": float(bias / scatter),
            "within_1.96_stderr": shares(
                [abs(row["found"][key] - row["truth"][key]) < 1.96 * row["stderr"][key] for row in rows]
            ),
        }
    return out


def of_posterior(rows):
    """Widths of NUTS' intervals over those of the profile."""
    out = []
    for row in rows:
        for key, (low, high) in row["profile"].items():
            a, b = row["nuts"][key]
            out.append(
                {
                    "index": row["index"],
                    "parameter": key,
                    "profile": [low, high],
                    "nuts": [a, b],
                    "width_over_profile": (b - a) / (high - low),
                    "effective_draws": row["effective"][key],
                    "divergences": row["divergences"],
                }
            )
    return {"intervals": out}


def of_robust(rows):
    """Whether every fit ended finite and with a status; how far from the best."""
    best = min(row["chi2"] for row in rows if math.isfinite(row["chi2"]))
    return {
        "fits": len(rows),
        "finite": sum(row["finite"] for row in rows),
        "with_status": sum(bool(row["status"]) for row in rows),
        "status": counted(rows),
        "at_best_chi2": sum(row["chi2"] <= 1.001 * best for row in rows),
        "seconds_each": float(np.mean([row["seconds"] for row in rows])),
    }


def counted(rows):
    """How often each status came."""
    counts = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return counts


def summary(rows):
    """What each test asks for, for the tests that have rows."""
    parts = {"recovery": of_recovery, "series": of_series, "posterior": of_posterior, "robust": of_robust}
    found = {name: [row for row in rows if row["test"] == name] for name in parts}
    return {name: part(found[name]) for name, part in parts.items() if found[name]}


def show(found):
    """As text."""

    def line(label, row):
        low, high = row["clopper_pearson_99"]
        inside = "inside" if row["inside"] else "OUTSIDE"
        print(f"  {label:<28} {row['hold']:5d} of {row['of']:5d}  {row['share']:.3f}  99 %: {low:.3f}-{high:.3f}  {inside}")

    for name, part in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in part.items() if not isinstance(value, dict | list)))
        if "status" in part:
            print("  status:", part["status"])
        for label, rows in part.get("coverage", {}).items():
            for key, row in rows.items():
                line(f"{label}: {key}", row)
        for key in ("e_a", "log_a"):
            if key in part:
                row = part[key]
                ratio, bias = row["over_cramer_rao"], row["bias_over_scatter"]
                print(f"  {key}: scatter {row['scatter']:.4g}, {ratio:.3f} x Cramer-Rao; bias {bias:+.3f} scatters")
                line(f"{key} within 1.96 stderr", row["within_1.96_stderr"])
        if "rise_at_truth" in part:
            print("  rise at the truth:", part["rise_at_truth"])
        for row in part.get("intervals", ()):
            ratio, draws = row["width_over_profile"], row["effective_draws"]
            print(f"  {row['parameter']}: width of NUTS over that of the profile {ratio:.3f}, {draws:.0f} effective draws")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TESTS), help="recovery, series, robust, posterior; several with commas")
    parser.add_argument("--count", type=int, help="how many; by default 1000, 200, 1000, 1")
    parser.add_argument("--out", type=Path, default=Path("fit_statistics.jsonl"))
    parser.add_argument("--summary", action="store_true", help="only read the file, and write the summary to --results")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "fit_statistics.json")
    given = parser.parse_args()
    rows = read(given.out)
    if not given.summary:
        warnings.simplefilter("ignore")
        done = {(row["test"], row["index"]) for row in rows}
        with given.out.open("a", encoding="utf-8") as file:

            def write(**row):
                file.write(json.dumps(row) + "\n")
                file.flush()
                rows.append(row)

            for name in given.only.split(","):
                run, count = TESTS[name]
                run(write, done, given.count or count)
    found = summary(rows)
    show(found)
    if given.summary:
        # Tests that the file does not hold keep what another file gave.
        kept = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
        kept |= {name: part | {"summarised_with": environment()} for name, part in found.items()}
        given.results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(f"summary in {given.results}")


if __name__ == "__main__":
    main()
