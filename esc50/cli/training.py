"""The commands that train and test networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...kernels import CumelError, UnavailableError
from ..system import CORES
from . import show
from .options import AsJson, Data, Device, Workers

if TYPE_CHECKING:
    import torch

    from ..training import Recipe


Precision = Annotated[str | None, typer.Option(help="fp32 or bf16, instead of the recipe's.")]


def train(
    data: Annotated[Path | None, typer.Option(help="Dataset in ESC-50's layout: audio/ and meta/esc50.csv.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    recipe: Annotated[str, typer.Option(help="baseline, quick or best.")] = "quick",
    fold: Annotated[int, typer.Option(help="The fold held out for testing.")] = 5,
    model: Annotated[str | None, typer.Option(help="Network, instead of the recipe's; list shows all.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips of a batch, instead of the recipe's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate, instead of the recipe's.")] = None,
    precision: Precision = None,
    seed: int = 0,
    features: Annotated[Path | None, typer.Option(help="A store of extracted features; computed when absent.")] = None,
    device: Device = "auto",
    parallel: Annotated[str, typer.Option(help="All-reduce under torchrun: ddp, or ring for our own.")] = "ddp",
    workers: Workers = CORES,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network on every fold but one, and test it on that one."""
    if model == "list":
        return show.models(_models(), as_json)
    if data is None or out is None:
        raise CumelError(f"--{'data' if data is None else 'out'} is missing: --data names the dataset, --out the run")
    from ..datasets import Esc50
    from ..system import choose
    from ..training import local_device, process_group, train as run

    chosen = _recipe(recipe, model=model, epochs=epochs, batch_size=batch_size, lr=lr, precision=precision)
    where = _fitting(chosen, device, choose(local_device(device)))
    dataset = Esc50.read(data)
    show.notes(dataset.notes([fold]))
    known = _stored(features, dataset, chosen)
    with process_group(parallel) as world:
        report = run(
            dataset,
            out,
            chosen,
            fold,
            where,
            seed=seed,
            resume=resume,
            workers=workers,
            training_data=known,
            world=world,
        )
    return show.facts(report, as_json) if world.is_main else None


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
    from ..datasets import Esc50
    from ..reports import plot_confusion, plot_learning, write_report
    from ..system import choose
    from ..training import Checkpoint, evaluate as test

    dataset = Esc50.read(data)
    checkpoint = Checkpoint.load(run)
    show.notes(dataset.notes([checkpoint.fold]))
    known = None if features is None else _stored(features, dataset, checkpoint.recipe.replace(augment="none"))
    report, confusion = test(checkpoint, dataset, choose(device), fold=fold, workers=workers, training_data=known)
    folder = run if run.is_dir() else run.parent
    pictures = {
        "Learning": plot_learning({"": checkpoint.history}, folder / "learning.png"),
        "Confusion matrix": plot_confusion(confusion, dataset.labels, folder / "confusion.png"),
    }
    page = write_report(report, checkpoint.recipe.to_dict(), pictures, folder / "report.html")
    show.evaluation(
        {"run": str(run)} | report | {"report": str(page), "confusion": str(folder / "confusion.png")}, as_json
    )


def cross_validate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the runs, one per seed and fold.")],
    folds: Annotated[str | None, typer.Option(help="Folds, as in 1,2,3; all of the data's when absent.")] = None,
    seeds: Annotated[str, typer.Option(help="Each trains every fold once; together they are the ensemble.")] = "0,1",
    recipe: Annotated[str, typer.Option(help="baseline, quick or best.")] = "quick",
    model: Annotated[str | None, typer.Option(help="Network, instead of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    precision: Precision = None,
    features: Annotated[Path | None, typer.Option(help="A store of extracted features; computed when absent.")] = None,
    device: Device = "auto",
    workers: Workers = CORES,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where a run was cut off.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train once per fold and seed, each time testing on that fold; report every fold, means, spreads, the ensemble."""
    from ..datasets import Esc50
    from ..reports import plot_confusion, plot_learning, write_cross_validation
    from ..system import choose
    from ..training import cross_validate as run, parse_numbers

    chosen = _recipe(recipe, model=model, epochs=epochs, precision=precision)
    where = _fitting(chosen, device, choose(device))
    dataset = Esc50.read(data)
    numbers = dataset.folds if folds is None else parse_numbers("--folds", folds)
    show.notes(dataset.notes(numbers))
    report, confusion = run(
        dataset,
        out,
        chosen,
        numbers,
        parse_numbers("--seeds", seeds),
        where,
        resume=resume,
        workers=workers,
        training_data=_stored(features, dataset, chosen),
    )
    histories = {f"fold {row['fold']}, seed {row['seed']}": row["history"] for row in report["runs"]}
    pictures = {
        "Learning": plot_learning(histories, out / "learning.png"),
        "Confusion matrix": plot_confusion(confusion, dataset.labels, out / "confusion.png"),
    }
    page = write_cross_validation(report, chosen.to_dict(), pictures, out / "report.html")
    show.cross_validation(report | {"report": str(page)}, as_json)


def _recipe(name: str, **changes: Any) -> Recipe:
    from ..training import ALIASES, RECIPES

    name = ALIASES.get(name, name)
    if name not in RECIPES:
        raise CumelError(f"--recipe {name}: must be one of {', '.join(RECIPES)}")
    return RECIPES[name].replace(**{key: value for key, value in changes.items() if value is not None})


def _fitting(recipe: Recipe, asked: str, device: torch.device) -> torch.device:
    """Return `device`, or refuse one on which the recipe takes days and which nobody has named."""
    if recipe.needs_gpu and device.type != "cuda" and asked != "cpu":
        raise UnavailableError(
            f"recipe {recipe.name} is made for a GPU, and torch sees none; --recipe quick is made for a CPU, "
            "--device cpu runs this one there all the same, for days"
        )
    return device


def _stored(folder: Path | None, dataset: Any, recipe: Recipe) -> Any:
    from ..training import from_store

    return None if folder is None else from_store(folder, dataset, recipe)


def _models() -> list[dict[str, Any]]:
    from ..training import MODELS, RECIPES, count_macs, count_parameters

    rows = []
    for name, model in MODELS.items():
        recipe = RECIPES[model.recipe]
        net = recipe.replace(model=name).build(50)
        rows.append(
            {
                "model": name,
                "parameters": count_parameters(net),
                "macs": count_macs(net, recipe.input_shape),
                "input_shape": recipe.input_shape,
                "about": model.about,
            }
        )
    return rows
