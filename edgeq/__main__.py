"""``python -m edgeq``: the command line."""

from edgeq.cli.main import main

main()
