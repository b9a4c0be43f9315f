"""Voice commands for a smart home, each with its intent: templates of `home-assistant-intents`, filled at random.

    pip install hassil==3.13.0 home-assistant-intents==2026.11.25
    python -m authored.make_intents

The templates are Apache-2.0, by the Home Assistant Authors. Their placeholders (names of rooms and devices, items,
messages) are filled with words from this project. The same packages and seed give the same file.
"""

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

SEED, PER_INTENT = 20261129, 20
TRIES = 400  # draws per intent; intents with fewer than PER_INTENT distinct commands keep all of them
FILE = Path(__file__).with_name("intents-mini.jsonl")

ROOMS = ["kitchen", "living room", "bedroom", "bathroom", "garage", "office", "hallway", "nursery", "basement", "attic"]
WORDS: dict[str, list[str]] = {
    "area": ROOMS,
    "floor": ["ground", "first", "second", "top"],
    "message": [
        "dinner is ready",
        "the taxi is here",
        "we leave in ten minutes",
        "lights out everyone",
        "school bus is here",
    ],
    "search_query": ["Miles Davis", "The Beatles", "Clair de Lune", "Abbey Road", "the morning news", "Take Five"],
    "zone": ["work", "school", "the gym", "home"],
    "timer_name": ["pasta", "egg", "laundry", "oven", "tea", "homework"],
    "timer_command": ["turn off the oven", "open the blinds", "lock the front door", "turn on the porch light"],
    "shopping_list_item": ["milk", "bananas", "washing powder", "coffee filters", "two loaves of bread", "olive oil"],
    "todo_list_item": ["call the plumber", "renew passport", "buy stamps", "clean the gutters", "book the dentist"],
}
NAMES: dict[str, list[str]] = {
    "binary_sensor": ["back door", "bathroom window", "motion sensor", "smoke alarm"],
    "button": ["doorbell", "restart button"],
    "climate": ["thermostat", "air conditioner", "bedroom heater"],
    "cover": ["garage door", "left blind", "patio awning", "bedroom curtains"],
    "fan": ["ceiling fan", "desk fan", "extractor fan"],
    "lawn_mower": ["mower", "lawn robot"],
    "light": ["ceiling light", "desk lamp", "porch light", "fairy lights"],
    "lock": ["front door", "cellar door", "garden gate"],
    "media_player": ["TV", "kitchen speaker", "record player", "soundbar"],
    "person": ["Anna", "Tom", "Grandma"],
    "scene": ["movie night", "party", "good morning", "reading"],
    "script": ["bedtime routine", "goodbye"],
    "todo": ["chores", "holiday", "packing", "repairs"],
    "vacuum": ["vacuum", "robot cleaner"],
    "valve": ["garden valve", "main water valve"],
    "weather": ["Lisbon", "Oslo", "home"],
}


def command(part: Any, rules: dict[str, Any], lists: dict[str, Any], names: list[str], draw: random.Random) -> str:
    """A random expansion of a parsed template."""
    from hassil.expression import Alternative, Group, ListReference, Permutation, RuleReference, TextChunk
    from hassil.intents import RangeSlotList, TextSlotList

    def read(part: Any) -> str:
        return command(part, rules, lists, names, draw)

    if isinstance(part, TextChunk):
        return part.original_text
    if isinstance(part, Alternative):
        return read(draw.choice(part.items))
    if isinstance(part, Permutation):
        return " ".join(map(read, draw.sample(part.items, len(part.items))))
    if isinstance(part, Group):
        return "".join(map(read, part.items))
    if isinstance(part, RuleReference):
        return read(rules[part.rule_name].expression)
    assert isinstance(part, ListReference), part
    if part.list_name == "name":
        return draw.choice(names)
    if part.list_name in WORDS:
        return draw.choice(WORDS[part.list_name])
    values = lists[part.list_name]
    if isinstance(values, RangeSlotList):
        return str(draw.randrange(max(values.start, 1), values.stop + 1, values.step))
    assert isinstance(values, TextSlotList), part.list_name
    return read(draw.choice(values.values).text_in)


def rows() -> list[dict[str, str]]:
    """Distinct commands, up to `PER_INTENT` per intent; commands that belong to several intents are left out."""
    from hassil.intents import Intents
    from home_assistant_intents import get_intents

    intents = Intents.from_dict(get_intents("en") or {})
    of_command: dict[str, set[str]] = defaultdict(set)
    drawn: dict[str, list[str]] = {}
    for intent in sorted(intents.intents):
        draw = random.Random(f"{SEED} {intent}")
        blocks = [block for block in intents.intents[intent].data if block.sentences]
        commands: dict[str, None] = {}  # used as an ordered set
        for _ in range(TRIES):
            block = draw.choice(blocks)  # sample blocks equally, regardless of their number of templates
            domains = (block.requires_context or {}).get("domain", [])
            names = [name for domain in domains for name in NAMES.get(domain, [])]
            rules = intents.expansion_rules | (block.expansion_rules or {})
            lists = intents.slot_lists | (block.slot_lists or {})
            text = command(draw.choice(block.sentences).expression, rules, lists, names, draw)
            commands[" ".join(text.split())] = None
        drawn[intent] = list(commands)
        for text in commands:
            of_command[text.lower()].add(intent)
    return [
        {"text": text, "intent": intent}
        for intent, commands in drawn.items()
        for text in [text for text in commands if len(of_command[text.lower()]) == 1][:PER_INTENT]
    ]


if __name__ == "__main__":
    FILE.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()), encoding="utf-8")
