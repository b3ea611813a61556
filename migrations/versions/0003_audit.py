"""The public read API."""

from migrations.sql_files import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run("0003_audit_up.sql")


def downgrade() -> None:
    run("0003_audit_down.sql")
