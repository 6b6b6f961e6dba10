"""python -m liquidvision."""

from liquidvision.cli.main import main

if __name__ == "__main__":
    main()
