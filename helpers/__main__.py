"""`python -m helpers` is the `workbook` command."""

from helpers.cli import app

if __name__ == "__main__":
    app(prog_name="workbook")
