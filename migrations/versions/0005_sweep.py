"""The sweep: what it found, and when the world was last looked at whole."""

from migrations.sql_files import run

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run("0005_sweep_up.sql")


def downgrade() -> None:
    run("0005_sweep_down.sql")
