"""The commands that train and test networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...kernels import CumelError
from ..system import CORES
from . import show
from .options import DATA_HELP, AsJson, Data, Device, Root, Workers

if TYPE_CHECKING:
    from ..training import Recipe


HeldOut = Annotated[
    str, typer.Option(help="The fold held out for testing; auto: the last, or the split test; none: train on all.")
]
Seconds = Annotated[str, typer.Option(help="Length that clips are cut or mirrored to; auto chooses it from the data.")]
Group = Annotated[
    str | None, typer.Option(help="Column that keeps clips together in the split, such as a speaker; or folder.")
]
Seed = Annotated[int, typer.Option(help="Of the training, and of the split of data without folds.")]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16, instead of the recipe's.")]
LEARNING = "Learning"
Balance = Annotated[
    str | None,
    typer.Option(help="For classes of unequal size: weights in the loss, or sampling.", rich_help_panel=LEARNING),
]
Loss = Annotated[
    str | None,
    typer.Option(
        help="cross-entropy, or bce for any number of labels per clip, which such data gets by itself.",
        rich_help_panel=LEARNING,
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        help="Stop after so many epochs without a lower loss on training clips set aside, and keep the best epoch.",
        rich_help_panel=LEARNING,
    ),
]
Validation = Annotated[
    float | None,
    typer.Option(
        help="Share of the training clips set aside for --patience, where the data has no split valid; 0.1 if absent.",
        rich_help_panel=LEARNING,
    ),
]


def train(
    ctx: typer.Context,
    data: Annotated[Path | None, typer.Option(help=DATA_HELP)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    recipe: Annotated[str, typer.Option(help="baseline, quick or best.")] = "quick",
    fold: HeldOut = "auto",
    model: Annotated[str | None, typer.Option(help="Network, instead of the recipe's; list shows all.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips of a batch, instead of the recipe's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate, instead of the recipe's.")] = None,
    precision: Precision = None,
    seconds: Seconds = "auto",
    root: Root = None,
    group: Group = None,
    seed: Seed = 0,
    balance: Balance = None,
    loss: Loss = None,
    patience: Patience = None,
    validation: Validation = None,
    init: Annotated[
        Path | None,
        typer.Option(help="A run to start from; its classes may be others.", rich_help_panel=LEARNING),
    ] = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Train the last layer alone, from --init.", rich_help_panel=LEARNING)
    ] = False,
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
    from ..system import keep_made, made_now
    from ..training import process_group, train as run

    changes = {"model": model, "epochs": epochs, "batch_size": batch_size, "lr": lr, "precision": precision}
    changes |= {"balance": balance, "loss": loss, "patience": patience, "validation": validation, "freeze": freeze}
    chosen = _recipe(recipe, **changes)
    with process_group(parallel) as world:
        report = run(
            data,
            out,
            chosen,
            fold,
            device,
            root=root,
            group=group,
            seconds=seconds,
            features=features,
            seed=seed,
            resume=resume,
            workers=workers,
            world=world,
            init=init,
        )
        if world.is_main:
            keep_made(out, made_now(ctx.obj))
    return show.trained(report, as_json) if world.is_main else None


def evaluate(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    data: Data,
    fold: Annotated[str | None, typer.Option(help="The fold that the run held out; another is refused.")] = None,
    root: Root = None,
    group: Group = None,
    features: Annotated[Path | None, typer.Option(help="A store of extracted features; computed when absent.")] = None,
    device: Device = "auto",
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """Test a run: accuracy, a table per class, the confusion matrix and an HTML report."""
    from ..datasets import Dataset
    from ..reports import heard, plot_confusion, plot_learning, write_report
    from ..system import choose
    from ..training import Checkpoint, evaluate as test

    checkpoint, folder = Checkpoint.load(run), run if run.is_dir() else run.parent
    dataset = Dataset.read(data, root=root, group=group, seed=checkpoint.seed, kept=folder)
    show.notes(dataset.notes([checkpoint.fold]))
    known = None if features is None else _stored(features, dataset, checkpoint.recipe.replace(augment="none"))
    report, confusion = test(
        checkpoint, dataset, choose(device), fold=_number(fold), workers=workers, training_data=known
    )
    pictures = {
        "Learning": plot_learning({"": checkpoint.history}, folder / "learning.png"),
    }
    if confusion is not None:
        pictures["Confusion matrix"] = plot_confusion(confusion, dataset.labels, folder / "confusion.png")
    recipe = checkpoint.recipe
    page = write_report(
        report,
        recipe.to_dict(),
        pictures,
        folder / "report.html",
        facts=_facts(folder, ctx.obj),
        misheard=heard(report["misheard"], recipe.features, recipe.n_samples, workers),
    )
    drawn = None if confusion is None else str(folder / "confusion.png")
    show.evaluation({"run": str(run)} | report | {"report": str(page), "confusion": drawn}, as_json)


def cross_validate(
    ctx: typer.Context,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the runs, one per seed and fold.")],
    folds: Annotated[str | None, typer.Option(help="Folds, as in 1,2,3; all of the data's when absent.")] = None,
    seeds: Annotated[str, typer.Option(help="Each trains every fold once; together they are the ensemble.")] = "0,1",
    recipe: Annotated[str, typer.Option(help="baseline, quick or best.")] = "quick",
    model: Annotated[str | None, typer.Option(help="Network, instead of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    precision: Precision = None,
    seconds: Seconds = "auto",
    root: Root = None,
    group: Group = None,
    balance: Balance = None,
    loss: Loss = None,
    patience: Patience = None,
    validation: Validation = None,
    features: Annotated[Path | None, typer.Option(help="A store of extracted features; computed when absent.")] = None,
    device: Device = "auto",
    workers: Workers = CORES,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where a run was cut off.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train once per fold and seed, each time testing on that fold; report every fold, means, spreads, the ensemble."""
    from ..reports import plot_confusion, plot_learning, write_cross_validation
    from ..training import Start, cross_validate as run, fitting, parse_numbers

    learning = {"balance": balance, "loss": loss, "patience": patience, "validation": validation}
    chosen = _recipe(recipe, model=model, epochs=epochs, precision=precision, **learning)
    where = fitting(chosen, device)
    start = Start.of(
        data, chosen, root=root, group=group, seconds=seconds, kept=out if resume else None, workers=workers
    )
    dataset, chosen = start.data, start.recipe
    numbers = dataset.folds if folds is None else parse_numbers("--folds", folds)
    start.say(dataset.notes(numbers))
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
    for folder in (out, *(Path(row["checkpoint"]).parent for row in report["runs"])):
        start.keep(folder)
    histories = {f"fold {row['fold']}, seed {row['seed']}": row["history"] for row in report["runs"]}
    pictures = {
        "Learning": plot_learning(histories, out / "learning.png"),
    }
    if confusion is not None:
        pictures["Confusion matrix"] = plot_confusion(confusion, dataset.labels, out / "confusion.png")
    page = write_cross_validation(report, chosen.to_dict(), pictures, out / "report.html", facts=_facts(out, ctx.obj))
    show.cross_validation(report | {"report": str(page)}, as_json)


def _facts(run: Path, arguments: list[str] | None) -> list[tuple[str, str]]:
    """Return what a page says of a run's data, of its training, and of itself."""
    from ..datasets import Description
    from ..system import made, made_now, said

    description, trained = Description.load(run), made(run)
    lines = ["not described: an earlier version's run"] if description is None else description.lines()
    facts = [("data", lines[0]), *((what, text) for what, _, text in (line.partition(": ") for line in lines[1:]))]
    facts += [] if trained is None else [("trained", said(trained))]
    return [*facts, ("this page", said(made_now(arguments)))]


def _recipe(name: str, **changes: Any) -> Recipe:
    from ..training import named

    return named(name).replace(**{key: value for key, value in changes.items() if value is not None})


def _number(fold: str | None) -> int | str | None:
    return int(fold) if fold is not None and fold.isdecimal() else fold


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
