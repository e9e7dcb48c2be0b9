"""`aios demo`: two hundred real texts through the whole system, and what came out."""

from __future__ import annotations

import click

from aios.infra.demo import run


@click.command()
@click.option("--keep", is_flag=True, help="Leave the system running and print what to do with it.")
def demo(keep: bool) -> None:
    """Start a system, publish, watch, replay one repaired dead letter, stop."""
    run.run(keep=keep)
