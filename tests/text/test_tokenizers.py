import random
import re
import sys

import pytest
from nltk import word_tokenize

from core.errors import UserError
from core.types import Row
from text import tokenizers
from text.input_plan import InputPlan
from text.readers import RowFile
from text.token_splitter import TokenSplitter
from text.tokenizers import PREPROCESSING, TOKENIZERS, preprocessor, stop_words, tokenizer

TEXTS = [
    "They'll save and invest more.", "hi, my name can't hello,", "Good muffins cost $3.88\nin New York.",
    "cannot gimme a 'tis shoot-'em-up (well) [so] -- now", "I'd've gone... wouldn't you?", "50% of 1,000 e.g. Mr. Smith's", "",
]  # fmt: skip


@pytest.fixture(autouse=True)
def fresh():
    tokenizers.tokenizer.cache_clear()


@pytest.mark.parametrize("text", TEXTS)
def test_nltk_gives_what_nltk_gives(text):
    assert tokenizer("nltk")(text) == word_tokenize(text, preserve_line=True)


def test_nltk_gives_what_nltk_gives_for_any_signs_one_after_the_other():
    signs = [
        *"ab9 .,:'\"`()[]{}<>»”’«“‘„-?!*$%&;@_\t\né\u00a0\u2013",
        " ",
        " ",
        "''",
        "``",
        "--",
        "...",
        "'s",
        "n't",
        "'ll",
        "'d",
    ]
    signs += ["cannot", "Can", "not", "gonna", "wanna", "d'ye", "more'n", "'tis", "'TWAS", "re", "ve", "word", "x" * 40]
    split, draw = tokenizer("nltk"), random.Random(3)
    for _ in range(4000):
        text = "".join(draw.choices(signs, k=draw.randint(1, 14)))
        assert split(text) == word_tokenize(text, preserve_line=True), text


def test_nltk_gives_what_nltk_gives_for_real_texts(real_data):
    texts = [text for row in RowFile(real_data / "GLUE" / "MRPC" / "dev.tsv", {}) for text in row.cells.values()]
    assert len(texts) > 800
    for text in texts:
        assert tokenizer("nltk")(text) == word_tokenize(text, preserve_line=True)


def test_nltk_follows_the_treebank_rules():
    text = "They'll save and invest more than $3.88, won't they?"  # by the published conventions of the Treebank
    wanted = "They 'll save and invest more than $ 3.88 , wo n't they ?"
    assert tokenizer("nltk")(text) == wanted.split()


def test_whitespace_keeps_what_stands_between_any_spaces():
    assert tokenizer("whitespace")(" a\tb\u00a0c\u3000d \n e,f ") == ["a", "b", "c", "d", "e,f"]


def test_regex_separates_runs_of_letters_and_digits_from_single_signs():
    assert tokenizer("regex")("It's 3.5%, naïve_x!? 東京") == [
        "It", "'", "s", "3", ".", "5", "%", ",", "naïve_x", "!", "?", "東京",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["nltk", "whitespace", "regex"])
def test_no_tokenizer_makes_a_token_with_space_or_loses_a_letter(name):
    rng = random.Random(3)
    for _ in range(300):
        text = "".join(rng.choices("abcXYZ019 .,;\té東", k=rng.randint(0, 30)))
        tokens = tokenizer(name)(text)
        assert all(tokens) and not any(re.search(r"\s", token) for token in tokens)
        assert "".join(tokens) == "".join(text.split())


def test_jieba_cuts_chinese_and_drops_space():
    jieba = pytest.importorskip("jieba")
    text = "我来到 北京清华大学"
    assert tokenizer("jieba")(text) == [token for token in jieba.cut(text) if token.strip()]
    assert tokenizer("jieba")("我来到北京清华大学") == ["我", "来到", "北京", "清华大学"]  # the example of its README


def test_a_tokenizer_that_is_not_installed_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(UserError) as raised:
        tokenizer("jieba")
    assert str(raised.value) == (
        "training_params.tokenizer: jieba is not installed. Use: pip install 'jieba>=0.42', or another tokenizer "
        "(nltk, whitespace, regex)."
    )


def test_every_tokenizer_and_step_has_a_name():
    assert set(TOKENIZERS) == {"nltk", "whitespace", "regex", "jieba"}
    assert set(PREPROCESSING) == {"DBC2SBC", "unicode_fix", "lowercase", "remove_stopwords"}


@pytest.mark.parametrize(
    ("steps", "text", "wanted"),
    [
        ([], "Ａ Ｂ", "Ａ Ｂ"),
        (["lowercase"], "Ab ÉДz", "ab éдz"),
        (["DBC2SBC"], "Ａｂ１！～\u3000（x）", "Ab1!~ (x)"),
        (["unicode_fix"], "sÃ© âœ”", "sé ✔"),
        (["DBC2SBC", "lowercase"], "ＡＢc", "abc"),
        (["remove_stopwords"], "the Cat", "the Cat"),  # works on tokens
    ],
)
def test_each_step_does_what_it_says(steps, text, wanted):
    assert preprocessor(steps)(text) == wanted


def split(text, **options):
    plan = InputPlan(branches={"s": ["text"]}, kinds={"text": "word"}, **options)
    tokens, errors = TokenSplitter(plan).split([Row(1, {"text": text})])
    return [tokens["text"].words[at] for at in tokens["text"].index.values], errors[0]


def test_stop_words_are_dropped_in_any_case_and_language():
    assert {"the", "of", "的", "但是"} <= stop_words()
    assert split("The cat of THE house", preprocessing=["remove_stopwords"]) == (["cat", "house"], "")
    assert split("Cats are The best", preprocessing=["remove_stopwords", "lowercase"]) == (["cats", "best"], "")
    assert split("The of", preprocessing=["remove_stopwords"]) == ([], "text has no words left after preprocessing.")


def test_steps_come_before_the_tokenizer():
    assert split("Ａ，Ｂ", tokenizer="nltk", preprocessing=["DBC2SBC", "lowercase"]) == (["a", ",", "b"], "")


@pytest.mark.parametrize(("text", "said"), [("", "text is empty."), (" \t", "text is empty."), ("a", "")])
def test_a_text_without_words_is_an_error(text, said):
    assert split(text)[1] == said


def test_real_sentences_are_split_as_nltk_does(real_data):
    path = real_data / "GLUE" / "SST-2" / "dev.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")[1:201]
    plan = InputPlan(branches={"s": ["text"]}, kinds={"text": "word"}, tokenizer="nltk")
    rows = list(RowFile(path, {"text": "sentence", "label": "label"}))[:200]
    tokens, errors = TokenSplitter(plan).split(rows)
    found = tokens["text"]
    assert errors == [""] * 200
    for at, line in enumerate(lines):
        start, end = found.index.offsets[at : at + 2]
        words = [found.words[word] for word in found.index.values[start:end]]
        assert words == word_tokenize(line.split("\t")[0], preserve_line=True)
