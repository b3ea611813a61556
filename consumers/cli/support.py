"""`eni-ledger support-bundle`: one archive to send to whoever is asked for help. No secrets in it."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from consumers.cli.book import ledger_settings, print_json
from consumers.cli.errors import CommandError
from consumers.cli.gathering import Part, gather, wanted_parts
from consumers.cli.redacting import Scrubber

app = typer.Typer(add_completion=False)

MANIFEST = "manifest.json"


@app.command(
    "support-bundle",
    epilog="Example: [bold]eni-ledger support-bundle --process http://10.0.0.5:9400 "
    "--log reconciler.log --output bundle.tar.gz[/bold]",
)
def support_bundle(
    output: Annotated[
        Path | None, typer.Option(help="the archive; absent: named by cluster and time, here")
    ] = None,
    process: Annotated[
        list[str] | None,
        typer.Option(help="base URL of a process's health endpoint; may be repeated"),
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option(help="a log file of ours; may be repeated")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option(help="say what would be in it, and write nothing")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Gather what a helper needs to see into one archive: versions, settings, figures, findings.

    Says what is in it first. Secrets are masked; nothing of Pods' annotations or environment, and no
    message's contents, is ever in it. What can't be reached is left out, and told.
    """
    settings = ledger_settings()
    scrubber = Scrubber(settings)
    now = datetime.now(UTC)
    file = output or Path(f"eni-ledger-{settings.cluster_id}-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    if not dry_run and file.exists():
        raise CommandError(f"{file} is there already: name another file with --output")
    parts = list(gather(wanted_parts(settings, scrubber, process or (), log or ()), scrubber))
    if not as_json:
        _tell(parts)
    if not dry_run:
        _write(file, parts, now)
    if as_json:
        print_json({"file": None if dry_run else str(file), "parts": _listed(parts)})
    elif not dry_run:
        typer.echo(f"written: {file} ({file.stat().st_size} bytes, readable by you alone)")


def _tell(parts: Sequence[Part]) -> None:
    for part in parts:
        if part.text is None:
            typer.echo(f"  –  {part.name}: could not be had: {part.missing}")
        else:
            typer.echo(f"  +  {part.name}: {part.what} ({len(part.text.encode())} bytes)")


def _listed(parts: Sequence[Part]) -> list[dict[str, object]]:
    return [
        {
            "name": part.name,
            "what": part.what,
            "bytes": None if part.text is None else len(part.text.encode()),
            "sha256": part.text and hashlib.sha256(part.text.encode()).hexdigest(),
            "missing": part.missing or None,
        }
        for part in parts
    ]


def _write(file: Path, parts: Sequence[Part], now: datetime) -> None:
    manifest = json.dumps({"made_at": now.isoformat(), "parts": _listed(parts)}, indent=1) + "\n"
    files = [(MANIFEST, manifest), *((part.name, part.text) for part in parts if part.text)]
    try:
        # Readable by its owner from the first byte on.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as refused:
        raise CommandError(
            f"{file} can't be written: {refused.strerror}: name another file with --output"
        ) from refused
    with (
        os.fdopen(descriptor, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=int(time.time())) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, text in files:
            content = text.encode()
            entry = tarfile.TarInfo(f"{file.name.removesuffix('.tar.gz')}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(now.timestamp())
            archive.addfile(entry, io.BytesIO(content))
