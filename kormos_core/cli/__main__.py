"""Run the command line as ``python -m kormos_core.cli``."""

from kormos_core.cli.app import main

main()
