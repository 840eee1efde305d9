"""`python -m dicomrelay`."""

from dicomrelay.cli.main import main

if __name__ == "__main__":
    main()
