"""`headgate version`: what is installed here."""

import typer

from headgate import __version__

app = typer.Typer()


@app.command()
def version() -> None:
    """Print Headgate's version."""
    typer.echo(f"headgate {__version__}")
