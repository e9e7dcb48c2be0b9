"""`aios demo [triage|kyc|meeting]`: a reference workflow on real data in a system of its own, and what came out."""

from __future__ import annotations

import click

from aios.infra.demo import run

_keep = click.option("--keep", is_flag=True, help="Leave the system running and print what to do with it.")


@click.group("demo", invoke_without_command=True)
@_keep
@click.pass_context
def demo(context: click.Context, keep: bool) -> None:
    """Start a system, publish, watch, stop. Without a name: triage."""
    if context.invoked_subcommand is None:
        run.run(keep=keep)
    elif keep:
        raise click.UsageError(f"write --keep behind {context.invoked_subcommand}")


@demo.command()
@_keep
def triage(keep: bool) -> None:
    """Letters and messages of a bank's customers.

    Two hundred texts, and six bad records, one of which is repaired and replayed.
    """
    run.run(keep=keep)


@demo.command()
@_keep
def kyc(keep: bool) -> None:
    """Applications of people with their documents.

    Read, screened, weighed; decided, or asked of specialists.
    """
    from aios.infra.demo import kyc as onboarding

    onboarding.demo(keep=keep)


@demo.command()
@_keep
def meeting(keep: bool) -> None:
    """Requests in plain words, with a real calendar server.

    Found, booked, moved, called off, or asked back.
    """
    from aios.infra.demo import meeting as meetings

    meetings.demo(keep=keep)
