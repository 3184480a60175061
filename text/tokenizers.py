"""Texts to tokens: tokenizers by name, and what may be done to a text before (or to its tokens after)."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version

from core.errors import UserError

Split = Callable[[str], list[str]]

REMEMBERED = 1 << 17
LONG = 32
"""How many words are remembered with their tokens at most, and characters of such a word."""
CLOSING = re.compile(r"[\])}>\"'»”’\s]*")
"""What may follow the last full stop of a text."""
PLAIN = re.compile(r"([^\W_]+)([^\w\s]{0,8})")
"""A word of letters and digits with signs behind it: the rules look at these signs alone."""
CONTRACTED = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})
"""The only words of letters that the rules split."""


@cache
def versions() -> dict[str, str]:
    """The versions of the packages that decide how texts are split, where installed."""
    found = {}
    for package in ("nltk", "jieba", "ftfy", "scikit-learn"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def tokenizer(name: str) -> Split:
    """The function that splits a text. UserError where the package it needs is not installed."""
    return TOKENIZERS[name]()


def preprocessor(names: Sequence[str]) -> Callable[[str], str]:
    """The function that applies the steps on texts among `names`, in their order."""
    steps = [TEXT_STEPS[name]() for name in names if name in TEXT_STEPS]

    def apply(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return apply


@cache
def stop_words() -> frozenset[str]:
    """English (the list of scikit-learn) and Chinese words that say little."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # late: costs about a second

    return ENGLISH_STOP_WORDS | CHINESE_STOP_WORDS


def _nltk() -> Split:
    """Word by word, each looked at once: the rules see no further than the spaces around a word, but for signs that may
    follow the last full stop.
    """
    from nltk.tokenize.destructive import NLTKWordTokenizer  # late: costs about a second

    whole: Split = NLTKWordTokenizer().tokenize

    def fresh(word: str, begins: bool, ends: bool) -> list[str]:
        """The tokens of a word between two others, unless it begins or ends the text."""
        found = whole(f"{'' if begins else 'x '}{word}{'' if ends else ' x'}")
        return found[not begins : len(found) - (not ends)]

    remembered = lru_cache(REMEMBERED)(fresh)

    def tokens_of(word: str, begins: bool = False, ends: bool = False) -> list[str]:
        plain = PLAIN.fullmatch(word)
        if plain is None or plain[1].lower() in CONTRACTED:
            return (remembered if len(word) <= LONG else fresh)(word, begins, ends)
        first, *others = remembered("x" + plain[2], begins, ends)
        return [plain[1] + first[1:], *others]

    def tokenize(text: str) -> list[str]:
        words = [word for word in text.split(" ") if word]
        begins, last = text[:1] != " ", len(words) - 1
        while last > 0 and CLOSING.fullmatch(words[last]):
            last -= 1
        if last <= 0:
            return [*tokens_of(" ".join(words), begins, ends=True)]
        tokens = [*tokens_of(words[0], begins)]
        for word in words[1:last]:
            if word.isalnum() and word.lower() not in CONTRACTED:  # most words, at a fifth of the time
                tokens.append(word)
            else:
                tokens += tokens_of(word)
        return tokens + tokens_of(" ".join(words[last:]), ends=True)

    return tokenize


def _regex() -> Split:
    tokenize: Split = re.compile(r"\w+|[^\w\s]").findall
    return tokenize


def _jieba() -> Split:
    try:
        import jieba
    except ImportError:
        raise UserError(
            "training_params.tokenizer: jieba is not installed. Use: pip install 'jieba>=0.42', or another tokenizer "
            f"({', '.join(name for name in TOKENIZERS if name != 'jieba')})."
        ) from None
    jieba.setLogLevel("WARNING")
    return lambda text: [token for token in jieba.lcut(text) if not token.isspace()]


def _unicode_fix() -> Callable[[str], str]:
    import ftfy  # late: only who asks for it pays

    fix: Callable[[str], str] = ftfy.fix_text
    return fix


def _half_width() -> Callable[[str], str]:
    table = {0x3000: 0x20, **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}}
    return lambda text: text.translate(table)


TOKENIZERS: dict[str, Callable[[], Split]] = {
    "nltk": _nltk,
    "whitespace": lambda: str.split,
    "regex": _regex,
    "jieba": _jieba,
}
"""nltk: the Treebank rules; whitespace; regex: runs of letters and digits, other signs one by one; jieba: Chinese."""
TEXT_STEPS: dict[str, Callable[[], Callable[[str], str]]] = {
    "DBC2SBC": _half_width,
    "unicode_fix": _unicode_fix,
    "lowercase": lambda: str.lower,
}
"""DBC2SBC: full-width characters to half-width; unicode_fix: mend broken Unicode; lowercase."""
REMOVE_STOP_WORDS = "remove_stopwords"
"""The step on tokens: drop the stop words."""
PREPROCESSING = (*TEXT_STEPS, REMOVE_STOP_WORDS)

CHINESE_STOP_WORDS = frozenset(
    "的了着过地得之是在有和与及或而且但并也都就又还再则却所以我你他她它这那哪谁吗呢吧啊呀嘛哦把被对从向到于由为给让使上下里中"
) | frozenset(
    re.findall("..", "但是并且因为所以如果虽然我们你们他们她们它们自己这个那个这些那些这里那里什么哪个怎么对于")
)
