"""The questions: reasons in every answer, one cluster an answer, capacity and its history."""

from migrations.sql_files import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run("0007_questions_up.sql")


def downgrade() -> None:
    run("0007_questions_down.sql")
