"""The command `gen-audio doctor`, which cli.py joins to the others: parse and call."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Measure nothing; say what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Say what this machine will use, what is missing, and how fast it should be."""
    from .doctor import main

    main(as_json, quick)
