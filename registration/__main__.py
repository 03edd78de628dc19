"""`python -m registration` is the command line."""

from registration.cli import main

if __name__ == "__main__":
    main()
