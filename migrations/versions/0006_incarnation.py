"""Where the ledger runs: a restore is recognised by it."""

from migrations.sql_files import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run("0006_incarnation_up.sql")


def downgrade() -> None:
    run("0006_incarnation_down.sql")
