from typing import Any

import pytest
import torch
from torch_twins import recurrent_twin

import core.conf
from block_zoo import EncoderDecoder
from block_zoo.masking import length_mask
from core.types import Features, Spec

SPEC = Spec("BTD", {"D": 4})
LENGTHS = torch.tensor([3, 5, 1])
CONF = {
    "encoder": "SLUEncoder",
    "encoder_conf": {"hidden_dim": 3, "dropout": 0.5, "num_layers": 1},
    "decoder": "SLUDecoder",
    "decoder_conf": {"hidden_dim": 6, "dropout": 0.5, "num_layers": 1, "decoder_emb_dim": 7},
}


def texts() -> Features:
    return Features(torch.randn(3, 5, 4), length_mask(LENGTHS, 5), LENGTHS)


def built(**decoder: int) -> Any:
    conf = CONF | {"decoder_conf": CONF["decoder_conf"] | decoder}  # type: ignore[operator]
    block = core.conf.read(EncoderDecoder.Conf, conf).resolved({"#target#": 4}, is_output=True).build(SPEC)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.7)  # far from ties of labels
    return block.eval()


def lstm_step(lstm: Any, layer: int, x: Any, state: Any, cell: Any) -> tuple[Any, Any]:
    gates = getattr(lstm, f"weight_ih_l{layer}") @ x + getattr(lstm, f"bias_ih_l{layer}")
    gates = gates + getattr(lstm, f"weight_hh_l{layer}") @ state + getattr(lstm, f"bias_hh_l{layer}")
    i, f, g, o = gates.chunk(4)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


@pytest.mark.parametrize("num_layers", [1, 2])
def test_logits_equal_the_equations_on_each_text_unpadded(num_layers):
    block, inputs = built(num_layers=num_layers), texts()
    output = block(inputs)
    assert output.mask is inputs.mask and output.lengths is inputs.lengths
    assert not output.values[~length_mask(LENGTHS, 5)].any()
    encoder = recurrent_twin(block.encoder.layers)
    for row, length in enumerate(LENGTHS.tolist()):
        encoded = encoder(inputs.values[row : row + 1, :length])[0][0]
        states = (block.begin.weight @ encoded[0, 3:] + block.begin.bias).tanh().view(num_layers, 6)
        cells, label = torch.zeros(num_layers, 6), block.table.weight[4]
        for t in range(length):
            query = block.query.weight @ states[-1] + block.query.bias
            scores = torch.stack([block.score.weight[0] @ (query + block.key.weight @ h).tanh() for h in encoded])
            x, stepped = torch.cat([label, encoded[t], scores.softmax(0) @ encoded]), []
            for layer in range(num_layers):
                stepped.append(lstm_step(block.lstm, layer, x, states[layer], cells[layer]))
                x = stepped[-1][0]
            states, cells = (torch.stack(parts) for parts in zip(*stepped, strict=True))
            logits = block.label.weight @ x + block.label.bias
            torch.testing.assert_close(output.values[row, t], logits, rtol=1e-4, atol=1e-4)
            label = block.table.weight[logits.argmax()]


def test_the_label_of_a_token_is_fed_to_the_next():
    block, inputs = built(), texts()
    before = block(inputs).values
    first = before[:, 0].argmax(-1)
    with torch.no_grad():
        block.table.weight[first] += 1
    after = block(inputs).values
    torch.testing.assert_close(after[:, 0], before[:, 0])
    assert not torch.allclose(after[:2, 1], before[:2, 1])


def test_output_is_logits():
    assert not torch.allclose(built()(Features(torch.randn(2, 3, 4))).values.logsumexp(-1), torch.zeros(2, 3), atol=0.1)


def test_labels_are_those_of_the_target_unless_their_number_is_given():
    conf = core.conf.read(EncoderDecoder.Conf, CONF)
    assert conf.resolved({"#target#": 9}, is_output=True).output_spec(SPEC) == Spec("BTD", {"D": 9})
    given = core.conf.read(EncoderDecoder.Conf, {"decoder_conf": {"decoder_vocab_size": 5}})
    assert given.resolved({"#target#": 9}, is_output=True).output_spec(SPEC).sizes["D"] == 5
    with pytest.raises(ValueError, match="needs decoder_vocab_size"):
        conf.output_spec(SPEC)


def test_dropout_is_on_what_labels_are_read_from():
    block = built()
    assert block.dropout.p == block.encoder.dropout.p == 0.5 and block.lstm.dropout == 0
    assert built(num_layers=2).lstm.dropout == 0.5
