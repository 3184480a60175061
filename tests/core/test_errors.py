"""Sentences for mistakes."""

from core.errors import known_names


def test_known_names_are_shown_in_alphabetical_order_but_not_without_end():
    assert known_names(["b", "a"]) == " Known: a, b."
    names = [f"{number:03}" for number in range(500)]
    assert known_names(names[:50]) == f" Known: {', '.join(names[:50])}."
    assert known_names(reversed(names)) == f" Known: {', '.join(names[:50])} and 450 more."
    assert known_names([]) == " There is none."
