"""What the live screen asks and explains: a change before it is made, and every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding
from textual.containers import Container, Horizontal
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from governor.cli.typed import harmless

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from governor.cli.top_freeze import Plan, RunPlan

HELP = """\
1 2 3 4 5  budgets, calls in flight, models, spenders, alerts
↑ ↓        choose a row; the line below says it in full
s          sort by the next thing
g          spenders by user, feature, run, department, model
/          only rows with these words; Esc: all again
f  u       freeze the chosen budget, or the run of the chosen
           call or spender; end that freeze. Both ask first
p          pause: nothing is read until you press it again
d  q       dark or light; quit

Budgets    ▇ spent  ▒ held for calls in flight  ▶ above limit
           counts of tokens, requests and calls stand bare
Calls      †  overdue, and nobody ended it: see `holds reap`
           >  older than the records that are read
Models     load: the fullest of rate limits, requests in
           flight, and 429 + 529 of the last minute
           8 +2w: 8 in flight, 2 users wait for their turn
Spenders   calls that ended lately; 12 3!: 3 of 12 failed
"""


class Ask(ModalScreen[str | None]):
    """Asks before a change, and why; answers the reason, or `None`."""

    BINDINGS: ClassVar[list[Any]] = [Binding("escape", "cancel", "do nothing")]

    def __init__(self, plan: Plan | RunPlan) -> None:
        super().__init__()
        self._plan = plan

    def compose(self) -> ComposeResult:
        """What will happen, a line for the reason, two buttons."""
        first, *rest = (harmless(line) for line in self._plan.lines)
        with Container():
            yield Static(Text.assemble((first, "bold"), "\n\n", "\n".join(rest)), classes="text")
            yield Input(placeholder="Why? One line, kept in the journal with your name.", id="reason")
            with Horizontal():
                yield Button("Do nothing (Esc)", id="no")
                yield Button(self._plan.verb, id="yes", variant="error", disabled=True)

    def on_mount(self) -> None:
        """The reason is typed first."""
        self.query_one("#reason", Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Without a reason nothing can be done."""
        event.stop()
        self.query_one("#yes", Button).disabled = not event.value.strip()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the button, and does not do it yet."""
        event.stop()
        if event.value.strip():
            self.query_one("#yes", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        reason = self.query_one("#reason", Input).value
        self.dismiss(reason if event.button.id == "yes" else None)

    def action_cancel(self) -> None:
        """Nothing is done."""
        self.dismiss(None)


class Help(ModalScreen[None]):
    """What every key does, and what the marks mean."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("escape,question_mark,q,enter", "close", "close"),
    ]

    def compose(self) -> ComposeResult:
        """One page of text."""
        with Container():
            yield Static(Text(HELP), classes="text")

    def action_close(self) -> None:
        """Back to the screen."""
        self.dismiss(None)
