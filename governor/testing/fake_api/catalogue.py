"""The models the fake API serves, under every name of the price file, and its charge for a usage."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from governor.data import data_file
from governor.testing.fake_api.rates import Mode, ServedModel, Unpriced, day_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date

_BESIDE_THE_TOTALS = ("compaction", "advisor_message")
"""Types of iterations whose tokens the totals of a usage leave out."""


class Catalogue:
    """Every model by id, alias, Bedrock name and Vertex name, and the fees.

    Args:
        data: The price file.
        vertex_endpoint: The endpoint of every Vertex name, which does not tell it: `global` or `regional`.
        retired: Ids of models that are not served any more, whatever the file says; they keep their prices.

    Raises:
        ValueError: There is no model of an id in *retired*.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        vertex_endpoint: str = "global",
        retired: Collection[str] = frozenset(),
    ) -> None:
        unknown = sorted(set(retired) - {row["id"] for row in data["models"]})
        if unknown:
            raise ValueError(f"there is no model {unknown[0]!r} to retire; give ids of the price file")
        self._retired = retired
        self._names: dict[str, tuple[ServedModel, str | None]] = {}
        self._fees: list[tuple[date, Fraction]] = sorted(
            (row["from"], Fraction(row["web_search_per_thousand"])) for row in data["fees"]
        )
        for row in data["models"]:
            model = ServedModel.of(row)
            for name in (row["id"], *(row.get("aliases") or ())):
                self._names[name] = (model, None)
            for name in row.get("vertex") or ():
                self._names[name] = (model, vertex_endpoint)
            for name in row.get("bedrock") or ():
                self._names[name] = (model, "regional")
                for prefix, endpoint in data["bedrock_prefixes"].items():
                    self._names[f"{prefix}.{name}"] = (model, endpoint)

    def find(self, name: str) -> ServedModel | None:
        """The model of that id, alias, Bedrock or Vertex name, or `None`."""
        return self._names.get(name, (None, None))[0]

    def gone(self, model: ServedModel, at_ms: int) -> bool:
        """Whether a model is retired at an instant (Unix milliseconds); its day of retirement counts."""
        return model.id in self._retired or model.gone(at_ms)

    def endpoint(self, name: str) -> str | None:
        """The cloud's endpoint that a name stands for, `None` for one of Anthropic's own API."""
        return self._names.get(name, (None, None))[1]

    def web_search_nanos(self, at_ms: int) -> Fraction:
        """The fee of one web search at an instant (Unix milliseconds, days in UTC), in nano-dollars.

        Raises:
            Unpriced: There was no fee yet.
        """
        day = day_of(at_ms)
        for since, per_thousand in reversed(self._fees):
            if since <= day:
                return per_thousand * 1_000_000
        raise Unpriced(f"web searches have no price on {day}")

    def charge(
        self,
        name: str,
        usage: Mapping[str, Any],
        at_ms: int,
        *,
        endpoint: str | None = None,
        stop_reason: str | None = None,
    ) -> Fraction:
        """Exact nano-dollars that the API charges for a reported usage.

        Each of `iterations` is charged at its own `model`, or else at *name*, with a long-prompt step of its
        own (SDK types: each is a sampling of its own). What the totals show beyond the `message` and
        `fallback_message` ones is charged at *name*; totals leave out compaction (SDK types) and the advisor
        (documented). A compaction is served as the request was, the advisor at standard speed (assumed).

        Free are a refusal before any output (documented) but for its compaction and advisor (assumed), and a
        hop that declined before any output, so that a fallback served the answer (documented). Web searches
        cost the same in every mode, at the fee of the day.

        Args:
            name: The model that answered.
            usage: The usage as the API spells it.
            at_ms: When the request arrived, Unix milliseconds; it decides the prices.
            endpoint: The cloud's endpoint that was asked; a model named as a cloud names it has its own.
            stop_reason: Why the answer ended.

        Raises:
            Unpriced: The model, the mode or the fee has no price.
        """
        iterations = usage.get("iterations") or ()
        beside = [part for part in iterations if part.get("type") in _BESIDE_THE_TOTALS]
        counted = [part for part in iterations if part.get("type") not in _BESIDE_THE_TOTALS]
        bill = [(part.get("model") or name, counts_of(part), _is_advisor(part)) for part in beside]
        total = Fraction()
        if stop_reason != "refusal" or usage.get("output_tokens"):
            billed = [part for part in counted if not self._declined(part, counted)]
            bill += [(part.get("model") or name, counts_of(part), False) for part in billed]
            bill.append((name, _rest(usage, counted), False))
            searches = (usage.get("server_tool_use") or {}).get("web_search_requests")
            total += searches * self.web_search_nanos(at_ms) if searches else 0
        for model, counts, standard in bill:
            total += self._tokens(model, counts, _mode(usage, endpoint, standard=standard), at_ms)
        return total

    def _declined(self, part: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> bool:
        """Whether *part* is a hop that declined before any output, so that a fallback served the answer."""
        served = [other["model"] for other in parts if other.get("type") == "fallback_message"]
        if part.get("type") != "message" or part.get("output_tokens") or not served or not part.get("model"):
            return False
        return self.find(part["model"]) is not self.find(served[-1])

    def _tokens(self, name: str, counts: Mapping[str, int], mode: Mode, at_ms: int) -> Fraction:
        if not any(counts.values()):
            return Fraction()
        model = self.find(name)
        if model is None:
            raise Unpriced(f"{name} is not in the price file")
        prompt_tokens = sum(counts.values()) - counts["output"]
        own = Mode(mode.fast, mode.batch, mode.us, self.endpoint(name) or mode.endpoint, prompt_tokens)
        rates = model.rates(own, at_ms)
        return sum((count * rates[kind] for kind, count in counts.items() if count), Fraction())


def counts_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of a usage by category of price; cache writes without a split are 5-minute ones."""
    split = usage.get("cache_creation") or {}
    long = split.get("ephemeral_1h_input_tokens") or 0
    short = split.get("ephemeral_5m_input_tokens") or 0
    unsplit = (usage.get("cache_creation_input_tokens") or 0) - long - short
    return {
        "input": usage.get("input_tokens") or 0,
        "output": usage.get("output_tokens") or 0,
        "cache_write_5m": short + max(unsplit, 0),
        "cache_write_1h": long,
        "cache_read": usage.get("cache_read_input_tokens") or 0,
    }


def _rest(usage: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Tokens of the totals that no part accounts for, each category by itself."""
    seen = [counts_of(part) for part in parts]
    return {
        kind: max(count - sum(part[kind] for part in seen), 0) for kind, count in counts_of(usage).items()
    }


def _is_advisor(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "advisor_message"


def _mode(usage: Mapping[str, Any], endpoint: str | None, *, standard: bool) -> Mode:
    """How a reported usage says that it was served, but for the length of the prompt."""
    return Mode(
        fast=usage.get("speed") == "fast" and not standard,
        batch=usage.get("service_tier") == "batch",
        us=usage.get("inference_geo") == "us",
        endpoint=endpoint,
    )


@lru_cache(maxsize=8)
def shipped_catalogue(vertex_endpoint: str = "global", retired: frozenset[str] = frozenset()) -> Catalogue:
    """The catalogue of the price file that ships with the governor, built once for each way of calling."""
    return Catalogue(_shipped_data(), vertex_endpoint, retired)


@lru_cache(maxsize=1)
def _shipped_data() -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 - only a running fake needs a YAML reader

    text = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)
