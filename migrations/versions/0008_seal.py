"""The seal over the feed, and how far the feed was published."""

from migrations.sql_files import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run("0008_seal_up.sql")


def downgrade() -> None:
    run("0008_seal_down.sql")
