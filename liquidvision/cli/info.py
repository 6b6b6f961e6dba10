"""`liquidvision info`: what is in this file."""

import json
import sys
from dataclasses import asdict
from fractions import Fraction
from typing import Annotated

import typer

from liquidvision.errors import SourceError
from liquidvision.workflows import io_paths


def info_command(
    source: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, lists, URLs or cameras.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a source.")] = False,
    reader: Annotated[str, typer.Option(help="auto, av or opencv.")] = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Say what is in a video: size, rate, length, codecs, how it is turned."""
    from liquidvision.video.read.open import open_video

    names, failed = io_paths.expand_sources(source), 0
    for name in names:
        try:
            with open_video(name, reader=reader) as opened:
                about = asdict(opened.info)
        except SourceError as error:
            if debug or len(names) == 1:
                raise
            failed += 1
            print(f"liquidvision: {error}", file=sys.stderr)
            continue
        if as_json:
            typer.echo(
                json.dumps(about, default=lambda value: float(value) if isinstance(value, Fraction) else str(value))
            )
            continue
        rate = f"{float(about['rate']):.3f} frames/s on average" if about["rate"] else "rate unknown"
        length = f"{about['duration']:.3f} s" if about["duration"] is not None else "length unknown"
        frames = f", {about['num_frames_from_header']} frames by its header" if about["num_frames_from_header"] else ""
        turned = f", turned by {about['rotation']}° to be upright" if about["rotation"] else ""
        aspect = f", pixel aspect {about['pixel_aspect']}" if about["pixel_aspect"] != 1 else ""
        typer.echo(f"{about['name']}: {length}{frames}")
        typer.echo(
            f"  video  {about['codec']} {about['pixel_format']} {about['width']}x{about['height']}{aspect}{turned}"
        )
        typer.echo(f"         {rate}{', live' if about['live'] else ''}")
        typer.echo(f"  sound  {about['audio_codec'] or ('yes' if about['has_audio'] else 'none')}")
        if about["container"]:
            typer.echo(f"  file   {about['container']}")
    raise typer.Exit(0 if not failed else 1 if failed == len(names) else 3)
