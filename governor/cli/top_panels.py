"""The panels of the live screen: each a table that keeps its place while it is drawn again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import DataTable, Static

from governor.cli import top_cells as cells
from governor.cli import top_picture as pictures
from governor.cli.output import Failure
from governor.cli.top_freeze import Run
from governor.cli.typed import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual.app import ComposeResult

    from governor.cli.top_cells import Column, Ink, Row
    from governor.cli.top_freeze import Target
    from governor.cli.top_picture import Picture

SHOWN = 200
"""How many rows a table has at most: sorted, the others come after them."""

NO_RUN = "it has no run, and only a run or a budget can be frozen: freeze a budget in the list of budgets (1)"


class Panel(Vertical):
    """A table with a caption. What it shows of a picture is a subclass's.

    Attributes:
        words: Which rows must have; '': all are shown.
    """

    label = ""
    sorts: dict[str, Callable[[Any], Any]] = {"": lambda _: 0}  # noqa: RUF012 - never written to
    fields: tuple[str, ...] = ()

    class Chosen(Message):
        """Another row of *panel* is chosen, or, where it *came* to have the focus, the panel itself."""

        def __init__(self, panel: Panel, *, came: bool = False) -> None:
            super().__init__()
            self.panel, self.came = panel, came

    def __init__(self) -> None:
        super().__init__(id=self.label.lower())
        self.words = ""
        self.sort = next(iter(self.sorts))
        self.table: DataTable[Text] = DataTable(cursor_type="row", zebra_stripes=False)
        self._rows: dict[str, Any] = {}
        self._columns: list[Column] = []
        self._drawing = False

    def compose(self) -> ComposeResult:
        """A caption and the table."""
        yield Static(classes="caption")
        yield self.table

    # What a subclass says.

    def every(self, picture: Picture) -> Iterable[Any]:
        """All that could be a row."""
        raise NotImplementedError

    def columns(self, width: int) -> list[Column]:
        """The columns over so many cells."""
        raise NotImplementedError

    def row(self, one: Any, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
        """A row."""
        raise NotImplementedError

    def nothing(self) -> str:
        """What is said where there is no row."""
        raise NotImplementedError

    def about(self, one: Any) -> str:
        """A row in full, in one line."""
        raise NotImplementedError

    def caption(self, picture: Picture) -> str:  # noqa: ARG002 - panels with more to say look at it
        """What is said of the whole, beside its name."""
        return ""

    def budgets_of(self, one: Any, picture: Picture) -> Target:
        """The budgets that can be frozen for a row, or its run that has none.

        Raises:
            Failure: There are none; the message says what can be done.
        """
        del one, picture
        raise Failure(f"there is nothing to freeze in {self.label}: choose a budget, a call or a run")

    # Drawing.

    def draw(self, picture: Picture | None, ink: Ink) -> None:
        """Draw the rows anew; the chosen one stays chosen, and where it is on the screen."""
        if picture is None or not self.is_mounted or not self.display:
            return
        width = self.table.size.width - 1
        if width < 1:
            return
        words = self.words if self.fields else ""
        found = pictures.matching(self.every(picture), words, *self.fields)
        found.sort(key=self.sorts[self.sort])
        columns = self.columns(width)
        rows = [(self.row(one, columns, picture, ink), one) for one in found[:SHOWN]]
        self._rows = {key: one for (key, _), one in rows}
        self.table.show_cursor = self.has_class("-active")
        self._fill(columns, {key: texts for (key, texts), _ in rows})
        self._caption(picture, len(found))

    def _caption(self, picture: Picture, many: int) -> None:
        parts = [f"{many:,}" + (f", {SHOWN} shown" if many > SHOWN else "")]
        parts += [f"by {self.sort}"] * bool(self.sort)
        parts += [self.caption(picture)] * bool(self.caption(picture))
        parts += [f"with “{harmless(self.words)}”"] * bool(self.words)
        text = " · ".join(parts) if many else self.nothing()
        self.border_title = Text(self.label)
        self.border_subtitle = Text(text)
        self.query_one(".caption", Static).update(Text(text, no_wrap=True, overflow="ellipsis"))

    def _fill(self, columns: list[Column], rows: dict[str, tuple[Text, ...]]) -> None:
        table, self._drawing = self.table, True
        chosen, top = self.key, table.scroll_offset.y
        if columns != self._columns:
            self._columns = columns
            table.clear(columns=True)
            for column in columns:
                table.add_column(_cell(Text(column.title), column), width=column.width, key=column.title)
        else:
            table.clear()
        for key, texts in rows.items():
            cells_ = (_cell(text, column) for text, column in zip(texts, columns, strict=True))
            table.add_row(*cells_, key=key)
        if chosen in rows:
            table.move_cursor(row=list(rows).index(chosen), scroll=False, animate=False)
        table.scroll_to(y=top, animate=False, force=True)
        self._drawing = False

    @property
    def key(self) -> str | None:
        """The chosen row's key."""
        table = self.table
        if not table.row_count:
            return None
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value

    def describe(self, _: Picture | None) -> str:
        """The chosen row in full."""
        one = self._rows.get(self.key or "")
        return "" if one is None else self.about(one)

    def budgets_of_selected(self, picture: Picture) -> Target:
        """The budgets that can be frozen for the chosen row, or its run that has none.

        Raises:
            Failure: None is chosen, or it has none.
        """
        one = self._rows.get(self.key or "")
        if one is None:
            raise Failure("choose a row first: nothing is selected")
        return self.budgets_of(one, picture)

    def sort_next(self) -> None:
        """Sort by the next thing."""
        names = list(self.sorts)
        self.sort = names[(names.index(self.sort) + 1) % len(names)]

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Another row is chosen."""
        event.stop()
        if not self._drawing and self.table.has_focus:
            self.post_message(self.Chosen(self))

    def on_descendant_focus(self) -> None:
        """The panel is chosen."""
        self.post_message(self.Chosen(self, came=True))


class Budgets(Panel):
    """Budgets filling."""

    label = "Budgets"
    sorts = pictures.BUDGET_SORTS
    fields = ("identity", "frozen")

    def every(self, picture: Picture) -> Iterable[Any]:
        """Every budget that is known."""
        return picture.budgets

    def columns(self, width: int) -> list[Column]:
        """See `Panel.columns`."""
        return cells.budget_columns(width)

    def row(self, one: Any, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
        """See `Panel.row`."""
        return cells.budget_row(one, columns, picture, ink)

    def nothing(self) -> str:
        """See `Panel.nothing`."""
        return "no budget has these words" if self.words else "the policies have no budget yet"

    def about(self, one: Any) -> str:
        """See `Panel.about`."""
        frozen = "" if one.frozen is None else f"FROZEN: {one.frozen}  "
        return f"{frozen}{one.identity}  {one.window}  {one.source}"

    def budgets_of(self, one: Any, picture: Picture) -> tuple[str, ...]:  # noqa: ARG002 - as the others
        """Itself."""
        return (one.identity,)


class Flights(Panel):
    """Calls in flight."""

    label = "Calls"
    sorts = pictures.FLIGHT_SORTS
    fields = ("id", "user", "department", "feature", "run", "model")

    def every(self, picture: Picture) -> Iterable[Any]:
        """Every open hold that is named."""
        return picture.flights

    def columns(self, width: int) -> list[Column]:
        """See `Panel.columns`."""
        return cells.flight_columns(width)

    def row(self, one: Any, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
        """See `Panel.row`."""
        return cells.flight_row(one, columns, picture, ink)

    def nothing(self) -> str:
        """See `Panel.nothing`."""
        return "no call has these words" if self.words else "no call is in flight"

    def caption(self, picture: Picture) -> str:
        """How many more are open than are named."""
        more = picture.open - len(picture.flights)
        return f"{more:,} more are in flight" if more > 0 else ""

    def about(self, one: Any) -> str:
        """See `Panel.about`."""
        names = ("user", "department", "feature", "run")
        said = [f"{name} {getattr(one, name)}" for name in names if getattr(one, name)]
        return "  ".join([f"governor why {one.id}", *said, one.model])

    def budgets_of(self, one: Any, picture: Picture) -> Target:
        """Its run's."""
        if not one.run:
            raise Failure(f"this call cannot be frozen: {NO_RUN}")
        return picture.budgets_of_run(one.department, one.run) or Run(one.department, one.run)


