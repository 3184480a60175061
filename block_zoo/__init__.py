"""The catalogue of blocks: importing it fills BLOCKS and CHAR_EMBEDDINGS."""

from block_zoo.attention import Attention
from block_zoo.base import BLOCKS, CHAR_EMBEDDINGS, Block
from block_zoo.bi_gru import BiGRU
from block_zoo.bi_gru_last import BiGRULast
from block_zoo.bi_lstm import BiLSTM
from block_zoo.bi_lstm_att import BiLSTMAtt
from block_zoo.bi_lstm_last import BiLSTMLast
from block_zoo.bi_qrnn import BiQRNN
from block_zoo.cnn_char_embedding import CNNCharEmbedding
from block_zoo.combination import Combination
from block_zoo.concat2d import Concat2D
from block_zoo.concat3d import Concat3D
from block_zoo.conv import Conv
from block_zoo.conv_pooling import ConvPooling
from block_zoo.depthwise_conv import DepthwiseConv
from block_zoo.dropout import Dropout
from block_zoo.embedding import Embedding
from block_zoo.encoder_decoder import EncoderDecoder
from block_zoo.feed_forward import FeedForward
from block_zoo.flatten import Flatten
from block_zoo.highway_linear import HighwayLinear
from block_zoo.layer_norm import LayerNorm
from block_zoo.linear import Linear
from block_zoo.linear_attention import LinearAttention
from block_zoo.lstm_char_embedding import LSTMCharEmbedding
from block_zoo.match_attention import MatchAttention
from block_zoo.math_ops import Add2D, Add3D, ElementWisedMultiply2D, ElementWisedMultiply3D, Minus2D, Minus3D
from block_zoo.multi_head_attention import MultiHeadAttention
from block_zoo.pooling import Pooling
from block_zoo.position_embedding import PositionEmbedding
from block_zoo.transformer import Transformer

__all__ = [
    "BLOCKS",
    "CHAR_EMBEDDINGS",
    "Add2D",
    "Add3D",
    "Attention",
    "BiGRU",
    "BiGRULast",
    "BiLSTM",
    "BiLSTMAtt",
    "BiLSTMLast",
    "BiQRNN",
    "Block",
    "CNNCharEmbedding",
    "Combination",
    "Concat2D",
    "Concat3D",
    "Conv",
    "ConvPooling",
    "DepthwiseConv",
    "Dropout",
    "ElementWisedMultiply2D",
    "ElementWisedMultiply3D",
    "Embedding",
    "EncoderDecoder",
    "FeedForward",
    "Flatten",
    "HighwayLinear",
    "LSTMCharEmbedding",
    "LayerNorm",
    "Linear",
    "LinearAttention",
    "MatchAttention",
    "Minus2D",
    "Minus3D",
    "MultiHeadAttention",
    "Pooling",
    "PositionEmbedding",
    "Transformer",
]
