"""The book: entries, current state, inputs and due work."""

from migrations.sql_files import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run("0001_book_up.sql")


def downgrade() -> None:
    run("0001_book_down.sql")
