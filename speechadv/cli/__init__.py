"""The command line. Commands are files in this folder, imported when they are called: `speechadv --help` loads none of them."""
import importlib
import os
import sys

import click

from ..errors import SpeechAdvError, shown
from ..memory import keep_freed, out_of_memory

COMMANDS = {
    "demo": "Attack and defend bundled clips; tables and a page to listen to.",
    "attack": "Make your own WAV files sound like another word to a network.",
    "listen": "Say which words a network hears in a long recording, and when.",
    "defend": "Send WAV files through MP3, band-pass or other defenses.",
    "classify": "Say what a network hears in WAV files.",
    "detect": "Say how suspicious WAV files look to a detector.",
    "evaluate": "Run a grid of models, defenses, attacks and budgets.",
    "certify": "Prove how far each clip may move, by randomised smoothing.",
    "merge": "Put the parts of a run together that several machines made.",
    "export-rows": "Write a run's rows as one Parquet or CSV file.",
    "report": "Make the tables and the page of a run again.",
    "abx-summary": "Pool the blind listening tests of several people.",
    "compare": "Compare two models, defenses or attacks clip by clip.",
    "plot": "Draw one figure from a run's rows.",
    "write-up": "Write a report or slides from runs, as HTML and PDF.",
    "bundle": "Pack a run and the code that made it into one zip.",
    "verify": "Judge a run anew from its sound and weights, and compare.",
    "train": "Train a network, standard or adversarially.",
    "export": "Write a network as an ONNX (float or int8) or torch.export file.",
    "models": "List and describe networks.",
    "data": "Download and check Speech Commands.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; `--help` knows their one line from the table above."""

    def list_commands(self, context):
        return list(COMMANDS)

    def get_command(self, context, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module(f".{name.replace('-', '_')}", __package__).command

    def format_commands(self, context, formatter):
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, context, arguments):
        from ..registry import closest
        if arguments[0] not in COMMANDS:
            raise click.UsageError(f"no such command '{shown(arguments[0])}'{closest(arguments[0], COMMANDS)}", context)
        return super().resolve_command(context, arguments)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="speechadv")
def group():
    """Attack, defend and measure keyword-spotting networks on real speech, and hear the result.

    \b
    Begin with:
      speechadv demo --out runs/demo
      speechadv attack my.wav --target stop --budget snr:30 --out out

    \b
    Exit status:
      0    done
      1    a check found faults or differences (data check, verify)
      2    something cannot be used; one line says what
      130  stopped with Ctrl-C

    \b
    SPEECHADV_DATA names data folders, NO_COLOR takes colours away.
    Completion of words in your shell: see docs/command-line.md.
    """


def main(arguments=None) -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no letter for what a file is called is no reason to stop
    keep_freed()
    sys.exit(run(arguments))


def run(arguments=None) -> int:
    """Run a command line and return its exit status: errors of ours are one line on standard error and 2, Ctrl-C is 130."""
    try:
        status = group.main(arguments, prog_name="speechadv", standalone_mode=False)
    except SpeechAdvError as problem:
        return complain(str(problem))
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (click.Abort, KeyboardInterrupt):
        return complain("stopped; what is finished is kept, and the same command again goes on", 130)
    except getattr(click.exceptions, "NoArgsIsHelpError", ()) as asked:  # of click 8.2 and later: nothing but the group was named
        click.echo(asked.format_message())
        return 2
    except click.UsageError as problem:
        where = f" (see `{problem.ctx.command_path} --help`)" if problem.ctx else ""
        return complain(problem.format_message().rstrip(".") + where)
    except click.ClickException as problem:
        return complain(problem.format_message())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more: no second error when Python flushes
        return 0
    except (MemoryError, RuntimeError) as problem:
        if not out_of_memory(problem):
            raise
        return complain("out of memory; what is finished is kept")
    except OSError as problem:
        return complain((problem.strerror or type(problem).__name__) + (f": '{shown(problem.filename)}'" if problem.filename else ""))
    return status if isinstance(status, int) else 0


def complain(message: str, status: int = 2) -> int:
    """One line on standard error; returns the exit status."""
    click.echo("speechadv: " + shown(" ".join(line.strip() for line in message.splitlines())), err=True)
    return status
