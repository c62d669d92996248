"""The command line: `kormos`; each command has its own file."""

from kormos_core.cli.app import main

__all__ = ["main"]
