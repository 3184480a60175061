"""Texts to tokens: tokenizers by name, and what may be done to a text before (or to its tokens after)."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from core.errors import UserError

Split = Callable[[str], list[str]]


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
    from nltk.tokenize.destructive import NLTKWordTokenizer  # late: costs about a second

    tokenize: Split = NLTKWordTokenizer().tokenize
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
