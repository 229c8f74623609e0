"""``python -m calstore``."""

from calstore.cli import main

main()
