"""A claim is on one address: no mask, and each family in its column; and a question may carry a mask."""

from migrations.sql_files import run

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run("0013_one_address_up.sql")


def downgrade() -> None:
    run("0013_one_address_down.sql")