class Models(Panel):
    """Load and breakers."""

    label = "Models"
    sorts = pictures.MODEL_SORTS
    fields = ("model", "breaker", "why")

    def every(self, picture: Picture) -> Iterable[Any]:
        """Every model of which somebody spoke in the last minute."""
        return picture.models

    def columns(self, width: int) -> list[Column]:
        """See `Panel.columns`."""
        return cells.model_columns(width)

    def row(self, one: Any, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
        """See `Panel.row`."""
        return cells.model_row(one, columns, picture, ink)

    def nothing(self) -> str:
        """See `Panel.nothing`."""
        return "no model has these words" if self.words else "nobody called a model in the last minute"

    def about(self, one: Any) -> str:
        """See `Panel.about`."""
        why = f"; breaker {one.breaker}: {one.why}" if one.breaker != "closed" else ""
        return (
            f"{one.model}: rate limit {one.limits_bp / 100:.0f} % used, {one.pushed} of {one.answers} "
            f"answers of the last minute 429 or 529, told by {one.processes}{why}"
        )


class Spenders(Panel):
    """Who spends now."""

    label = "Spenders"
    sorts = pictures.SPENDER_SORTS
    fields = ("name", "department")

    def __init__(self) -> None:
        super().__init__()
        self.by = pictures.GROUPS[0]

    def group_next(self) -> None:
        """Add them up by the next thing."""
        self.by = pictures.GROUPS[(pictures.GROUPS.index(self.by) + 1) % len(pictures.GROUPS)]

    def every(self, picture: Picture) -> Iterable[Any]:
        """Everybody who had a call in the last minutes."""
        return picture.spenders(self.by)

    def columns(self, width: int) -> list[Column]:
        """See `Panel.columns`."""
        return cells.spender_columns(width)

    def row(self, one: Any, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
        """See `Panel.row`."""
        return cells.spender_row(one, columns, picture, ink)

    def nothing(self) -> str:
        """See `Panel.nothing`."""
        return "nobody has these words" if self.words else "nobody called in the last minutes"

    def caption(self, picture: Picture) -> str:
        """By what, and over how long."""
        return f"per {self.by} (g), last {cells.span(picture.span_s)}"

    def about(self, one: Any) -> str:
        """See `Panel.about`."""
        return (
            f"{self.by} {one.name or pictures.NOBODY}: {cells.usd(one.cost_nanos)} in {one.calls} calls, "
            f"{one.failed} failed, {one.blocked} blocked; {cells.usd(one.held_nanos)} held for "
            f"{one.in_flight} in flight"
        )

    def budgets_of(self, one: Any, picture: Picture) -> Target:
        """The run's."""
        if self.by != "run" or not one.name:
            raise Failure(f"{one.name or 'this'} cannot be frozen here: {NO_RUN}; press g for runs")
        return picture.budgets_of_run(one.run_of, one.name) or Run(one.run_of, one.name)


class Alerts(Panel):
    """Alerts that go on."""

    label = "Alerts"

    def every(self, picture: Picture) -> Iterable[Any]:
        """Every alert that goes on."""
        wanted = self.words.casefold().split()
        return [one for one in picture.alerts if all(word in str(one).casefold() for word in wanted)]

    def columns(self, width: int) -> list[Column]:
        """See `Panel.columns`."""
        return cells.alert_columns(width)

    def row(self, one: Any, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
        """See `Panel.row`."""
        return cells.alert_row(one, columns, picture, ink)

    def nothing(self) -> str:
        """See `Panel.nothing`."""
        return "no alert has these words" if self.words else "no alert is open"

    def about(self, one: Any) -> str:
        """See `Panel.about`."""
        return f"{one.get('title', '')}: {one.get('advice', '')}"


def make_panels() -> list[Panel]:
    """All of them, in the order of their keys."""
    return [Budgets(), Flights(), Models(), Spenders(), Alerts()]


def _cell(text: Text, column: Column) -> Text:
    """A text on its side of a column."""
    shown = text.copy()
    shown.no_wrap = True
    if column.side == "right":
        shown.pad_left(max(0, column.width - shown.cell_len))
    return shown
