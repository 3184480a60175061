"""Makes the data that ships: three small tasks that a model must learn word order for. Usage: python make_dataset.py

The same seed gives the same bytes. What each task is, and why counting words does not solve it, stands with its
function; README.md beside this file has the numbers.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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


def matching(random: random.Random, count: int) -> Iterator[list[str]]:
    """Which sentences answer the question? The columns of WikiQA, about five sentences for each question.

    A wrong sentence mostly has the very words of a right one, with the two people the other way round; active and
    passive are mixed in both. So neither the words of a sentence nor those it shares with the question tell it apart.
    """
    yield "QuestionID Question DocumentID DocumentTitle SentenceID Sentence Label".split()
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
    yield ["sentence", "label"]
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
    yield ["sentence1", "sentence2", "score"]
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


TASKS: dict[str, tuple[Callable[[random.Random, int], Iterator[list[str]]], int]] = {
    "demo_matching": (matching, 5000),
    "demo_classification": (classification, 1500),
    "demo_regression": (regression, 3000),
}
"""Folder -> its rows, and about how many of them for training."""


def make(folder: Path, seed: int = 1) -> None:
    """Write every file of every task; a row of a later file never stands in an earlier one of its task."""
    for task, (rows, count) in TASKS.items():
        seen: set[tuple[str, ...]] = set()
        for name, share in ROWS.items():
            path = folder / task / f"{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            header, *body = rows(random.Random(f"{seed} {task} {name}"), int(count * share))
            new = [row for row in body if _content(row) not in seen]
            seen |= set(map(_content, new))
            path.write_text("".join("\t".join(row) + "\n" for row in [header, *new]), encoding="utf-8", newline="\n")


def _content(row: Sequence[str]) -> tuple[str, ...]:
    """What a model sees of a row."""
    return (row[1], row[5]) if len(row) > 3 else tuple(row)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the data that ships.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where; by default this folder")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    make(options.folder, options.seed)


if __name__ == "__main__":
    main()
