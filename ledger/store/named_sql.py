"""Loads the hot queries: `sql/<file>.sql`, each under a line `-- name: <name>`.

They are files rather than SQLAlchemy expressions because they bind whole columns as binary arrays
(`%(name)b`), which measured four times faster than lists of plain parameters, and because a
person at a psql prompt can run them as they stand.
"""

from functools import cache
from importlib.resources import files


@cache
def queries(file: str) -> dict[str, str]:
    """Name -> SQL of `sql/<file>.sql`. Raises FileNotFoundError for an unknown file."""
    text = files("ledger.store").joinpath("sql", f"{file}.sql").read_text()
    found: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        found[name.strip()] = body.strip()
    return found
