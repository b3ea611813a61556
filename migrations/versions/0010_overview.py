"""What a person looks at first: waiting work, brakes, sweeps and dead letters, and calls newest first."""

from alembic import op

from migrations.sql_files import run

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run("0010_overview_up.sql")
    # Concurrently: the table is large and the reconciler goes on writing it. One that was
    # interrupted leaves an invalid index behind, which the next try replaces.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ledger.cloud_call_newest")
        op.execute(
            "CREATE INDEX CONCURRENTLY cloud_call_newest "
            "ON ledger.cloud_call (cluster, intended_at DESC, intent DESC)"
        )


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS ledger.cloud_call_newest")
    run("0010_overview_down.sql")
