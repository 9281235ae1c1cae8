"""Modules, layers, losses and what works on them, under the names of ``torch.nn``."""

import sys

from minigrad.core.layers import GELU, Dropout, LayerNorm, LearnedPositions, Linear, ModuleList
from minigrad.core.module import Module, Parameter
from minigrad.nn import functional, init, parallel, utils
from minigrad.nn.activations import (
    CELU,
    ELU,
    GLU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from minigrad.nn.containers import Identity, ModuleDict, ParameterDict, ParameterList, Sequential
from minigrad.nn.convolution import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    MaxPool1d,
    MaxPool2d,
)
from minigrad.nn.efficient_attention import LinformerAttention, LongformerAttention, PerformerAttention
from minigrad.nn.embedding import Embedding
from minigrad.nn.layers import (
    Bilinear,
    ConstantPad1d,
    ConstantPad2d,
    CosineSimilarity,
    Dropout1d,
    Dropout2d,
    Flatten,
    PairwiseDistance,
    ReflectionPad1d,
    ReplicationPad1d,
    RMSNorm,
    Unflatten,
    Upsample,
    ZeroPad1d,
    ZeroPad2d,
)
from minigrad.nn.lazy import (
    LazyBatchNorm1d,
    LazyBatchNorm2d,
    LazyConv1d,
    LazyConv2d,
    LazyConvTranspose1d,
    LazyConvTranspose2d,
    LazyInstanceNorm1d,
    LazyInstanceNorm2d,
    LazyLinear,
    UninitializedParameter,
)
from minigrad.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MarginRankingLoss,
    MSELoss,
    NLLLoss,
    PoissonNLLLoss,
    SmoothL1Loss,
    SoftMarginLoss,
    TripletMarginLoss,
)
from minigrad.nn.multihead import MultiheadAttention
from minigrad.nn.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm1d, InstanceNorm2d
from minigrad.nn.parallel import DataParallel
from minigrad.nn.positions import ALiBi, RelativeBuckets, RotaryPositions, SinusoidalPositions
from minigrad.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from minigrad.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "GRU", "LSTM", "RNN", "SELU", "ALiBi", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d",
    "AvgPool1d", "AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Bilinear",
    "ConstantPad1d", "ConstantPad2d", "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d",
    "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "DataParallel", "Dropout", "Dropout1d",
    "Dropout2d", "Embedding", "Flatten", "GRUCell", "GaussianNLLLoss", "GroupNorm", "Hardshrink", "Hardsigmoid",
    "Hardswish", "Hardtanh", "HingeEmbeddingLoss", "HuberLoss", "Identity", "InstanceNorm1d", "InstanceNorm2d",
    "KLDivLoss", "L1Loss", "LSTMCell", "LayerNorm", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyConv1d",
    "LazyConv2d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyLinear", "LeakyReLU", "LearnedPositions", "Linear", "LinformerAttention", "LogSigmoid", "LogSoftmax",
    "LongformerAttention", "MSELoss", "MarginRankingLoss", "MaxPool1d", "MaxPool2d", "Mish", "Module", "ModuleDict",
    "ModuleList", "MultiheadAttention", "NLLLoss", "PReLU", "PairwiseDistance", "Parameter", "ParameterDict",
    "ParameterList", "PerformerAttention", "PoissonNLLLoss", "RMSNorm", "RNNCell", "ReLU", "ReLU6",
    "ReflectionPad1d", "RelativeBuckets", "ReplicationPad1d", "RotaryPositions", "Sequential", "SiLU", "Sigmoid",
    "SinusoidalPositions", "SmoothL1Loss", "SoftMarginLoss", "Softmax", "Softmin", "Softplus", "Softshrink",
    "Softsign", "Tanh", "Tanhshrink", "Threshold", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
    "TransformerEncoder", "TransformerEncoderLayer", "TripletMarginLoss", "Unflatten", "UninitializedParameter",
    "Upsample", "ZeroPad1d", "ZeroPad2d", "functional", "init", "modules", "parallel", "utils",
]  # fmt: skip

modules = sys.modules[__name__]  # ``nn.modules.activation.ReLU``: PyTorch's files of layers are all one here
