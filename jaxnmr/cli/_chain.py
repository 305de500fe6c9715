"""What `jaxnmr run` does once its flags are read."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import jax
import typer

from jaxnmr.cli._say import Failure, one_line, say, warnings_to
from jaxnmr.dynamics import MotionError, SearchError
from jaxnmr.workflow import Inputs, RunConfig, Step, plan, prepared, run as run_chain, seconds_of_a_call

__all__ = ["run"]


def run(path: Path, until: str | None, *, force: bool, dry_run: bool, x64: bool, as_json: bool, began: float) -> None:
    """Read, and go through the stages with a line for each, on stderr and in the run's log.

    Raises:
        Failure: a folder for results that cannot be made.
        ValueError: what the library refuses.
    """
    if x64:
        jax.config.update("jax_enable_x64", True)
    config = RunConfig.read(path)
    if dry_run:
        inputs = prepared(config)
        _tell_plan(config, inputs, seconds_of_a_call(inputs.surface))
        return
    folder = config.output.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"output.folder: {folder} cannot be made ({error.strerror}); name another.") from None
    log, clock = folder / "log.txt", _Clock(began)

    def write(text: str) -> None:
        say(text)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now().isoformat(timespec='seconds')} {text}\n")

    def progress(step: Step) -> None:
        if step.state not in ("begins", "done", "kept"):
            if clock.is_time():
                say(f"{step.name}: {step.state}")
            return
        spent = clock.since(step)
        write(f"{step.name}: {step.state}" + ("" if spent is None else f" after {spent:.1f} s"))

    with warnings_to([]):
        try:
            result = run_chain(config, until=until, force=force, progress=progress)
        except (SearchError, MotionError) as error:
            write(f"stopped: {one_line(error)}")
            raise typer.Exit(3) from None
    for remark in result.remarks:
        write(f"note: {one_line(remark)}")
    write(f"all: done after {time.perf_counter() - began:.1f} s")
    report = folder / "report.json"
    if until in (None, "report"):
        say(f"wrote {folder / 'report.html'}")
        if as_json:
            typer.echo(report.read_text(encoding="utf-8"), nl=False)


class _Clock:
    """Seconds from the begin of a step to its end."""

    def __init__(self, began: float):
        self._began = {"": began}
        self._told = began

    def since(self, step: Step) -> float | None:
        if step.state == "begins":
            self._began[step.name] = time.perf_counter()
        began = self._began.pop(step.name, None) if step.state == "done" else None
        return None if began is None else time.perf_counter() - began

    def is_time(self) -> bool:
        """Whether a step that takes long should say how far it is: every five seconds."""
        now = time.perf_counter()
        if now - self._told < 5.0:
            return False
        self._told = now
        return True


def _tell_plan(config: RunConfig, inputs: Inputs, seconds: float) -> None:
    total = 0.0
    say(f"{len(inputs.structure)} atoms, {len(inputs.events)} events: {'; '.join(event.name for event in inputs.events)}")
    for cost in plan(config, inputs):
        spent = cost.evaluations * seconds
        total += 0.0 if cost.kept else spent
        about = f"about {cost.evaluations} evaluations, {spent:.0f} s" if cost.evaluations else "seconds"
        say(f"{cost.stage}: {about}{' (a result is kept)' if cost.kept else ''}")
    say(
        f"about {total:.0f} s in all and a minute or two of compiling, give or take a factor of three: a guess of "
        f"{1e3 * seconds:.3g} ms an evaluation on two cores, from the sizes of atoms and model"
    )
