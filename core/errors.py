"""What goes wrong by a user's hand: one clear sentence with its place, exit code 2, no stack trace."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SHOWN = 50
"""Names that a message lists at most: all blocks of the catalogue, but not all labels of a wrong column."""


class UserError(Exception):
    """A mistake in what we were given (config, data, run folder, machine); the doors print it and exit with code 2."""


class SettingError(ValueError):
    """What is wrong with one of several settings: `path` is its place among them, such as `.weights[2]`."""

    def __init__(self, path: str, sentence: str) -> None:
        self.path = path
        super().__init__(sentence)


@contextmanager
def inside(place: str) -> Iterator[None]:
    """What is wrong with what stands at this place, or is named there, told of the settings around it."""
    try:
        yield
    except (ValueError, UserError) as error:
        raise SettingError(place + (error.path if isinstance(error, SettingError) else ""), str(error)) from error


@dataclass(frozen=True)
class Finding:
    """One thing that a check found in a config: where (`architecture[1].conf.hidden_dim`) and what, in one sentence."""

    path: str
    message: str

    @classmethod
    def of(cls, error: ValueError, path: str) -> "Finding":
        """What is wrong with the settings at a path, or with one of them."""
        return cls(path + (error.path if isinstance(error, SettingError) else ""), str(error))

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(UserError):
    """Everything that is wrong with one config, in the order of its paths."""

    def __init__(self, source: str, findings: Iterable[Finding]) -> None:
        self.source = source
        self.findings = list(dict.fromkeys(findings))
        count = len(self.findings)
        lines = [f"{source}: {count} problem{'s' if count != 1 else ''}"]
        super().__init__("\n  ".join([*lines, *map(str, self.findings)]))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` when something known is close to `name`, else an empty string."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[close[0]]}'?" if close else ""


def known_names(names: Iterable[str]) -> str:
    """` Known: a, b, c.` in alphabetical order, fifty at most; ` There is none.` for no name."""
    names = sorted(names)
    if not names:
        return " There is none."
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f" Known: {', '.join(names[:_SHOWN])}{more}."
