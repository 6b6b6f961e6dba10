"""`liquidvision models`: what is bundled."""

from dataclasses import dataclass
from pathlib import Path

import typer

from liquidvision.cli.command import Messages, job_command

MAX_LABELS = 20  # labels that are listed


@dataclass(frozen=True, slots=True)
class ModelsOptions:
    """`models` has no options of its own."""


@job_command(ModelsOptions, {})
def models_command(options: ModelsOptions, messages: Messages) -> None:
    """List the bundled models: backbone, memory, labels, size, and the path of the model card."""
    from liquidvision.models.folder import bundled_models

    for name, folder in bundled_models().items():
        print_model(name, folder)


def print_model(name: str, folder: Path) -> None:
    """Print what a model folder holds."""
    from liquidvision.models.folder import CARD_FILE, read_model_config

    config = read_model_config(folder)
    head, backbone, labels = config["head"], config["backbone"], config["labels"]
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    more = f" and {len(labels) - MAX_LABELS} more" if len(labels) > MAX_LABELS else ""
    typer.echo(f"{name}  ({size:.1f} MB)")
    typer.echo(f"  backbone  {backbone['name']}, {backbone['preprocessing']['size'][0]} pixels")
    typer.echo(f"  memory    {head['units']} liquid units ({head.get('cell', head.get('kind'))})")
    typer.echo(f"  labels    {', '.join(labels[:MAX_LABELS])}{more}")
    typer.echo(f"  card      {folder / CARD_FILE}")
