"""`eni-ledger verify --seal` and `--export-head`: whether the past is still what was written down."""

import time
from collections.abc import Sequence
from pathlib import Path

import typer
from pydantic import ValidationError

from consumers.cli.book import local, opened, print_json
from consumers.cli.errors import CommandError
from consumers.runtime.settings import load_settings
from ledger.rules.seals import Head
from ledger.store.seal import read_head
from ledger.store.tampering import Verdict, examine

_NEXT_STEP = {
    "edited": "compare with a backup or `eni-ledger.entries.v1`; what follows from it is suspect",
    "gone": "bring it back from a backup or `eni-ledger.entries.v1`",
    "put in": "no reader may rely on it; find out who wrote there",
    "moved": "the order was changed; look at the findings around it first",
    "seal edited": "compare with kept heads: `eni-ledger verify --seal --head FILE`",
    "seal missing": "compare with kept heads: `eni-ledger verify --seal --head FILE`",
    "chain broken": "compare with kept heads: `eni-ledger verify --seal --head FILE`",
    "head differs": "unless you restored a backup on purpose: entries before that head are not evidence",
    "archive differs": "look who made or changed it: what it should hold counts as gone until then",
    "not sealed": "see that a reconciler runs, and its log",
}


def print_head() -> None:
    """Print the newest seal as JSON. Raises CommandError while nothing is sealed."""
    settings = load_settings()
    with opened(settings) as connection:
        head = read_head(connection, settings.cluster_id)
    if head is None:
        raise CommandError(
            "nothing is sealed yet: see that a reconciler runs, it seals every few seconds"
        )
    print_json(head.model_dump(mode="json"))


def verify_seal(files: Sequence[Path], *, as_json: bool) -> None:
    """Hold every sealed entry against its seal; exit code 1 when anything is not as it was."""
    heads = [_read_head(file) for file in files]
    with opened(load_settings(), snapshot=True) as connection:
        began = time.monotonic()
        verdict = examine(connection, heads)
        seconds = time.monotonic() - began
    if as_json:
        print_json(_plain(verdict, seconds))
    else:
        _print(verdict, seconds)
    if verdict.findings:
        raise typer.Exit(1)


def _read_head(file: Path) -> Head:
    try:
        return Head.model_validate_json(file.read_bytes())
    except OSError as unreadable:
        raise typer.BadParameter(f"--head {file}: {unreadable.strerror}") from unreadable
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise typer.BadParameter(
            f"--head {file}: {where}: {first['msg']}; give what `eni-ledger verify --export-head` printed"
        ) from wrong


def _plain(verdict: Verdict, seconds: float) -> dict[str, object]:
    sealed, tail = verdict.sealed, verdict.tail
    return {
        "sealed": sealed
        and {"position": sealed.upto, "entry": sealed.entry_ids[-1], "hash": sealed.hash.hex()},
        "tail": tail
        and {"entries": tail.entries, "oldest_s": tail.age and round(tail.age.total_seconds(), 3)},
        "entries": verdict.entries,
        "entries_moved_away": verdict.unseen,
        "archives": [
            {"name": each.name, "entries": each.entries, "here": each.here}
            for each in verdict.archives
        ],
        "seals": verdict.seals,
        "seconds": round(seconds, 3),
        "agreeing_heads": [head.model_dump(mode="json") for head in verdict.agreeing],
        "stopped_at": verdict.stopped_at,
        "findings": [
            {
                "what": each.what,
                "position": each.position,
                "entry": each.entry,
                "detail": each.detail,
                "next_step": _NEXT_STEP[each.what],
            }
            for each in verdict.findings
        ],
    }


def _print(verdict: Verdict, seconds: float) -> None:
    for each in verdict.findings:
        subject = f"entry {each.entry}" if each.entry is not None else "the feed"
        place = f" at position {each.position}" if each.position is not None else ""
        typer.echo(f"{each.what}: {subject}{place}: {each.detail}")
        typer.echo(f"  next: {_NEXT_STEP[each.what]}")
    if verdict.stopped_at is not None:
        typer.echo(
            f"stopped after {len(verdict.findings)} findings, with everything up to position "
            f"{verdict.stopped_at} compared: there may be more"
        )
    rate = f"{verdict.entries / seconds:,.0f} a second" if seconds > 0 else "at once"
    typer.echo(
        f"{verdict.entries} entries and {verdict.seals} seals compared in {seconds:.1f} s ({rate})"
    )
    for kept in verdict.archives:
        if not kept.here:
            typer.echo(
                f"kept in {kept.name}, which was moved away: {kept.entries} entries; their seals are in "
                "the chain, the entries themselves were not compared"
            )
    for head in verdict.agreeing:
        typer.echo(
            f"agrees with the head of {local(head.exported_at)}: entries up to position "
            f"{head.position} are the ones of then"
        )
    if verdict.sealed is not None:
        typer.echo(
            f"sealed up to position {verdict.sealed.upto} (entry {verdict.sealed.entry_ids[-1]}), "
            f"head {verdict.sealed.hash.hex()}"
        )
    else:
        typer.echo("nothing is sealed")
    tail = verdict.tail
    if tail is not None and tail.entries:
        age = f", the oldest {tail.age.total_seconds():.0f} s old" if tail.age else ""
        typer.echo(f"not sealed yet: {tail.entries} entries{age}")
    elif not verdict.findings:
        here = " that is here" if verdict.unseen else ""
        typer.echo(f"every entry{here} is sealed, and as it was written")
