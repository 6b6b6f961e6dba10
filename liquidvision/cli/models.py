"""`liquidvision models`: what is bundled."""

from typing import Annotated

import typer

SHOWN = 20  # labels


def models_command(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """List the bundled models: name, backbone, labels, size, and where the card lies."""
    from liquidvision.models.folder import CARD_FILE, bundled_models, read_model_config

    for name, folder in bundled_models().items():
        config = read_model_config(folder)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        head = config["head"]
        typer.echo(f"{name}  ({size:.1f} MB)")
        typer.echo(f"  backbone  {config['backbone']['name']}, {config['backbone']['preprocessing']['size'][0]} pixels")
        typer.echo(f"  memory    {head['units']} liquid units ({head.get('cell', head.get('kind'))})")
        labels = config["labels"]
        rest = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
        typer.echo(f"  labels    {', '.join(labels[:SHOWN])}{rest}")
        typer.echo(f"  card      {folder / CARD_FILE}")
