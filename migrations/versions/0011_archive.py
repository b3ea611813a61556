"""Retention: old entries move to archives, tables of their own that stay readable and verifiable."""

from migrations.sql_files import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run("0011_archive_up.sql")


def downgrade() -> None:
    run("0011_archive_down.sql")
