"""`maskwatch`: gathers the commands, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from maskwatch.cli.data import app as data
from maskwatch.cli.evaluate import evaluate
from maskwatch.cli.export import export
from maskwatch.cli.image import image
from maskwatch.cli.live import live
from maskwatch.cli.serve import serve
from maskwatch.cli.train import train
from maskwatch.cli.train_detector import train_detector
from maskwatch.cli.video import video
from maskwatch.errors import MaskwatchError, OptionError

app = typer.Typer(
    name="maskwatch",
    help="Tell for every face in pictures whether a mask is worn, worn wrong, or not worn.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(image)
app.command()(video)
app.command()(live)
app.command()(serve)
app.command()(evaluate)
app.command()(train)
app.command()(export)
app.add_typer(data)
app.command("train-detector")(train_detector)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"maskwatch {version('maskwatch')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""


def main() -> None:
    """Entry point: run the command; an error of ours is one sentence on standard error."""
    try:
        app()
    except MaskwatchError as error:
        print(f"maskwatch: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except KeyboardInterrupt:
        print("maskwatch: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nothing left to say
        sys.exit(141)
