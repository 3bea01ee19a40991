"""`python -m projectai_lab …` is `projectai-lab …`."""

from projectai_lab.cli import run

if __name__ == "__main__":
    run()
