"""Make a folder that can be served from a training run: ``tribid export``."""

from pathlib import Path
from typing import Annotated

import typer

from tribid.cli.terminal import console, readable_errors


def export(
    run: Annotated[Path, typer.Argument(help="A run of tribid train (runs/ppo), or a folder of policy files.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there yet, or be empty.")],
    seed: Annotated[int | None, typer.Option(help="Which training seed, where a run has several.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX file beside each policy, too.")] = False,
) -> None:
    """Write a run's policies as a folder for the ranker: safetensors, cards, a lineup, and fresh probes.

    Example: `tribid export runs/ppo --seed 0 --out served/ppo --onnx`. ONNX files are for servers of others, and hold
    everything from the raw observation to the bid multiplier; the ranker serves the safetensors files alone.
    """
    with readable_errors():
        from tribid.agents.export.folder import export_policies

        done = export_policies(run, out, seed=seed, onnx=onnx)
        for name, card in done.cards.items():
            driven = sum(driver == name for driver in done.mapping.values())
            stopped = ", stopped early" if card.training.interrupted else ""
            console.print(
                f"{name}: {card.network.kind} by {card.training.algorithm}, {card.training.steps} steps{stopped}, "
                f"drives {driven} advertisers of {card.scenario.name} ({card.scenario.hash})",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
            if name in done.parity:
                found = done.parity[name]
                console.print(
                    f"  ONNX: actions differ by at most {found.action:.1e} over {found.answers} answers "
                    f"({found.apart} by more than 1e-4)",
                    markup=False, highlight=False, soft_wrap=True,
                )  # fmt: skip
        if onnx and not done.parity:
            console.print("ONNX files are written; install onnxruntime to have their answers compared")
        console.print(f"policies are in {done.folder}", markup=False, highlight=False, soft_wrap=True)
