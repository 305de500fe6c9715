"""What `jaxnmr run` does once its flags are read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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

    Whatever stops a stage leaves a line in the log, with the stage's name.

    Raises:
        Failure: a folder for results that cannot be made.
        ValueError: what the library refuses.
    """
    if x64:
        jax.config.update("jax_enable_x64", True)
    config = RunConfig.read(path)
    if dry_run:
        told: list[str] = []
        with warnings_to(told):
            inputs = prepared(config)
        for remark in map(one_line, inputs.remarks):
            if remark not in told:
                say(f"note: {remark}")
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
        keep(text)

    def keep(text: str) -> None:
        # A log that cannot be written, as on a full disk, must not hide what is wrong.
        with suppress(OSError), log.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now().isoformat(timespec='seconds')} {text}\n")

    heard: list[str] = []
    with warnings_to(heard), _live() as show:

        def progress(step: Step) -> None:
            clock.stage = step.name
            shown = show(step)
            if step.state not in ("begins", "done", "kept"):
                if not shown and clock.is_time():
                    say(f"{step.name}: {step.state}")
                return
            spent = clock.since(step)
            write(f"{step.name}: {step.state}" + ("" if spent is None else f" after {spent:.1f} s"))

        try:
            result = run_chain(config, until=until, force=force, progress=progress)
        except (SearchError, MotionError, ValueError) as error:
            # Input was read and checked before the first stage: what a stage refuses, it found out itself.
            if isinstance(error, ValueError) and not clock.stage:
                raise
            write(f"stopped in {clock.stage}: {one_line(error)}")
            raise typer.Exit(3) from None
        except OSError as error:
            # Said on stderr by whoever called.
            if clock.stage:
                keep(f"stopped in {clock.stage}: {one_line(error.strerror or error)}")
            raise
        finally:
            for text in heard:
                keep(f"warning: {text}")
    for remark in map(one_line, result.remarks):
        if remark not in heard:
            write(f"note: {remark}")
    write(f"all: done after {time.perf_counter() - began:.1f} s")
    report = folder / "report.json"
    if until in (None, "report"):
        say(f"wrote {folder / 'report.html'}")
        if as_json:
            typer.echo(report.read_text(encoding="utf-8"), nl=False)


@contextmanager
def _live() -> Iterator[Callable[[Step], bool]]:
    """On a terminal a line with what is being done and for how long; elsewhere nothing, and it says so."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)

        def show(step: Step) -> bool:
            if step.state == "begins":
                bar.reset(task, description=step.name, total=None)
            else:
                bar.update(task, description=step.name if step.state in ("done", "kept") else f"{step.name}: {step.state}")
            return console.is_terminal

        yield show


class _Clock:
    """Seconds from the begin of a step to its end, and which step it is.

    Attributes:
        stage: the last step that began or was kept; empty before the first.
    """

    def __init__(self, began: float):
        self._began = {"": began}
        self._told = began
        self.stage = ""

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
