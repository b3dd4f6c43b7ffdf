"""Entry point of ``stf``: picks the command and turns errors into one line and an exit code."""

from __future__ import annotations

from ffrl.core.signals import interruptible_imports

with interruptible_imports():  # an interruption of these is no traceback either
    import difflib
    import importlib
    import os
    import sys
    from collections.abc import Sequence

    from ffrl.core.errors import UserError, memory_lack
    from ffrl.core.terminal import one_line, prepare_streams
    from stf import __version__

COMMANDS = {
    "train": ("train", "train a model: --mode unsupervised, supervised, weak, or a baseline"),
    "evaluate": ("evaluate", "measure a trained model"),
    "visualize-fields": ("visualize", "draw the fields of a trained model and what they do"),
    "transfer": ("transfer", "apply what happens in one sequence to other images"),
    "verify": ("verify", "check that the files of a run are what was written"),
    "benchmark": ("benchmark", "train and measure a grid of models, as tables and plots"),
    "load-example": ("load_example", "write a trained model that comes with the package as a run folder"),
    "data": ("data", "show what a data set holds, and draw sample sequences"),
}
"""Command to the module of this package that has its ``main``, and what it does."""

USAGE_ERROR, FAILURE, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141


def usage() -> str:
    """Return what ``stf --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: stf [--help] [--version] COMMAND ...",
            "",
            "Learn which transformations act in image sequences, when, and how fast.",
            "",
            "commands:",
            *lines,
            "",
            "stf COMMAND --help shows the flags of a command.",
        ]
    )


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command that ``arguments`` name and return its exit code.

    Raises:
        UserError: no such command, or what the command raises.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    command, *rest = arguments
    if command == "--version":
        print(f"stf {__version__}")
        return 0
    if command not in COMMANDS:
        kind = "flag" if command.startswith("-") else "command"
        (nearest,) = difflib.get_close_matches(command, [*COMMANDS, "--help", "--version"], n=1, cutoff=0.0)
        raise UserError(f"found unknown {kind} {command!r}, did you mean {nearest!r}? (stf --help lists the commands)")
    return importlib.import_module(f"{__package__}.{COMMANDS[command][0]}").main(rest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``stf`` with ``arguments`` (by default those of the process) and return the exit code.

    0: done; 1: the system refused something; 2: input that cannot be used; 130, 143: stopped by SIGINT, SIGTERM;
    141: nobody reads the output any more.

    Example:
        >>> main(["--version"])
        stf 0.2.0
        0
    """
    os.environ["MPLBACKEND"] = "agg"  # notebooks name one that is not there, and nothing is shown on a screen
    prepare_streams()
    try:
        with interruptible_imports():
            code = dispatch(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
            return code
    except UserError as error:
        return _complain(str(error), USAGE_ERROR)
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        lost = _discard_output()
        where = "standard output: " if lost else ""
        if error.filename is not None:
            where = f"{os.fsdecode(error.filename)}: "
        return _complain(f"{where}{error.strerror or error}", FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (MemoryError, RuntimeError, ValueError) as error:
        lack = memory_lack(error)
        if lack is None:
            raise
        return _complain(f"found {lack}, expected something smaller, or a machine with more", FAILURE)


def _complain(message: str, code: int) -> int:
    print("stf: error: " + one_line(message), file=sys.stderr)
    return code


def _discard_output() -> bool:
    """Let what cannot be written to standard output vanish, or Python complains about it once more at exit.

    Returns whether there was such output.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
