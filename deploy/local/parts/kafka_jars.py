"""The jars of Apache Kafka: where they are kept, and how they get there.

Maven resolves them once from the pom beside this module into the user's cache, by version. Run as
a program it fetches what is missing: `python -m deploy.local.parts.kafka_jars 4.4.0`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.local.parts.child import PartError

#: What most users run today, and the two generations that managed Kafka still offers.
NEWEST = "4.4.0"
OLDER = ("3.3.2", "2.6.3")

POM = Path(__file__).with_name("apache_kafka.pom.xml")
FETCH_DEADLINE_S = 900.0
_MAIN_JAR = "kafka_2.13-{version}.jar"
_FETCH = ".ci/parts/kafka"


def jars(version: str) -> Path:
    """The directory with the jars of that version. Raises PartError with the command to fetch them."""
    directory = _cache() / version
    if not (directory / _MAIN_JAR.format(version=version)).is_file():
        raise PartError(
            f"Apache Kafka {version}: its jars are not in {directory}: "
            f"fetch them once with {_FETCH} (Maven, some 45 MB), or use --kafka tansu"
        )
    return directory


def java() -> str:
    """The path of `java`. Raises PartError with the command that installs it."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        raise PartError(f"Apache Kafka needs Java 17 or newer, and there is no java: run {_FETCH}")
    return found


def fetch(version: str) -> Path:
    """Have Maven put the jars of that version into the cache, unless they are there.

    Raises PartError with Maven's last words.
    """
    target = _cache() / version
    if (target / _MAIN_JAR.format(version=version)).is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"fetching-{version}-"))
    command = [
        "mvn", "--quiet", "--batch-mode", f"--file={POM}",
        "dependency:copy-dependencies", "-DincludeScope=runtime",
        f"-Dkafka.version={version}", f"-DoutputDirectory={draft}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=FETCH_DEADLINE_S
        )
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            raise PartError(
                f"Apache Kafka {version}: Maven ended with code {done.returncode}:\n{said}\n"
                "check that Maven Central, or the mirror in ~/.m2/settings.xml, can be reached"
            )
        draft.chmod(0o755)
        draft.rename(target)
    except FileNotFoundError as missing:
        raise PartError(f"Apache Kafka {version}: there is no mvn: run {_FETCH}") from missing
    except subprocess.TimeoutExpired as late:
        raise PartError(
            f"Apache Kafka {version}: Maven was not done after {FETCH_DEADLINE_S:g} s: try again"
        ) from late
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "eni-ledger" / "kafka"


def main(versions: Sequence[str]) -> int:
    """Fetch these versions; returns the exit code."""
    try:
        for version in versions or (NEWEST, *OLDER):
            fetch(version)
    except PartError as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
