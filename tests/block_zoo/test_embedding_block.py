from typing import Any

import pytest
import torch
from torch_twins import recurrent_twin

import core.conf
from block_zoo import CNNCharEmbedding, Embedding, LSTMCharEmbedding
from block_zoo.masking import length_mask
from block_zoo.ngrams import ngram_buckets
from core.types import Features, Spec

WORDS = Spec("BT", {"V": 10}, ids=True)
CHARS = Spec("BTK", {"V": 8}, ids=True)
QUESTION = Spec("BT", parts={"question_text": WORDS, "question_char": CHARS}, ids=True)
ANSWER = Spec("BT", {"T": 3}, parts={"answer_text": WORDS}, ids=True)
CHAR = {"cols": ["question_char"], "type": "CNNCharEmbedding", "dim": 3}
WORD = {"cols": ["question_text", "answer_text"], "dim": 4}
NGRAM = {"cols": ["answer_text"], "dim": 2}
LENGTHS = torch.tensor([2, 3])
MASK = length_mask(LENGTHS, 3)
IDS = torch.tensor([[3, 4, 0], [5, 3, 9]])
CHAR_IDS = torch.tensor([[[1, 2, 3, 4], [5, 0, 0, 0], [0, 0, 0, 0]], [[2, 2, 0, 0], [7, 6, 5, 0], [1, 0, 0, 0]]])


def read(**clusters):
    return core.conf.read(Embedding.Conf, clusters)


def test_columns_of_a_branch_stand_side_by_side_in_its_order():
    conf = read(char=CHAR, word=WORD)
    block: Any = conf.build(QUESTION, ANSWER).eval()
    branch = Features(IDS, MASK, LENGTHS, {"question_text": IDS, "question_char": CHAR_IDS})
    output = block(branch)
    table = block.tables["word_table"].weight
    torch.testing.assert_close(output.values[..., :4], table[IDS])
    torch.testing.assert_close(
        output.values[..., 4:], block.tables["char_table"](Features(CHAR_IDS, MASK, LENGTHS)).values
    )
    assert output.mask is MASK and output.lengths is LENGTHS


def test_size_is_the_sum_over_the_columns_of_the_branch_alone():
    conf = read(char=CHAR, word=WORD)
    assert str(conf.output_spec(QUESTION)) == "B x T x 7"
    assert str(conf.output_spec(ANSWER)) == "B x 3 x 4"


def test_the_ids_of_words_are_inner_states():
    conf = read(char=CHAR, word=WORD)
    assert conf.output_spec(QUESTION).parts == {"question_text": WORDS}
    branch = Features(IDS, MASK, LENGTHS, {"question_text": IDS, "question_char": CHAR_IDS})
    assert conf.build(QUESTION, ANSWER)(branch).parts == {"question_text": IDS}


def test_branches_share_the_table_of_a_cluster():
    block: Any = read(word=WORD).build(Spec("BT", parts={"question_text": WORDS}), ANSWER)
    assert [name for name, _ in block.named_parameters()] == ["tables.word_table.weight"]
    question = block(Features(IDS, MASK, LENGTHS, {"question_text": IDS})).values
    assert torch.equal(question, block(Features(IDS, MASK, LENGTHS, {"answer_text": IDS})).values)


def test_any_name_is_a_cluster_of_features():
    pos = Spec("BT", {"V": 5}, ids=True)
    conf = read(word=WORD, type={"cols": ["question_pos"], "dim": 2})
    branch = Spec("BT", parts={"question_text": WORDS, "question_pos": pos}, ids=True)
    assert conf.output_spec(branch).sizes["D"] == 6
    assert conf.build(branch).tables["type_table"].weight.shape == (5, 2)


