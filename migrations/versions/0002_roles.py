"""Roles and what each may touch."""

from migrations.sql_files import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run("0002_roles_up.sql")


def downgrade() -> None:
    run("0002_roles_down.sql")
