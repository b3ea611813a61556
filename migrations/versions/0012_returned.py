"""The public description of allocations names every way in which one ends; words only."""

from migrations.sql_files import run

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run("0012_returned_up.sql")


def downgrade() -> None:
    run("0012_returned_down.sql")
