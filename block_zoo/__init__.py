"""The catalogue of blocks: importing it fills BLOCKS and CHAR_EMBEDDINGS."""

from block_zoo.activation import Activation
from block_zoo.attention import Attention
from block_zoo.attentive_pooling import AttentivePooling
from block_zoo.base import BLOCKS, CHAR_EMBEDDINGS, Block
from block_zoo.bi_att_flow import BiAttFlow
from block_zoo.bi_gru import BiGRU
from block_zoo.bi_gru_last import BiGRULast
from block_zoo.bi_lstm import BiLSTM
from block_zoo.bi_lstm_att import BiLSTMAtt
from block_zoo.bi_lstm_last import BiLSTMLast
from block_zoo.bi_qrnn import BiQRNN
from block_zoo.bilinear_attention import BilinearAttention
from block_zoo.calculate_distance import CalculateDistance
from block_zoo.cnn_char_embedding import CNNCharEmbedding
from block_zoo.combination import Combination
from block_zoo.concat2d import Concat2D
from block_zoo.concat3d import Concat3D
from block_zoo.conv import Conv
from block_zoo.conv2d import Conv2D
from block_zoo.conv_pooling import ConvPooling
from block_zoo.crf import CRF
from block_zoo.depthwise_conv import DepthwiseConv
from block_zoo.dropout import Dropout
from block_zoo.embedding import Embedding
from block_zoo.encoder_decoder import EncoderDecoder
from block_zoo.exact_match import ExactMatch
from block_zoo.expand_plus import Expand_plus
from block_zoo.feed_forward import FeedForward
from block_zoo.flatten import Flatten
from block_zoo.full_attention import FullAttention
from block_zoo.fusion import Fusion
from block_zoo.gate import Gate
from block_zoo.highway_linear import HighwayLinear
from block_zoo.interaction import Interaction
from block_zoo.kernel_pooling import KernelPooling
from block_zoo.layer_norm import LayerNorm
from block_zoo.linear import Linear
from block_zoo.linear_attention import LinearAttention
from block_zoo.lstm_char_embedding import LSTMCharEmbedding
from block_zoo.match import Match
from block_zoo.match_attention import MatchAttention
from block_zoo.math_ops import Add2D, Add3D, ElementWisedMultiply2D, ElementWisedMultiply3D, Minus2D, Minus3D
from block_zoo.matrix_multiply import MatrixMultiply
from block_zoo.multi_head_attention import MultiHeadAttention
from block_zoo.multi_head_output import MultiHeadOutput
from block_zoo.pooling import Pooling
from block_zoo.pooling1d import Pooling1D
from block_zoo.pooling2d import Pooling2D
from block_zoo.position_embedding import PositionEmbedding
from block_zoo.pretrained_encoder import PretrainedEncoder
from block_zoo.residual import Residual
from block_zoo.seq2seq_attention import Seq2SeqAttention
from block_zoo.transformer import Transformer

__all__ = [
    "BLOCKS",
    "CHAR_EMBEDDINGS",
    "CRF",
    "Activation",
    "Add2D",
    "Add3D",
    "Attention",
    "AttentivePooling",
    "BiAttFlow",
    "BiGRU",
    "BiGRULast",
    "BiLSTM",
    "BiLSTMAtt",
    "BiLSTMLast",
    "BiQRNN",
    "BilinearAttention",
    "Block",
    "CNNCharEmbedding",
    "CalculateDistance",
    "Combination",
    "Concat2D",
    "Concat3D",
    "Conv",
    "Conv2D",
    "ConvPooling",
    "DepthwiseConv",
    "Dropout",
    "ElementWisedMultiply2D",
    "ElementWisedMultiply3D",
    "Embedding",
    "EncoderDecoder",
    "ExactMatch",
    "Expand_plus",
    "FeedForward",
    "Flatten",
    "FullAttention",
    "Fusion",
    "Gate",
    "HighwayLinear",
    "Interaction",
    "KernelPooling",
    "LSTMCharEmbedding",
    "LayerNorm",
    "Linear",
    "LinearAttention",
    "Match",
    "MatchAttention",
    "MatrixMultiply",
    "Minus2D",
    "Minus3D",
    "MultiHeadAttention",
    "MultiHeadOutput",
    "Pooling",
    "Pooling1D",
    "Pooling2D",
    "PositionEmbedding",
    "PretrainedEncoder",
    "Residual",
    "Seq2SeqAttention",
    "Transformer",
]
