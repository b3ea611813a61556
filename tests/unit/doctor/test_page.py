"""Every check has its section on the page that findings refer to, and every section a check."""

import re
from pathlib import Path

from consumers.doctor.checks import CHECKS
from consumers.doctor.judging import PAGE

ROOT = Path(__file__).parents[3]


def test_checks_and_sections_are_the_same_in_the_same_order() -> None:
    text = (ROOT / PAGE).read_text()
    sections = re.findall(r"^## ([a-z-]+)$", text, re.MULTILINE)
    assert sections == [check.id for check in CHECKS]