@pytest.mark.parametrize(
    ("clusters", "complaint"),
    [
        ({"words": WORD}, "Did you mean 'word'"),
        ({"chars": {"cols": ["c"], "dim": 2}}, "Did you mean 'char'"),
        ({}, "names no cluster"),
        ({"word": WORD, "pos": {"cols": ["answer_text"], "dim": 2}}, "'answer_text' stands in cols more than once"),
        ({"char": CHAR | {"type": "CNNCharEmbeding"}}, "Did you mean 'CNNCharEmbedding'"),
        ({"char": CHAR | {"window_size": [2, 3]}}, "window_size has 2 entries, but dim has 1"),
        ({"char": CHAR | {"type": "LSTMCharEmbedding"}}, "dim must be even"),
        ({"word": WORD | {"dim": 0}}, "dim must be at least 1"),
        ({"word": WORD, "ngram": NGRAM | {"cols": ["answer_txt"]}}, "Did you mean 'answer_text'"),
        ({"word": WORD, "ngram": NGRAM | {"n": []}}, "n is empty"),
        ({"word": WORD, "ngrams": NGRAM}, "Did you mean 'ngram'"),
        (
            {"word": WORD, "bpe": {"cols": ["text_bpe"], "dim": 4, "bpe_path": "codes"}},
            "bpe is not read. Split the texts",
        ),
    ],
)
def test_clusters_that_cannot_be_are_refused(clusters, complaint):
    with pytest.raises(ValueError, match=complaint):
        read(**clusters)


def test_column_in_no_cluster_is_refused():
    with pytest.raises(ValueError, match=r"'question_char' stands in the cols of no cluster .*\. They have: q, a\.$"):
        read(word={"cols": ["q", "a"], "dim": 4}).output_spec(Spec("BT", parts={"question_char": CHARS}, ids=True))


def test_characters_in_a_word_cluster_are_refused():
    with pytest.raises(ValueError, match="expects B x T"):
        read(word={"cols": ["question_text", "question_char"], "dim": 4}).output_spec(QUESTION)


def test_pretrained_vectors_fill_the_rows_that_were_found():
    block: Any = read(word=WORD | {"fix_weight": True}).build(ANSWER)
    vectors, found = 0.1 * torch.randn(10, 4), torch.arange(10) % 2 == 1
    block.load_vectors("word", vectors, found)
    weight = block.tables["word_table"].weight
    assert torch.equal(weight[found], vectors[found])
    assert not weight[0].any()
    others = weight[~found][1:]
    assert others.any(1).all()
    assert others.abs().max() <= 3**0.5 * vectors[found].std(correction=0)
    assert not weight.requires_grad


def test_pretrained_vectors_of_another_size_are_refused():
    with pytest.raises(ValueError, match="have 5 features, but dim of cluster 'word' is 4"):
        read(word=WORD).build(ANSWER).load_vectors("word", torch.zeros(10, 5), torch.ones(10, dtype=torch.bool))


def test_fixed_character_embedding_does_not_learn():
    block: Any = read(word=WORD, char=CHAR | {"fix_weight": True}).build(QUESTION)
    assert not any(parameter.requires_grad for parameter in block.tables["char_table"].parameters())
    assert block.tables["word_table"].weight.requires_grad


def test_padding_row_is_zero_and_stays_so():
    block: Any = read(word=WORD, char=CHAR).build(QUESTION)
    branch = Features(IDS, None, None, {"question_text": IDS, "question_char": CHAR_IDS})
    block(branch).values.sum().backward()
    for table in (block.tables["word_table"], block.tables["char_table"].table):
        assert not table.weight[0].any() and not table.weight.grad[0].any()
        assert table.weight[1:].any(1).all()


def test_cnn_character_embedding_equals_a_loop_over_windows():
    conf = CNNCharEmbedding.Conf(dim=[3, 2], window_size=[2, 3], stride=[1, 2], activation="ReLU")
    block: Any = conf.build(CHARS)
    values = block(Features(CHAR_IDS, MASK, LENGTHS)).values
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            word = CHAR_IDS[row, t][CHAR_IDS[row, t] != 0]
            expected = []
            for conv, window, stride in zip(block.convs, (2, 3), (1, 2), strict=True):
                chars = block.table(word)
                chars = torch.cat([chars, chars.new_zeros(max(0, window - len(chars)), chars.shape[1])])
                starts = range(0, len(chars) - window + 1, stride)
                states = [torch.einsum("oew,we->o", conv.weight, chars[s : s + window]) + conv.bias for s in starts]
                expected.append(torch.stack(states).relu().amax(0))
            torch.testing.assert_close(values[row, t], torch.cat(expected))
    assert not values[~MASK].any()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_lstm_character_embedding_equals_torch_run_on_each_word(bidirectional):
    block: Any = LSTMCharEmbedding.Conf(dim=4, bidirect_flag=bidirectional).build(CHARS).eval()
    values, lstm = block(Features(CHAR_IDS, MASK, LENGTHS)).values, recurrent_twin([block.lstm])
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            word = CHAR_IDS[row, t][CHAR_IDS[row, t] != 0]
            _, (hidden, _) = lstm(block.table(word)[None])
            torch.testing.assert_close(values[row, t], hidden.flatten())
    assert not values[~MASK].any()


