"""`python -m aios.infra` is `aios`."""

from aios.infra.cli import main

main()
