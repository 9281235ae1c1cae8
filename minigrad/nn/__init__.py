"""Modules, layers, losses and what works on them, under the names of ``torch.nn``."""

from minigrad.nn import functional, init, utils
from minigrad.nn.activations import GELU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from minigrad.nn.attention import MultiheadAttention
from minigrad.nn.containers import Identity, ModuleDict, ModuleList, ParameterList, Sequential
from minigrad.nn.layers import Dropout, Embedding, Flatten, LayerNorm, Linear, RMSNorm
from minigrad.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from minigrad.nn.module import Module, Parameter

__all__ = [
    "GELU", "BCEWithLogitsLoss", "CrossEntropyLoss", "Dropout", "Embedding", "Flatten", "Identity", "L1Loss",
    "LayerNorm", "Linear", "LogSoftmax", "MSELoss", "Module", "ModuleDict", "ModuleList", "MultiheadAttention",
    "NLLLoss", "Parameter", "ParameterList", "RMSNorm", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Tanh",
    "functional", "init", "utils",
]  # fmt: skip
