"""`maskwatch`: gathers the commands, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from maskwatch.cli.batch import batch
from maskwatch.cli.command_line import CommandLine, is_verbose
from maskwatch.cli.data import app as data
from maskwatch.cli.evaluate import evaluate
from maskwatch.cli.export import export
from maskwatch.cli.image import image
from maskwatch.cli.live import live
from maskwatch.cli.serve import serve
from maskwatch.cli.terminal import complain, let_go_of_output, speak_to_any_terminal, tell_places
from maskwatch.cli.train import train
from maskwatch.cli.train_detector import train_detector
from maskwatch.cli.video import video
from maskwatch.cli.watch import doctor, watch
from maskwatch.errors import MaskwatchError, OptionError
from maskwatch.picture_header import LARGEST_PIXELS

app = typer.Typer(
    name="maskwatch",
    cls=CommandLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(image)
app.command()(video)
app.command()(live)
app.command()(batch)
app.command()(watch)
app.command()(doctor)
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
    config: Annotated[
        Optional[Path],
        typer.Option(
            "--config",
            metavar="FILE",
            help="Options as TOML; ./maskwatch.toml, where there is one, by default.",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Say where options come from and errors were raised; also after the command.",
        ),
    ] = False,
) -> None:
    """Tell for every face in pictures whether a mask is worn, worn wrong, or not worn.

    Options also come from maskwatch.toml and from the environment: MASKWATCH_IMAGE_MODEL=small is --model of
    image. See docs/configuration.md.

    Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output.
    """


def main() -> None:
    """Entry point: run the command; an error of ours is one sentence on standard error."""
    # a second line of defence behind `picture_header`; OpenCV reads it when it is first imported
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(LARGEST_PIXELS))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it has to say comes as our one sentence
    speak_to_any_terminal()
    # libraries' logs would be a second voice, with tracebacks: what matters comes as an error or an alarm
    logging.getLogger().addHandler(logging.NullHandler())
    code = _run()
    let_go_of_output()
    sys.exit(code)


def _run() -> int | str | None:
    """Run the command; its exit code."""
    try:
        app()
        sys.stdout.flush()
    except SystemExit as end:
        return end.code
    except MaskwatchError as error:
        complain(str(error))
        if is_verbose(sys.argv[1:]):
            tell_places(error)
        return 2 if isinstance(error, OptionError) else 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        return 141  # the reader of our output went away: nothing left to say
    except MemoryError:
        complain("not enough memory for this; use smaller pictures, --threads 1 or a smaller --max-side")
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        complain(f"output cannot be written ({error.strerror}); free space or choose another place")
        return 1
    return 0
