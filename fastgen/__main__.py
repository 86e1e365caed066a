"""``python -m fastgen`` is the command line."""

from fastgen.cli import main

if __name__ == "__main__":
    main()
