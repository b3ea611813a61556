"""The questions: reasons in every answer, one cluster an answer, capacity and its history."""

from migrations.sql_files import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run("0009_questions_up.sql")


def downgrade() -> None:
    run("0009_questions_down.sql")
