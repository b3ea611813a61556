"""How the demonstration talks: titles, plain sentences, commands with their output, checks."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table

#: Wider lines are hard to read; where there is no terminal, tables still need room.
WIDEST = 140
WITHOUT_TERMINAL = 120


class Narrator:
    """Writes to the terminal. Everything the viewer reads goes through here."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console()
        self._started = time.monotonic()
        self._step = 0

    def title(self, text: str) -> None:
        self._console.print()
        self._console.print(Rule(f"[bold]{escape(text)}", style="blue"))

    def step(self, text: str) -> None:
        """Begin a numbered step."""
        self._step += 1
        elapsed = time.monotonic() - self._started
        self.title(f"{self._step}. {text}  [{elapsed:.0f} s]")

    def say(self, text: str) -> None:
        """A sentence or two for the viewer; rich markup is allowed."""
        self._console.print(text)

    def command(self, words: Sequence[str]) -> None:
        """The command that is run now, as the viewer could type it."""
        self._console.print(f"  [green]$ {escape(' '.join(words))}[/]", soft_wrap=True)

    def output(self, text: str) -> None:
        """What a command printed."""
        for line in text.rstrip().splitlines():
            self._console.print(f"    [dim]{escape(line.rstrip())}[/]", soft_wrap=True)

    def yaml(self, text: str) -> None:
        syntax = Syntax(text.rstrip(), "yaml", background_color="default", word_wrap=True)
        self._console.print(Padding(syntax, (0, 0, 0, 4), expand=False))

    def check(self, text: str) -> None:
        """Something that was looked at and found true."""
        self._console.print(f"  [bold green]✓[/] {text}")

    def note(self, text: str) -> None:
        """Progress that matters only while one waits."""
        self._console.print(f"  [dim]· {escape(text)}[/]")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for name in header:
            table.add_column(escape(name), overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, 4), expand=False))

    def failure(self, expected: str, seen: str, where: str) -> None:
        """What was expected, what was seen, where to look."""
        self._console.print()
        self._console.print(Rule("[bold red]The demonstration failed", style="red"))
        self._console.print(f"[bold]expected[/]  {escape(expected)}")
        self._console.print(f"[bold]seen[/]      {escape(seen)}", soft_wrap=True)
        self._console.print(f"[bold]logs[/]      {escape(where)}", soft_wrap=True)

    @property
    def width(self) -> int:
        """How wide a command's output may be, in columns."""
        return self._console.width - 4

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started


def _console() -> Console:
    console = Console(highlight=False)
    width = min(console.width, WIDEST) if console.is_terminal else WITHOUT_TERMINAL
    return Console(width=width, highlight=False)
