"""Makes the data that ships: eight small tasks that a model must learn word order for. Usage: python make_dataset.py

The same seed gives the same bytes. What each task is, and why counting words does not solve it, stands with its
function; README.md beside this file has the numbers.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROWS = {"train": 1.0, "valid": 0.2, "test": 0.2}
"""The files of a task, and their sizes as shares of the training file."""

PEOPLE = "baker singer doctor farmer painter sailor teacher judge tailor miller hunter poet gardener nurse".split()
VERBS = "help visit follow warn thank call paint answer watch invite trust reward".split()
TIMES = ["In spring", "On Monday", "Last year", "That evening", "In May", "At noon", "Once", "Again and again"]
PLACES = ["in the village", "at the market", "near the bridge", "behind the church", "on the road", "at the harbour"]

THINGS = "soup bread service room view garden music film book story bed breakfast".split()
GOOD = "great lovely excellent fresh charming perfect wonderful pleasant".split()
BAD = "awful boring stale terrible noisy dull dreadful shabby".split()
PLAIN = "small long new old square wooden Italian early".split()

LIKE = [("big", "large"), ("child", "kid"), ("quick", "fast"), ("house", "home"), ("car", "automobile")]
SUBJECTS = ["child", "kid", "woman", "man", "cat", "dog", "horse"]
ACTIONS = ["sees", "chases", "likes", "finds", "avoids"]
KINDS = ["big", "large", "quick", "fast", "red", "old", "quiet"]
OBJECTS = ["house", "home", "car", "automobile", "ball", "tree", "bird"]

GIVEN = "anna tom maria paul julia david".split()
NAMES = "rose grant pearl cork bath orange shell lane hill stone bell wood page berry brook castle bridge reed".split()
FORMS = {
    "PER": ["{name}", "{given} {name}"],
    "LOC": ["{name}", "little {name}"],
    "ORG": ["{name}", "{name} & sons", "{given} {name} & sons"],
    "": ["the {name}", "a little {name}", "no {name}", "his old {name}"],
}
"""Type of an entity ("" = none) -> how it is spelled."""
CLAUSES = [
    ("PER", "smiled at", "PER"), ("PER", "flew to", "LOC"), ("PER", "was hired by", "ORG"), ("PER", "lost", ""),
    ("ORG", "hired", "PER"), ("ORG", "opened a shop in", "LOC"), ("ORG", "merged with", "ORG"), ("ORG", "sells", ""),
    ("LOC", "elected", "PER"), ("LOC", "lies south of", "LOC"), ("LOC", "taxed", "ORG"), ("LOC", "is known for", ""),
    ("", "belonged to", "PER"), ("", "was found near", "LOC"), ("", "was made by", "ORG"), ("", "lay beside", ""),
]  # fmt: skip
ASIDES = ["", "", "yesterday", "by the way", "of all things", ", as we heard ,"]

DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
CITIES = "rome, oslo, paris, lima, cairo, new york, cape town, san diego, delhi, quito".split(", ")
INTENTS = {"book": "BookTrip", "cancel": "CancelTrip", "change": "ChangeTrip"}
WISHES = [
    "please {do}", "i would like to {do}", "{do} , do not {other} ,", "do not {other} but {do}",
    "i want to {do} rather than {other}", "rather than {other} i want to {do}",
]  # fmt: skip
SLOTS = {
    "from_city": ["from", "starting in"], "to_city": ["to", "arriving in"],
    "day": ["on", "leaving on"], "return_day": ["back on", "returning on"],
}  # fmt: skip
"""Slot -> what stands before it."""

TOPICS = {
    "food": "soup bread dinner cake".split(),
    "music": "song concert choir band".split(),
    "sport": "match race team goal".split(),
    "travel": "flight hotel train beach".split(),
    "weather": "storm rain sunshine snow".split(),
}
SAID = ["we talked about {}", "everybody mentioned {}", "she wrote a lot on {}"]
DENIED = ["we never talked about {}", "nobody mentioned {}", "she did not write on {}"]

QUERIES = ["from {0} to {1} on {2}", "to {1} from {0} on {2}", "on {2} from {0} to {1}"]
JOURNEYS = [
    "the {2} boat from {0} to {1}", "a train to {1} leaves {0} on {2}", "on {2} you can fly to {1} from {0}",
    "from {0} there is a bus to {1} on {2}",
]  # fmt: skip

FULL_NAMES = "Anna Berg, Tom Lind, Maria Sand, Paul Holm, Julia Dahl, David Falk, Ida Strand, Karl Moe".split(", ")
YEARS = [str(year) for year in range(1900, 1912)]
EVENTS = {"moved to": "move", "studied in": "study", "married in": "marry"}
"""What a person did in a city -> how it is asked."""


def matching(random: random.Random, count: int) -> Iterator[list[str]]:
    """Which sentences answer the question? The columns of WikiQA, about five sentences for each question.

    A wrong sentence mostly has the very words of a right one, with the two people the other way round; active and
    passive are mixed in both. So neither the words of a sentence nor those it shares with the question tell it apart.
    """
    for number in range(1, count // 5 + 1):
        agent, patient, other = random.sample(PEOPLE, 3)
        verb = random.choice(VERBS)
        by_agent = random.random() < 0.3
        question = f"Whom did the {agent} {verb}?" if by_agent else f"Who {_past(verb)} the {patient}?"
        wrong = [(patient, verb, agent)] * 3
        if random.random() < 0.6:
            wrong[0] = (other, verb, patient) if by_agent else (agent, verb, other)
        facts = [((agent, verb, patient), "1")] * random.choice([1, 2, 2]) + [(fact, "0") for fact in wrong]
        random.shuffle(facts)
        for place, (fact, label) in enumerate(facts):
            document = f"D{number}"
            title = f"Letters from {random.choice(TIMES).lower()}"
            yield [f"Q{number}", question, document, title, f"{document}-{place}", _sentence(random, *fact), label]


def _sentence(random: random.Random, agent: str, verb: str, patient: str) -> str:
    passive = random.random() < 0.3
    fact = f"the {patient} was {_past(verb)} by the {agent}" if passive else f"the {agent} {_past(verb)} the {patient}"
    text = random.choice([f"{random.choice(TIMES)} {fact}", fact])
    text += random.choice(["", f" {random.choice(PLACES)}"])
    return f"{text[0].upper()}{text[1:]}."


def _past(verb: str) -> str:
    return verb + ("d" if verb.endswith("e") else "ed")


def classification(random: random.Random, count: int) -> Iterator[list[str]]:
    """Is the writer's verdict positive, negative or neutral? It is the part after "but", and "not" turns it round.

    Half of the sentences hold praise and blame at once, so the words alone leave the verdict open.
    """
    for _ in range(count):
        verdict = random.choice(["positive", "negative", "neutral"])
        text = _opinion(random, verdict)
        if random.random() < 0.6:
            first = random.choice([other for other in ("positive", "negative", "neutral") if other != verdict])
            text = f"{_opinion(random, first)} , but {text}"
        yield [f"{text} .", verdict]


def _opinion(random: random.Random, verdict: str) -> str:
    subject = f"the {random.choice(THINGS)}"
    if verdict == "neutral":
        return f"{subject} was {random.choice(['', 'not '])}{random.choice(PLAIN)}"
    said, meant_by_not = (GOOD, BAD) if verdict == "positive" else (BAD, GOOD)
    if random.random() < 0.5:
        return f"{subject} was not {random.choice(['', 'at all ', 'very '])}{random.choice(meant_by_not)}"
    return f"{subject} was {random.choice(['', 'very ', 'really '])}{random.choice(said)}"


def regression(random: random.Random, count: int) -> Iterator[list[str]]:
    """How alike are two sentences, from 0 (nothing in common) to 5 (the same meaning)?

    One point for each of the four places with the same meaning, half a point where only the place is another, and one
    if all four agree. "big" and "large" mean the same, and who does it matters: the cat sees the dog is not the
    dog sees the cat.
    """
    for _ in range(count):
        first = _scene(random)
        second = list(first)
        for place in random.sample(range(4), random.randint(0, 4)):
            second[place] = _scene(random)[place]
        if random.random() < 0.3:
            second[0], second[3] = first[3], first[0]
        second = [random.choice([word, _synonym(word)]) for word in second]
        yield [_tell(first), _tell(second), f"{_likeness(first, second):.1f}"]


def _scene(random: random.Random) -> list[str]:
    """Who does what to which kind of what."""
    return [random.choice(words) for words in (SUBJECTS, ACTIONS, KINDS, SUBJECTS + OBJECTS)]


def _tell(scene: Sequence[str]) -> str:
    return f"the {scene[0]} {scene[1]} the {scene[2]} {scene[3]}"


def _synonym(word: str) -> str:
    return next((b if word == a else a for a, b in LIKE if word in (a, b)), word)


def _likeness(first: Sequence[str], second: Sequence[str]) -> float:
    same = [b in (a, _synonym(a)) for a, b in zip(first, second, strict=True)]
    moved = [place in (0, 3) and second[3 - place] in (first[place], _synonym(first[place])) for place in range(4)]
    points = [1.0 if here else 0.5 * there for here, there in zip(same, moved, strict=True)]
    return sum(points) + all(same)


def tagging(random: random.Random, count: int) -> Iterator[list[str]]:
    """Which words name a person, a place or a company? Words, and their tags in BIO.

    Each name is also a thing ("the rose") and stands for all three types: the verb decides, and on which side of it the
    name stands. An aside may part the two.
    """
    for _ in range(count):
        tagged = _clause(random)
        if random.random() < 0.5:
            tagged += [("and", "O"), *_clause(random)]
        yield _columns([*tagged, (".", "O")])


def _clause(random: random.Random) -> list[tuple[str, str]]:
    subject, verb, object = random.choice(CLAUSES)
    between = _tagged(f"{random.choice(ASIDES)} {verb}")
    return [*_entity(random, subject), *between, *_entity(random, object)]


def _entity(random: random.Random, kind: str) -> list[tuple[str, str]]:
    form = random.choice(FORMS[kind])
    return _tagged(form.format(name=random.choice(NAMES), given=random.choice(GIVEN)), kind)


def _tagged(text: str, kind: str = "") -> list[tuple[str, str]]:
    """Words with their tags: one span of this kind, or none."""
    return [(word, f"{'I' if at else 'B'}-{kind}" if kind else "O") for at, word in enumerate(text.split())]


def _columns(tagged: Sequence[tuple[str, str]]) -> list[str]:
    """The words and the tags, with spaces between them."""
    return [" ".join(column) for column in zip(*tagged, strict=True)]


def joint(random: random.Random, count: int) -> Iterator[list[str]]:
    """What is to be done with which trip? Text, the slots that its words fill in BIO, and the intent.

    Most texts also name what is not to be done, and cities and days that are not meant ("to oslo , not rome") and fill
    no slot. Which slot a city or a day fills, the words before it say.
    """
    for _ in range(count):
        do, other = random.sample(list(INTENTS), 2)
        tagged = _tagged(f"{random.choice(WISHES).format(do=do, other=other)} the trip")
        unused = {"city": random.sample(CITIES, 4), "day": random.sample(DAYS, 4)}
        for slot in random.sample(list(SLOTS), random.randint(1, 3)):
            value, wrong = (unused[slot.split("_")[-1]].pop() for _ in range(2))
            before, after = random.choice([("", ""), (f"not {wrong} but", ""), ("", f", not {wrong}")])
            tagged += [*_tagged(f"{random.choice(SLOTS[slot])} {before}"), *_tagged(value, slot), *_tagged(after)]
        yield [*_columns(tagged), INTENTS[do]]


def multi_label(random: random.Random, count: int) -> Iterator[list[str]]:
    """What was talked about? None to three of five topics, with commas between them.

    Those that were not are named too, and a verb holds until "but" turns it round: "nobody mentioned the soup or the
    match but the song". So the words say which topics are named, not which of them are denied.
    """
    for _ in range(count):
        topics = random.sample(list(TOPICS), random.randint(1, 4))
        said = random.sample(topics, random.randint(0, min(3, len(topics))))
        text, before = "", None
        for topic in topics:
            now, thing = topic in said, f"the {random.choice(TOPICS[topic])}"
            if before is not None and random.random() < 0.6:
                link = ("and" if now else "or") if now == before else ("but" if now else "but not")
                text += f" {link} {thing}"
            else:
                text += (" , and " if text else "") + random.choice(SAID if now else DENIED).format(thing)
            before = now
        yield [f"{text} .", ",".join(sorted(said))]


def ranking(random: random.Random, count: int) -> Iterator[list[str]]:
    """How well does a journey fit a query, from 0 to 3? Six journeys for each query.

    3: start, end and day; 2: start and end; 1: start or end; 0: neither. The way back has all words of the query, but
    its relevance is 0.
    """
    for number in range(1, count // 6 + 1):
        start, end, other = random.sample(CITIES, 3)
        day, another = random.sample(DAYS, 2)
        query = random.choice(QUERIES).format(start, end, day)
        journeys = [
            (start, end, day, "3"), (start, end, another, "2"), (end, start, day, "0"), (end, start, another, "0"),
            (start, other, random.choice([day, another]), "1"), (other, end, random.choice([day, another]), "1"),
        ]  # fmt: skip
        random.shuffle(journeys)
        for *journey, relevance in journeys:
            yield [f"Q{number}", query, random.choice(JOURNEYS).format(*journey), relevance]


def reading(random: random.Random, count: int) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Who, where, when? A passage and five questions on it, each with its answer and where that begins ("", -1: none).

    A passage tells four things, mostly of two people and several in a sentence: four cities, four years to choose from.
    Two of the five questions ask what it does not tell; their words stand there too, but not together.
    """
    for _ in range(count // 5):
        told = [(person, event) for person in random.sample(FULL_NAMES, 2) for event in EVENTS]
        random.shuffle(told)
        passage, answered, unanswered = "", [], []
        for (who, event), city, when in zip(told[:4], random.sample(CITIES, 4), random.sample(YEARS, 4), strict=True):
            where, asked = city.title(), f"did {who} {EVENTS[event]}?"
            clause = random.choice(["{0} {1} {2} in {3}", "in {3} {0} {1} {2}"]).format(who, event, where, when)
            passage += random.choice([". ", ", and "]) if passage else ""
            answers = {f"Who {event} {where}?": who, f"Where {asked}": where, f"When {asked}": when}
            answered += [(asks, answer, len(passage) + clause.index(answer)) for asks, answer in answers.items()]
            passage += clause if passage.endswith(", and ") else clause[0].upper() + clause[1:]
            unanswered += [f"Who {other} {where}?" for other in EVENTS if other != event]
        for who, event in told[4:]:
            unanswered += [f"{word} did {who} {EVENTS[event]}?" for word in ("Where", "When")]
        questions = [*random.sample(answered, 3), *((question, "", -1) for question in random.sample(unanswered, 2))]
        random.shuffle(questions)
        yield f"{passage}.", questions


def table(*columns: str) -> Callable[[Sequence[Any]], str]:
    """Writes tab-separated values under a header."""

    def write(rows: Sequence[Any]) -> str:
        return "".join("\t".join(row) + "\n" for row in [columns, *rows])

    return write


def conll(rows: Sequence[Any]) -> str:
    """A line for each word with its tag, an empty one after each text."""
    texts = [zip(words.split(), tags.split(), strict=True) for words, tags in rows]
    return "".join("".join(f"{word} {tag}\n" for word, tag in text) + "\n" for text in texts)


def squad(rows: Sequence[Any]) -> str:
    """The JSON of SQuAD 2.0, a line for each passage."""
    articles = []
    for number, (passage, questions) in enumerate(rows, 1):
        asked = [
            {
                "id": f"P{number}-{at}",
                "question": question,
                "answers": [{"text": answer, "answer_start": begin}] if answer else [],
                "is_impossible": not answer,
            }
            for at, (question, answer, begin) in enumerate(questions, 1)
        ]
        articles.append({"title": f"P{number}", "paragraphs": [{"context": passage, "qas": asked}]})
    lines = ",\n".join(map(json.dumps, articles))
    return f'{{"version": "v2.0", "data": [\n{lines}\n]}}\n'


UNLABELLED = "unlabelled"
"""The part that has no labels."""


@dataclass(frozen=True)
class Task:
    """One folder of data.

    rows    makes about as many as it is told
    count   how many it is told for training
    write   makes the text of a file from them
    reads   places in a row of what a model sees
    suffix  of the files
    unlabelled  makes the text of a file of more rows, three times as many as for training, without what is right
    """

    rows: Callable[[random.Random, int], Iterator[Any]]
    count: int
    write: Callable[[Sequence[Any]], str]
    reads: tuple[int, ...] = (0,)
    suffix: str = "tsv"
    unlabelled: Callable[[Sequence[Any]], str] | None = None


MATCHING = "QuestionID Question DocumentID DocumentTitle SentenceID Sentence Label".split()
TASKS = {
    "demo_matching": Task(matching, 5000, table(*MATCHING), reads=(1, 5)),
    "demo_classification": Task(classification, 1500, table("sentence", "label"), unlabelled=table("sentence")),
    "demo_regression": Task(regression, 3000, table("sentence1", "sentence2", "score"), reads=(0, 1)),
    "demo_tagging": Task(tagging, 1500, conll, suffix="conll"),
    "demo_joint": Task(joint, 1500, table("text", "slots", "intent")),
    "demo_multi_label": Task(multi_label, 2000, table("text", "topics")),
    "demo_ranking": Task(ranking, 2400, table("query_id", "query", "document", "relevance"), reads=(1, 2)),
    "demo_reading": Task(reading, 1200, squad, suffix="json"),
}


def make(folder: Path, seed: int = 1) -> None:
    """Write every file of every task; what a model sees of a row never stands in an earlier file of its task."""
    for name, task in TASKS.items():
        seen: set[tuple[Any, ...]] = set()
        for part, share in {**ROWS, **({UNLABELLED: 3.0} if task.unlabelled else {})}.items():
            path = folder / name / f"{part}.{task.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = task.rows(random.Random(f"{seed} {name} {part}"), int(task.count * share))
            new = [row for row in rows if tuple(row[place] for place in task.reads) not in seen]
            seen |= {tuple(row[place] for place in task.reads) for row in new}
            if part == UNLABELLED and task.unlabelled is not None:
                text = task.unlabelled(sorted({tuple(row[place] for place in task.reads) for row in new}))
            else:
                text = task.write(new)
            path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the data that ships.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where; by default this folder")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    make(options.folder, options.seed)


if __name__ == "__main__":
    main()
