"""The commands that train and test networks; `cli` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...kernels.errors import CumelError
from ..cores import CORES
from . import show
from .options import AsJson, Data, Device, Workers

if TYPE_CHECKING:
    from ..recipes import Recipe


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    recipe: Annotated[str, typer.Option(help="document, quick or best.")] = "quick",
    fold: Annotated[int, typer.Option(help="The fold held out for testing.")] = 5,
    model: Annotated[str | None, typer.Option(help="esc50 or compact, instead of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    seed: int = 0,
    features: Annotated[Path | None, typer.Option(help="A store of extracted features; computed when absent.")] = None,
    device: Device = "auto",
    workers: Workers = CORES,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network on every fold but one, and test it on that one."""
    from ..dataset import Esc50
    from ..device import choose
    from ..train import train as run

    chosen = _recipe(recipe, model=model, epochs=epochs, batch_size=batch_size, lr=lr)
    dataset = Esc50.read(data)
    known = _stored(features, dataset, chosen)
    report = run(dataset, out, chosen, fold, choose(device), seed=seed, resume=resume, workers=workers, features=known)
    show.facts(report, as_json)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    data: Data,
    fold: Annotated[int | None, typer.Option(help="The fold that the run held out; another is refused.")] = None,
    features: Annotated[Path | None, typer.Option(help="A store of extracted features; computed when absent.")] = None,
    device: Device = "auto",
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """Test a run: accuracy, a table per class, the confusion matrix and an HTML report."""
    from ..checkpoint import Checkpoint
    from ..dataset import Esc50
    from ..device import choose
    from ..evaluate import evaluate as test
    from ..plots import plot_confusion, plot_learning
    from ..report import write_report

    dataset = Esc50.read(data)
    checkpoint = Checkpoint.load(run)
    known = _stored(features, dataset, checkpoint.recipe)
    report, confusion = test(checkpoint, dataset, choose(device), fold=fold, workers=workers, features=known)
    folder = run if run.is_dir() else run.parent
    pictures = {
        "Learning": plot_learning(checkpoint.history, folder / "learning.png"),
        "Confusion matrix": plot_confusion(confusion, dataset.labels, folder / "confusion.png"),
    }
    page = write_report(report, checkpoint.recipe.to_dict(), pictures, folder / "report.html")
    show.evaluation(
        {"run": str(run)} | report | {"report": str(page), "confusion": str(folder / "confusion.png")}, as_json
    )


def cross_validate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the runs, one per fold.")],
    folds: Annotated[str | None, typer.Option(help="As in 1,2,3; all that the data has when absent.")] = None,
    recipe: Annotated[str, typer.Option(help="document, quick or best.")] = "quick",
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    seed: int = 0,
    device: Device = "auto",
    workers: Workers = CORES,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where a run was cut off.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train once per fold, each time testing on that fold; report every fold, the mean and the spread."""
    from ..crossval import cross_validate as run
    from ..crossval import parse_folds
    from ..dataset import Esc50
    from ..device import choose

    dataset = Esc50.read(data)
    numbers = dataset.folds if folds is None else parse_folds(folds)
    chosen = _recipe(recipe, epochs=epochs)
    report = run(dataset, out, chosen, numbers, choose(device), seed=seed, resume=resume, workers=workers)
    show.cross_validation(report, as_json)


def _recipe(name: str, **changes: Any) -> Recipe:
    from ..recipes import RECIPES

    if name not in RECIPES:
        raise CumelError(f"--recipe {name}: must be one of {', '.join(RECIPES)}")
    return RECIPES[name].replace(**{key: value for key, value in changes.items() if value is not None})


def _stored(folder: Path | None, dataset: Any, recipe: Recipe) -> Any:
    from ..dataset import stored_features

    return None if folder is None else stored_features(folder, dataset, recipe)
