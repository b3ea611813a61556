"""The seal over the feed, and how far the feed was published."""

from migrations.sql_files import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run("0006_seal_up.sql")


def downgrade() -> None:
    run("0006_seal_down.sql")
