"""Runs a hand-written SQL file of this folder as one revision's step."""

from pathlib import Path

from alembic import op

SQL = Path(__file__).parent / "sql"


def run(name: str) -> None:
    """Execute `sql/<name>` as it stands: several statements, no parameters."""
    connection = op.get_bind().execution_options(no_parameters=True)
    connection.exec_driver_sql((SQL / name).read_text())
