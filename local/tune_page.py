"""What a search has found, for the terminal and as a page: one file, nothing fetched from anywhere."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from local.options import Options
from local.search import Trial
from local.style import STYLE
from ogiri.captioning.training.ranges import RANGES, Choice, Range

CHART, PLOT = (560, 200), (260, 120)  # pixels of the curves, and of what one hyperparameter did
OWN_STYLE = """
polyline { stroke: var(--edge) } polyline.best { stroke: var(--mark) }
circle { fill: var(--second) } circle.best { fill: var(--mark) } circle.given-up, circle.failed { fill: var(--soft) }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem } .plots figure { margin: 0; width: 17rem }
.plots svg { border-left: 1px solid var(--edge); border-bottom: 1px solid var(--edge) }
"""


@dataclass(frozen=True)
class Page:
    """All that is shown.

    Attributes:
        metric: the objective.
        maximize: more of it is better.
        trials: all that have ended.
        best: one of them.
        parameters: what differs from trial to trial.
        command: trains with the best hyperparameters.
        hyperparameters: the best ones as JSON.
    """

    metric: str
    maximize: bool
    trials: Sequence[Trial]
    best: Trial
    parameters: Sequence[str]
    command: str
    hyperparameters: str


def command(demo: Options, hyperparameters: Mapping[str, str]) -> str:
    """What trains with these hyperparameters on the same data."""
    places: dict[str, object] = {"CSV": demo.csv, "IMAGES": demo.images, "PRETRAINED": demo.pretrained}
    places["ENCODER"] = demo.pretrained and hyperparameters["encoder"]
    pairs = " ".join(f"{name}={value}" for name, value in hyperparameters.items())
    given = [f"{name}={path}" for name, path in places.items() if path]
    return shlex.join(["make", "demo", *given, f"HYPERPARAMETERS={pairs}"])


def table(page: Page) -> str:
    """The trials in columns, best first."""
    rows = [_head(page), *(_cells(page, trial) for trial in _ranked(page))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def render(page: Page) -> str:
    """The page as HTML."""
    title = f"Tuning by {page.metric}"
    counts = ", ".join(f"{sum(t.state == state for t in page.trials)} {state}" for state in _states(page.trials))
    head = "".join(f"<th>{escape(name)}</th>" for name in _head(page))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(page, trial))}</tr>" for trial in _ranked(page)
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{STYLE}{OWN_STYLE}</style></head><body>",
        f"<header><h1>{escape(title)}</h1><p>{len(page.trials)} trials: {counts}. The best is number "
        f"{page.best.number} with {page.best.best:.4g}; {'more' if page.maximize else 'less'} is better.</p></header>",
        f'<main><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>',
        f"<section><h2>{escape(page.metric)} by epoch</h2>{_curves(page)}</section>",
        f"<section><h2>What each hyperparameter did</h2>{_plots(page)}</section>",
        f"<section><h2>The best ones</h2><p>Train with them</p><pre>{escape(page.command)}</pre>"
        f"<p>As hyperparameters of a training job</p><pre>{escape(page.hyperparameters)}</pre></section>",
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _ranked(page: Page) -> list[Trial]:
    """Best first; given up after done, failed last."""
    sign = -1 if page.maximize else 1
    states = ("done", "given up", "failed")
    return sorted(page.trials, key=lambda trial: (states.index(trial.state), sign * (trial.best or 0.0)))


def _states(trials: Sequence[Trial]) -> list[str]:
    return [state for state in ("done", "given up", "failed") if any(trial.state == state for trial in trials)]


def _head(page: Page) -> list[str]:
    return ["trial", "outcome", page.metric, "epochs", "seconds", *page.parameters]


def _cells(page: Page, trial: Trial) -> list[str]:
    best = "–" if trial.best is None else f"{trial.best:.4g}"
    own = [trial.values.get(name, "–") for name in page.parameters]
    return [str(trial.number), trial.state, best, str(len(trial.curve)), f"{trial.seconds:.0f}", *own]


def _curves(page: Page) -> str:
    """A line for each trial, the best one's on top."""
    width, height = CHART
    last = max(len(trial.curve) for trial in page.trials)
    every = [value for trial in page.trials for value in trial.curve]
    place = _scale(every, height)
    lines = [
        f'<polyline class="{_kind(page, trial)}" points="'
        + " ".join(f"{width * n / max(1, last - 1):.1f},{place(value):.1f}" for n, value in enumerate(trial.curve))
        + '"/>'
        for trial in sorted(page.trials, key=lambda trial: trial.number == page.best.number)
        if len(trial.curve) > 1
    ]
    return (
        f'<svg viewBox="-4 -4 {width + 8} {height + 8}" role="img" aria-label="by epoch">{"".join(lines)}</svg>'
        f"<p>From {min(every):.4g} at the bottom to {max(every):.4g}, over {last} epochs; the best trial in colour.</p>"
    )


def _plots(page: Page) -> str:
    """For each hyperparameter its values from left to right, and how good the trials were from bottom to top."""
    width, height = PLOT
    known = [trial for trial in page.trials if trial.best is not None]
    up = _scale([trial.best for trial in known if trial.best is not None], height)
    figures = []
    for name in page.parameters:
        allowed = RANGES[name]
        numbers = [_number(trial.values[name], allowed) for trial in known]
        right = _scale(numbers, width)
        dots = "".join(
            f'<circle class="{_kind(page, trial)}" r="4" cx="{width - right(number):.1f}" cy="{up(trial.best):.1f}">'
            f"<title>{escape(name)} {escape(trial.values[name])}: {trial.best:.4g}</title></circle>"
            for number, trial in zip(numbers, known, strict=True)
            if trial.best is not None
        )
        figures.append(
            f'<figure><svg viewBox="-6 -6 {width + 12} {height + 12}" role="img" aria-label="{escape(name)}">{dots}'
            f"</svg><figcaption>{escape(name)} <small>{escape(allowed.describe())}</small></figcaption></figure>"
        )
    return f'<div class="plots">{"".join(figures)}</div>'


def _kind(page: Page, trial: Trial) -> str:
    return "best" if trial.number == page.best.number else trial.state.replace(" ", "-")


def _number(value: str, allowed: Range | Choice) -> float:
    """Where a value stands on its axis."""
    number = float(value)
    if isinstance(allowed, Choice):
        return allowed.values.index(number)
    return math.log(number) if allowed.logarithmic else number


def _scale(values: Sequence[float], length: int) -> Callable[[float], float]:
    """Value → pixels from the far end, so that the largest of `values` is at 0."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return lambda value: length * (high - value) / ((high - low) or 1.0)
