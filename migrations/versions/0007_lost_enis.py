"""ENIs of running Pods that are bound, gone or elsewhere behind the ledger's back."""

from migrations.sql_files import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run("0007_lost_enis_up.sql")


def downgrade() -> None:
    run("0007_lost_enis_down.sql")
