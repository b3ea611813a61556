"""What instance types carry, and the remark about Pods that admission missed."""

from migrations.sql_files import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run("0004_instance_types_up.sql")


def downgrade() -> None:
    run("0004_instance_types_down.sql")
