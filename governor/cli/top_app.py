"""The live screen of `governor top`; needs the extra `top`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import Footer, Input, Static

from governor.cli import top_cells as cells
from governor.cli import top_freeze as freezing
from governor.cli.output import stamp
from governor.cli.top_dialogs import Ask, Help
from governor.cli.top_panels import Panel, Spenders, make_panels
from governor.errors import GovernorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from governor.cli.top_freeze import Plan, RunPlan, Target
    from governor.cli.top_picture import Picture
    from governor.cli.top_watch import Watch

ALL_FROM = (120, 34)
"""Columns and lines from which all panels are shown at once; on smaller terminals one at a time."""


class Top(App[None]):
    """Budgets filling, calls in flight, models and who spends, drawn again and again.

    Args:
        watch: What is looked at.
        every_s: Seconds between two looks.
        actor: Who freezes and unfreezes.
        dark: Whether the terminal has a dark background.
    """

    CSS_PATH = "top.tcss"
    TITLE = "governor top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Any]] = [
        Binding("q", "quit", "quit"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("g", "group", "group"),
        Binding("f", "freeze", "freeze"),
        Binding("u", "unfreeze", "unfreeze"),
        Binding("p", "pause", "pause"),
        Binding("d", "theme", "dark/light", show=False),
        Binding("escape", "clear", show=False),
        *(Binding(str(n), f"panel({n - 1})", show=False) for n in range(1, 6)),
    ]

    def __init__(self, watch: Watch, *, every_s: float = 1.0, actor: str = "", dark: bool = True) -> None:
        super().__init__()
        self.theme = "textual-dark" if dark else "textual-light"
        self._watch, self._every_s, self._actor = watch, every_s, actor
        self._panels = make_panels()
        self._head, self._figures, self._tabs = Static(id="head"), Static(id="figures"), Static(id="tabs")
        self._selected = Static(id="selected")
        self._filter = Input(placeholder="words that a row must have; Esc takes them away", id="filter")
        self._looking = self._paused = False
        self._away: tuple[int, str] | None = None
        self._going: Panel | None = None  # that was asked for, and has not the focus yet
        self.picture: Picture | None = None

    @property
    def ink(self) -> cells.Ink:
        """The styles for this background."""
        return cells.DARK if self.current_theme.dark else cells.LIGHT

    def compose(self) -> ComposeResult:
        """Header, panels, what is selected, filter, keys."""
        yield from (self._head, self._figures, self._tabs)
        with Container(id="panels"):
            yield from self._panels
        yield self._selected
        yield self._filter
        yield Footer()

    def on_mount(self) -> None:
        """Look at once, then again and again."""
        self._filter.display = False
        self._show_panel(0)
        self.set_interval(self._every_s, self.look)
        self.look()

    def on_resize(self) -> None:
        """Show all panels where there is room."""
        wide = self.size.width >= ALL_FROM[0] and self.size.height >= ALL_FROM[1]
        self.set_class(wide, "-all")
        self.call_after_refresh(self.draw)

    # Looking

    def look(self) -> None:
        """Look at the ledger in a thread, unless one is at it, or it is paused."""
        if not self._looking and not self._paused:
            self._looking = True
            self.run_worker(self._look, thread=True, group="look")

    def _look(self) -> None:
        """In the thread: a picture, or why there is none."""
        try:
            picture = self._watch.look()
        except GovernorError as error:
            self.call_from_thread(self._unseen, str(error))
            return
        self.call_from_thread(self._seen, picture)

    def _seen(self, picture: Picture) -> None:
        self._looking, self._away, self.picture = False, None, picture
        self.draw()

    def _unseen(self, why: str) -> None:
        self._looking = False
        tries = 1 if self._away is None else self._away[0] + 1
        self._away = (tries, why)
        self.draw()

    # Drawing

    def draw(self) -> None:
        """Draw the last picture."""
        if not self.is_running:
            return
        self._draw_head()
        for panel in self._panels:
            panel.draw(self.picture, self.ink)
        self._draw_tabs()
        self.describe()

    def _draw_head(self) -> None:
        picture, width = self.picture, max(20, self.size.width - 2)
        if picture is None:
            left, right = Text("governor top", "bold"), Text("")
            self._figures.update("")
        else:
            left = Text(picture.organization, "bold")
            right = Text(f"{stamp(picture.now_ms)[11:19]} UTC")
            room = width - left.cell_len - right.cell_len - 6
            left.append(f"  {cells.clip(picture.where, max(8, room))}", self.ink.dim)
            self._figures.update(self._headline(picture, width))
        if self._paused:
            right = Text("PAUSED  ", self.ink.warn) + right
        gap = max(1, width - left.cell_len - right.cell_len)
        self._head.update(Text.assemble(left, " " * gap, right, no_wrap=True))
        if self._away is not None:
            tries, why = self._away
            text = f"the ledger is away, tried {tries} time{'s' if tries > 1 else ''}, trying again: {why}"
            self._figures.update(Text(cells.clip(text, 2 * width), self.ink.bad))

    def _headline(self, picture: Picture, width: int) -> Text:
        text = Text(no_wrap=True)
        for said in cells.headline(picture):
            if text.cell_len + len(said) + 3 > width and text:
                break
            style = self.ink.bad if "ALERT" in said else self.ink.strong
            text.append("   " if text else "").append(said, style)
        return text

    def _draw_tabs(self) -> None:
        text = Text(no_wrap=True)
        for number, panel in enumerate(self._panels, 1):
            active = panel.has_class("-active")
            text.append(f" {number} {panel.label} ", "reverse" if active else self.ink.dim)
        self._tabs.update(text)

    def describe(self) -> None:
        """Say below what is selected, in full."""
        panel = self.active
        text = panel.describe(self.picture) if self.picture is not None else ""
        width = max(20, self.size.width - 2)
        self._selected.update(Text(cells.clip(text, width), no_wrap=True))

    @property
    def active(self) -> Panel:
        """The panel that keys work on."""
        return next(panel for panel in self._panels if panel.has_class("-active"))

    def on_panel_chosen(self, event: Panel.Chosen) -> None:
        """Another row, or another panel, was chosen."""
        # Only a focus chooses a panel: a redraw tells its row late, when a key may have left that panel. And
        # of two keys one after the other the focus of the first is told after the second was pressed.
        if event.came and self._going in (None, event.panel):
            self._going = None
            if not event.panel.has_class("-active"):
                self._show_panel(self._panels.index(event.panel))
        self.describe()

    def _show_panel(self, index: int) -> None:
        for number, panel in enumerate(self._panels):
            panel.set_class(number == index, "-active")
        table = self._panels[index].table
        self._going = None if table.has_focus else self._panels[index]
        table.focus()
        self.call_after_refresh(self.draw)

    # Keys

    def action_panel(self, index: int) -> None:
        """Go to a panel."""
        self._show_panel(index)

    def action_sort(self) -> None:
        """Sort the panel by the next thing."""
        self.active.sort_next()
        self.draw()

    def action_group(self) -> None:
        """Add spenders up by the next thing."""
        spenders = next(panel for panel in self._panels if isinstance(panel, Spenders))
        spenders.group_next()
        self._show_panel(self._panels.index(spenders))

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self._paused = not self._paused
        self.draw()
        self.look()

    def action_theme(self) -> None:
        """Switch between dark and light."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"
        self.draw()

    def action_help(self) -> None:
        """Say what everything means."""
        self.push_screen(Help())

    def action_filter(self) -> None:
        """Ask for words that rows must have."""
        self._filter.display = True
        self._filter.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        if event.input is self._filter:
            for panel in self._panels:
                panel.words = event.value
            self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter."""
        if event.input is self._filter:
            event.input.display = bool(event.value)
            self.active.table.focus()

    def action_clear(self) -> None:
        """Take the filter away."""
        self._filter.value = ""
        self._filter.display = False
        self.active.table.focus()

    # Freezing

    def action_freeze(self) -> None:
        """Freeze what is selected: a budget, or the run of a call or spender; asks first."""
        self._change(freezing.plan_freeze)

    def action_unfreeze(self) -> None:
        """End the freeze of what is selected; asks first."""
        self._change(freezing.plan_unfreeze)

    def _change(self, make: Callable[[Watch, Picture, Target], Plan | RunPlan]) -> None:
        if self.picture is None:
            return
        try:
            chosen = self.active.budgets_of_selected(self.picture)
        except GovernorError as error:
            self.notify(str(error), severity="warning", timeout=8)
            return
        picture = self.picture

        def ask(plan: Plan | RunPlan) -> None:
            def answered(reason: str | None) -> None:
                if reason is not None:
                    self._in_thread(lambda: plan.carry_out(self._actor, reason), self._done)

            self.push_screen(Ask(plan), answered)

        self._in_thread(lambda: make(self._watch, picture, chosen), ask)

    def _done(self, said: str) -> None:
        self.notify(said, timeout=8)
        self.look()

    def _in_thread(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do what asks the ledger beside the screen; what fails is said."""

        def run() -> None:
            try:
                found = work()
            except GovernorError as error:
                self.call_from_thread(self.notify, str(error), severity="error", timeout=12)
                return
            self.call_from_thread(then, found)

        self.run_worker(run, thread=True, group="change")


def is_dark(theme: str, colours: str) -> bool:
    """Whether the terminal has a dark background: as *theme* says, else by `COLORFGBG` (`15;0` is dark)."""
    if theme != "auto":
        return theme == "dark"
    background = colours.rpartition(";")[2]
    return not (background.isdigit() and int(background) in {7, *range(9, 16)})
