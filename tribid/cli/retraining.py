"""``tribid retrain``: a platform's model learns every night from the log of its own market, and its bias is told."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tribid.cli.options import ScenarioName, names, one_of
from tribid.cli.prediction import settings_of
from tribid.cli.terminal import console, progress_bar, readable_errors
from tribid.envs.scenario import load_scenario


def retrain(
    scenario: ScenarioName = "shop",
    model: Annotated[str, typer.Option(help="lr, wide_deep, deepfm, din, dien or cross_media.")] = "din",
    days: Annotated[int, typer.Option(help="Days to play; from the second on the model predicts.")] = 6,
    window: Annotated[int, typer.Option(help="Days of the log that a model learns from.")] = 3,
    explore: Annotated[float, typer.Option(help="Share of the requests in which chance decides what is shown.")] = 0.1,
    out: Annotated[Path, typer.Option(help="Folder of the run; started again, it goes on there.")] = Path(
        "runs/retrain"
    ),
    seed: Annotated[int, typer.Option(help="Decides who comes and what they do (below 1000000: for training).")] = 500_001,
    bidders: Annotated[str, typer.Option(help="Who bids, in turn, comma-separated.")] = "truthful",
    epochs: Annotated[int, typer.Option(help="Times that every impression is seen in a night.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Adam's.")] = 3e-3,
    l2: Annotated[float, typer.Option("--l2", help="Penalty of touched embedding rows.")] = 1e-5,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the model, name=value (JSON), such as --set width=16.")
    ] = None,
) -> None:  # fmt: skip
    """Each day the market plays with the model of the nights before; each night one learns anew from the last days' log.

    Writes days.csv, days.svg and retraining.json: how far predictions are off the truth, day by day, among what was shown
    and among all candidates. Example: `tribid retrain --model din --days 6 --explore 0.1 --out runs/retrain`.
    """
    with readable_errors():
        from pydantic import ValidationError

        from tribid.evaluation.prediction.plan import LoopPart, ModelPart
        from tribid.evaluation.prediction.retraining import PICTURE, TABLE
        from tribid.evaluation.prediction.retraining import retrain as played
        from tribid.models.fit.rates import CLICK_MODELS

        training = {"epochs": epochs, "learning_rate": learning_rate, "l2": l2}
        part = ModelPart(model=one_of(model, *CLICK_MODELS), settings=settings_of(settings), training=training)
        try:
            plan = LoopPart(days=days, window=window, model=part)
        except ValidationError as error:
            bad = error.errors()[0]
            raise ValueError(f"{bad['loc'][0]} is {bad['input']!r}: {bad['msg']}") from None
        with progress_bar("days played") as tell:
            table = played(load_scenario(scenario), plan, explore, out, seed, bidders=names(bidders), progress=tell)
        shown = Table("day", "bias shown", "bias all", "PCOC shown", "AUC all", "truth's AUC", "CTR shown", "ads shown")
        for row in table.iter_rows(named=True):
            shown.add_row(
                str(row["day"]), f"{row['bias_shown']:.3f}", f"{row['bias_all']:.3f}", f"{row['pcoc_shown']:.3f}",
                f"{row['auc_all']:.4f}", f"{row['truth_auc_all']:.4f}", f"{row['ctr']:.4f}", f"{row['ads']:.0f}",
            )  # fmt: skip
        console.print(shown)
        console.print(f"wrote [bold]{out / TABLE}[/] and [bold]{out / PICTURE}[/]", soft_wrap=True)
