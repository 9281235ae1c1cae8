"""Modules, layers, losses and what works on them, under the names of ``torch.nn``."""

from minigrad.nn import functional, init, utils
from minigrad.nn.activations import GELU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from minigrad.nn.attention import MultiheadAttention
from minigrad.nn.containers import Identity, ModuleDict, ModuleList, ParameterList, Sequential
from minigrad.nn.layers import Dropout, Embedding, Flatten, LayerNorm, Linear, RMSNorm
from minigrad.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from minigrad.nn.module import Module, Parameter
from minigrad.nn.positions import ALiBi, LearnedPositions, RelativeBuckets, RotaryPositions, SinusoidalPositions
from minigrad.nn.recurrent import GRU, LSTM, GRUCell, LSTMCell
from minigrad.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "GELU", "GRU", "LSTM", "ALiBi", "BCEWithLogitsLoss", "CrossEntropyLoss", "Dropout", "Embedding", "Flatten",
    "GRUCell", "Identity", "L1Loss", "LSTMCell", "LayerNorm", "LearnedPositions", "Linear", "LogSoftmax", "MSELoss",
    "Module", "ModuleDict", "ModuleList", "MultiheadAttention", "NLLLoss", "Parameter", "ParameterList", "RMSNorm",
    "ReLU", "RelativeBuckets", "RotaryPositions", "Sequential", "SiLU", "Sigmoid", "SinusoidalPositions", "Softmax",
    "Tanh", "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer", "functional", "init", "utils",
]  # fmt: skip