def test_texts_without_words_have_no_characters():
    empty = Features(torch.zeros(2, 1, 4, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.bool), torch.tensor([0, 0]))
    for conf in (LSTMCharEmbedding.Conf(dim=4), CNNCharEmbedding.Conf(dim=4)):
        values = conf.build(CHARS)(empty).values
        assert values.shape == (2, 1, 4) and not values.any()


def test_written_conf_has_the_defaults_of_the_character_embedding_and_reads_back():
    conf = read(char=CHAR)
    written = core.conf.to_json(conf)
    assert written["char"]["window_size"] == 3 and written["char"]["dim"] == 3
    assert core.conf.read(Embedding.Conf, written) == conf


def test_ngrams_of_a_token_are_the_mean_of_those_that_end_there():
    block: Any = read(word=WORD, ngram=NGRAM | {"n": [2, 3], "buckets": 1000}).build(ANSWER)
    ids = torch.tensor([[3, 4, 5, 6], [4, 5, 0, 0]])
    lengths = torch.tensor([4, 2])
    values = block(Features(ids, length_mask(lengths, 4), lengths, {"answer_text": ids})).values
    assert values.shape == (2, 4, 4 + 2)
    torch.testing.assert_close(values[..., :4], block.tables["word_table"](ids))

    def vector(*words: int) -> torch.Tensor:
        hashed = 0
        for word in words:
            hashed = (hashed * 116049371 + word) % (2**31 - 1)
        return block.ngrams.vectors.weight[hashed % 1000 + 1]

    nothing = torch.zeros(2)
    expected = [nothing, vector(3, 4), (vector(4, 5) + vector(3, 4, 5)) / 2, (vector(5, 6) + vector(4, 5, 6)) / 2]
    torch.testing.assert_close(values[0, :, 4:], torch.stack(expected))
    torch.testing.assert_close(values[1, :, 4:], torch.stack([nothing, vector(4, 5), nothing, nothing]))


def test_hashes_of_large_ids_are_those_of_exact_arithmetic():
    ids = [2**31 - 2, 2**30, 2**31 - 3, 7, 8]
    found = ngram_buckets(torch.tensor([ids]), [1, 2, 5], 10**9)[0].tolist()
    for t in range(5):
        for place, size in enumerate((1, 2, 5)):
            hashed = 0
            for word in ids[max(0, t + 1 - size) : t + 1]:
                hashed = (hashed * 116049371 + word) % (2**31 - 1)
            assert found[t][place] == (hashed % 10**9 + 1 if t + 1 >= size else 0)


def test_ngrams_spread_over_the_buckets():
    ids = torch.randint(1, 5000, (100, 200))
    found = ngram_buckets(ids, [2], 1000)[:, 1:]
    assert found.min() == 1 and found.max() == 1000
    assert found.flatten().bincount(minlength=1001)[1:].float().std() < 2 * (19900 / 1000) ** 0.5


def test_size_counts_the_ngrams_of_the_branches_that_have_them():
    conf = read(word=WORD, char=CHAR, ngram=NGRAM)
    assert conf.output_spec(QUESTION).sizes["D"] == 7
    assert conf.output_spec(ANSWER).sizes["D"] == 4 + 2
    assert list(conf.clusters) == ["word", "char"]
    assert core.conf.read(Embedding.Conf, core.conf.to_json(conf)) == conf
