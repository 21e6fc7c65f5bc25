"""Draw docs/lineage.svg: the assets of examples/digits, and the fields that their features have.

Usage: python docs/make_lineage.py [FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from pathlib import Path

import metaxy_dagster as mxd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

WIDTH, GAP_X, GAP_Y, MARGIN = 196, 74, 26, 28
HEAD, ROW, PAD = 50, 24, 8
FONT = "ui-sans-serif, system-ui, 'Helvetica Neue', Arial, sans-serif"
# One colour for each field of the root feature that something depends on, and one for both.
COLOURS = {"pixels": "#2563eb", "label": "#c2410c"}
MIXED, PLAIN, INK, FAINT = "#7c3aed", "#94a3b8", "#0f172a", "#64748b"


@dataclass
class Card:
    """One asset: its feature and fields, if it has one, and where it is drawn."""

    asset: str
    feature: str | None
    upstream: tuple[str, ...]
    # field -> the upstream (asset, field) pairs that it depends on
    fields: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    column: int = 0
    y: float = 0.0
    # A gap that lines pass through on their way to a later column; nothing is drawn for it.
    lane: bool = False

    @property
    def x(self) -> float:
        """The left edge."""
        return MARGIN + self.column * (WIDTH + GAP_X)

    @property
    def height(self) -> float:
        """Of the whole card, or of the gap."""
        if self.lane:
            return 0
        return HEAD + (ROW * len(self.fields) + PAD if self.fields else 0)

    def port(self, name: str | None) -> float:
        """The height at which the lines of a field, or of the whole asset, begin and end."""
        if self.lane:
            return self.y
        if name is None or name not in self.fields:
            return self.y + HEAD / 2
        return self.y + HEAD + ROW * list(self.fields).index(name) + ROW / 2


def read_cards() -> dict[str, Card]:
    """The assets of the retrofitted example, upstream first."""
    plan = mxd.plan_definitions(import_module("digits.definitions").defs)
    specs = {spec.key.to_user_string(): spec for spec in (asset.spec for asset in plan.assets)}
    features = {asset.key.to_user_string(): asset.feature for asset in plan.assets}
    carrier = {feature: asset for asset, feature in features.items()}
    cards: dict[str, Card] = {}

    def add(asset: str) -> None:
        feature = features[asset]
        upstream = sorted(dep.asset_key.to_user_string() for dep in specs[asset].deps)
        for up in upstream:
            add(up)
        card = Card(asset, feature and str(feature), tuple(upstream))
        for one in plan.graph.plan(feature).fields if feature else ():
            pairs = ((carrier[parent.feature], str(parent.field)) for parent in one.parents)
            card.fields[str(one.key)] = tuple(pairs)
        cards.setdefault(asset, card)

    for asset in sorted(specs):
        add(asset)
    return cards


def with_lanes(cards: Mapping[str, Card]) -> dict[str, Card]:
    """The cards in columns by distance from the roots, and a lane where a line passes a column."""
    for card in cards.values():
        card.column = max((cards[up].column + 1 for up in card.upstream), default=0)
    slots = dict(cards)
    for card in cards.values():
        for up in card.upstream:
            for column in range(cards[up].column + 1, card.column):
                name = lane_name(up, column)
                before = lane_name(up, column - 1)
                before = before if before in slots else up
                slots.setdefault(name, Card(name, None, (before,), column=column, lane=True))
    return slots


def lane_name(asset: str, column: int) -> str:
    """Lines that leave one asset share their lane."""
    return f"{asset} through {column}"


def arrange(slots: Mapping[str, Card]) -> tuple[float, float]:
    """Place the columns, each ordered by where its upstream is; gives the size of the picture."""
    columns: dict[int, list[Card]] = {}
    for card in slots.values():
        columns.setdefault(card.column, []).append(card)
    heights = {n: sum(c.height + GAP_Y for c in column) - GAP_Y for n, column in columns.items()}
    tallest = max(heights.values())
    for number, column in sorted(columns.items()):
        column.sort(key=lambda card: (mean_port(card, slots), card.asset))
        y = MARGIN + (tallest - heights[number]) / 2
        for card in column:
            card.y = y
            y += card.height + GAP_Y
    return MARGIN * 2 + len(columns) * (WIDTH + GAP_X) - GAP_X, MARGIN * 2 + tallest


def mean_port(card: Card, slots: Mapping[str, Card]) -> float:
    """Where the lines come from, on average."""
    ports = [slots[asset].port(name) for asset, name in parents(card)]
    return sum(ports) / len(ports) if ports else 0.0


def parents(card: Card) -> Iterator[tuple[str, str | None]]:
    """The upstream fields of a feature, the upstream assets of a plain asset."""
    if card.fields:
        yield from (parent for pairs in card.fields.values() for parent in pairs)
    else:
        yield from ((asset, None) for asset in card.upstream)


def colour_of(asset: str, name: str, cards: Mapping[str, Card]) -> str:
    """The colour of the root field that a field comes from."""
    above = cards[asset].fields[name]
    if not above:
        return COLOURS.get(name, MIXED)
    colours = {colour_of(*parent, cards) for parent in above}
    return colours.pop() if len(colours) == 1 else MIXED


def curve(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool) -> str:
    """A line that leaves and arrives level."""
    middle = (x1 + x2) / 2
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    return (
        f'<path d="M{x1:g},{y1:g} C{middle:g},{y1:g} {middle:g},{y2:g} {x2:g},{y2:g}" '
        f'fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>'
    )


def draw_lines(card: Card, slots: Mapping[str, Card]) -> Iterator[str]:
    """The lines that end at a card: of fields, solid; of plain assets, dashed."""
    for name, pairs in card.fields.items():
        for up, up_name in pairs:
            begin = slots[up].x + WIDTH, slots[up].port(up_name)
            colour = colour_of(up, up_name, slots)
            yield curve(*begin, card.x, card.port(name), colour, dashed=False)
    if not card.fields:
        for up in card.upstream:
            before = slots.get(lane_name(up, card.column - 1), slots[up])
            begin = before.x + WIDTH, before.port(None)
            yield curve(*begin, card.x, card.port(None), PLAIN, dashed=True)
    if card.lane:
        level = card.port(None)
        yield curve(card.x, level, card.x + WIDTH, level, PLAIN, dashed=True)


def draw_card(card: Card, cards: Mapping[str, Card]) -> Iterator[str]:
    """The box of one asset, with a dot of the right colour before each field."""
    x, y = card.x, card.y
    stroke = INK if card.feature else PLAIN
    size = f'width="{WIDTH}" height="{card.height:g}" rx="9"'
    paint = f'fill="#ffffff" stroke="{stroke}" stroke-width="1.2"'
    yield f'<rect x="{x:g}" y="{y:g}" {size} {paint}/>'
    yield text(x + 14, y + 21, card.asset, INK, size=14, weight=600)
    yield text(x + 14, y + 39, card.feature or "plain asset", FAINT, size=12)
    for name in card.fields:
        colour, port = colour_of(card.asset, name, cards), card.port(name)
        yield f'<circle cx="{x + 18:g}" cy="{port:g}" r="4" fill="{colour}"/>'
        yield text(x + 30, port + 4.5, name, INK, size=13)


def text(x: float, y: float, words: str, colour: str, *, size: int, weight: int = 400) -> str:
    """Words on one line."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(words)}</text>'
    )


def draw(cards: Mapping[str, Card]) -> str:
    """The whole picture."""
    slots = with_lanes(cards)
    width, height = arrange(slots)
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" role="img">',
        "<title>Assets, features and fields of examples/digits</title>",
        f'<rect width="{width:g}" height="{height:g}" rx="12" fill="#f8fafc"/>',
    ]
    for card in slots.values():
        lines += draw_lines(card, slots)
    for card in cards.values():
        lines += draw_card(card, cards)
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Draw to the file named on the command line."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "lineage.svg"
    path.write_text(draw(read_cards()), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
