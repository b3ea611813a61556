"""How a connection to PostgreSQL is asked for."""

from typing import Any

import psycopg
import pytest

from ledger.store.database import CUT_OFF, UNAVAILABLE, Database


@pytest.mark.parametrize(
    ("dsn", "ours"),
    [
        ("postgresql://u@db/ledger", {**CUT_OFF}),
        (
            "host=a,b dbname=ledger target_session_attrs=read-write tcp_user_timeout=3000",
            {name: value for name, value in CUT_OFF.items() if name != "tcp_user_timeout"},
        ),
    ],
)
def test_a_server_that_is_cut_off_is_noticed_unless_the_dsn_says_how(
    dsn: str, ours: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def connect(dsn: str, **options: Any) -> None:
        asked.update(options, dsn=dsn)
        raise psycopg.OperationalError("nobody there")

    monkeypatch.setattr(psycopg, "connect", connect)
    database = Database(dsn)
    with pytest.raises(UNAVAILABLE), database.transaction():
        pass
    database.close()
    assert asked["dsn"] == dsn
    assert {name: asked[name] for name in CUT_OFF if name in asked} == ours
