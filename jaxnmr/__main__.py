"""`python -m jaxnmr` is the command `jaxnmr`."""

from jaxnmr.cli import main

if __name__ == "__main__":
    main()
