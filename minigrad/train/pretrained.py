"""Weights that others trained, read into the models here: BERT, GPT-2 and Llama from .safetensors, Llama from GGUF.

A table per kind of file says which of its names is which of ours; what is missing or unexpected is listed. The packages
``safetensors`` and ``tokenizers`` read the files, and ``gguf.py`` here. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad.core.graph import no_grad
from minigrad.core.module import Module
from minigrad.core.op import Array
from minigrad.models.bert import BERT, BERTConfig
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.llama import Llama, LlamaConfig
from minigrad.tools.extras import need
from minigrad.tools.random import default_generator
from minigrad.train.gguf import read_gguf

Read = Callable[[], Array]
EXTRA = "'minigrad-numpy[real]'"

# Theirs -> ours, without .weight and .bias; {} is the number of a layer.
BERT_NAMES = {
    "embeddings.word_embeddings": "token_embedding",
    "embeddings.position_embeddings": "positions.added",
    "embeddings.token_type_embeddings": "segment_embedding",
    "embeddings.LayerNorm": "norm",
    "encoder.layer.{}.attention.self.query": "blocks.{}.attention.query",
    "encoder.layer.{}.attention.self.key": "blocks.{}.attention.key",
    "encoder.layer.{}.attention.self.value": "blocks.{}.attention.value",
    "encoder.layer.{}.attention.output.dense": "blocks.{}.attention.output",
    "encoder.layer.{}.attention.output.LayerNorm": "blocks.{}.attention_norm",
    "encoder.layer.{}.intermediate.dense": "blocks.{}.mlp.expand",
    "encoder.layer.{}.output.dense": "blocks.{}.mlp.contract",
    "encoder.layer.{}.output.LayerNorm": "blocks.{}.mlp_norm",
    "pooler.dense": "pooler",
}
GPT2_NAMES = {
    "wte": "token_embedding",
    "wpe": "positions.added",
    "h.{}.ln_1": "blocks.{}.attention_norm",
    "h.{}.attn.c_attn": "blocks.{}.attention.query key value",  # one matrix for the three
    "h.{}.attn.c_proj": "blocks.{}.attention.output",
    "h.{}.ln_2": "blocks.{}.mlp_norm",
    "h.{}.mlp.c_fc": "blocks.{}.mlp.expand",
    "h.{}.mlp.c_proj": "blocks.{}.mlp.contract",
    "ln_f": "norm",
    "lm_head": "head",
}
LLAMA_NAMES = {
    "embed_tokens": "token_embedding",
    "layers.{}.input_layernorm": "blocks.{}.attention_norm",
    "layers.{}.self_attn.q_proj": "blocks.{}.attention.query",
    "layers.{}.self_attn.k_proj": "blocks.{}.attention.key",
    "layers.{}.self_attn.v_proj": "blocks.{}.attention.value",
    "layers.{}.self_attn.o_proj": "blocks.{}.attention.output",
    "layers.{}.post_attention_layernorm": "blocks.{}.mlp_norm",
    "layers.{}.mlp.gate_proj": "blocks.{}.mlp.gate",
    "layers.{}.mlp.up_proj": "blocks.{}.mlp.expand",
    "layers.{}.mlp.down_proj": "blocks.{}.mlp.contract",
    "norm": "norm",
    "lm_head": "head",
}
GGUF_LLAMA_NAMES = {
    "token_embd": "token_embedding",
    "blk.{}.attn_norm": "blocks.{}.attention_norm",
    "blk.{}.attn_q": "blocks.{}.attention.query",
    "blk.{}.attn_k": "blocks.{}.attention.key",
    "blk.{}.attn_v": "blocks.{}.attention.value",
    "blk.{}.attn_output": "blocks.{}.attention.output",
    "blk.{}.ffn_norm": "blocks.{}.mlp_norm",
    "blk.{}.ffn_gate": "blocks.{}.mlp.gate",
    "blk.{}.ffn_up": "blocks.{}.mlp.expand",
    "blk.{}.ffn_down": "blocks.{}.mlp.contract",
    "output_norm": "norm",
    "output": "head",
}
GGUF_TYPES = ("F32", "F16", "Q8_0", "Q4_0", "Q4_1")
# Tables and masks that old files carry along, computed here, and heads for pre-training, which a BERT does not have.
CARRIED = re.compile(r"(^|\.)(position_ids|rotary_emb\.inv_freq|attn\.(masked_)?bias)$|^cls\.")


class Pretrained(NamedTuple):
    """A model with the weights of a file, in eval mode, and the tokenizer that belongs to it."""

    model: Any
    tokenizer: Any  # of the package tokenizers; None where no file has one
    chat_template: str | None = None  # in Jinja, as the file has it


def load_pretrained(path: str | Path) -> Pretrained:
    """A folder or .safetensors file as hubs have them (with config.json, tokenizer.json), or a .gguf file.

    Raises FileNotFoundError for a file that is not there, ValueError for a broken one or one that does not fit, and for
    an architecture that is not here; ImportError where a package of the extra ``real`` is missing.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) > 1:
            raise ValueError(f"{path} has {len(found)} files of weights: models in pieces are not read")
        path = found[0] if found else path / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: a .safetensors or .gguf file, or a folder with one, is wanted")
    if path.suffix not in (".safetensors", ".gguf"):
        raise ValueError(f"{path} is neither a .safetensors nor a .gguf file")
    try:
        model, tokenizer, template = (_from_gguf if path.suffix == ".gguf" else _from_hub)(path)
    except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{path}: what it says of its model makes no sense ({error})") from error
    beside = path.parent / "tokenizer.json"
    if tokenizer is None and beside.is_file():
        tokenizer = _tokenizer(beside)
    if tokenizer is not None and tokenizer.get_vocab_size() > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer of {path} has {tokenizer.get_vocab_size()} tokens, the model {model.config.vocab_size}: "
            "it belongs to another model"
        )
    return Pretrained(model.eval(), tokenizer, template)


def _tokenizer(path: Path) -> Any:
    try:
        tokenizer = need("tokenizers", EXTRA).Tokenizer.from_file(str(path))
    except ImportError:
        raise
    except Exception as error:  # the package raises nothing narrower
        raise ValueError(f"{path} is no tokenizer ({error})") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class _Facts:
    """What a file says of its model; a fact that is missing, or that these models cannot follow, is named."""

    def __init__(self, path: Path, facts: Mapping[str, Any], room: int) -> None:
        self.path, self.facts, self.room = path, facts, room  # so many bytes of weights there are at most

    def __getitem__(self, name: str) -> Any:
        if name not in self.facts:
            raise ValueError(f"{self.path} does not say its {name}")
        return self.facts[name]

    def get(self, name: str, default: Any) -> Any:
        value = self.facts.get(name)
        return default if value is None else value

    def size(self, name: str, default: int | None = None) -> int:
        """A fact that counts something."""
        value = self[name] if default is None else self.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{self.path}: {name} is {value!r}, and a whole number of at least 1 is wanted")
        return value

    def fits(self, weights: Mapping[str, Any], layers: int, *matrices: tuple[int, int]) -> None:
        """Raise ValueError where the file cannot hold what it tells of: before memory for it is taken."""
        found = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
        if layers != found:
            raise ValueError(f"{self.path} tells of {layers} layers, and there are weights of {found}")
        for rows, columns in matrices:
            if rows * columns > 2 * self.room:
                raise ValueError(f"{self.path} tells of {rows} x {columns} weights, more than its file can hold")

    def check(self, **wanted: Any) -> None:
        """Raise ValueError for a fact that is there and none of these values."""
        for name, values in wanted.items():
            values = values if isinstance(values, tuple) else (values,)
            if (value := self.facts.get(name, values[0])) not in values:
                raise ValueError(f"{self.path}: {name} is {value!r}, and only {values[0]!r} can be read here")


def _from_hub(path: Path) -> tuple[Module, None, str | None]:
    config = path.parent / "config.json"
    if not config.is_file():
        raise FileNotFoundError(f"{config} is not there: it says what model {path.name} holds")
    try:
        facts = _Facts(config, dict(json.loads(config.read_text(encoding="utf-8"))), path.stat().st_size)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{config} is no JSON object ({error})") from error
    kind = facts["model_type"]
    if kind not in HUB:
        raise ValueError(f"{config}: the architecture {kind!r} is not here; there are {', '.join(HUB)}")
    make, names = HUB[kind]
    weights = _ours(_safetensors(path), names, path, transposed=kind == "gpt2")
    with _undrawn():
        model = make(facts, weights)
    _fill(model, weights, path)
    chat = path.parent / "tokenizer_config.json"
    template = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        template = json.loads(chat.read_text(encoding="utf-8")).get("chat_template")
    return model, None, template if isinstance(template, str) else None


def _bert(facts: _Facts, weights: Mapping[str, Any]) -> BERT:
    width, layers, words = (facts.size(name) for name in ("hidden_size", "num_hidden_layers", "vocab_size"))
    block = facts.size("max_position_embeddings")
    facts.check(hidden_act="gelu", position_embedding_type="absolute", intermediate_size=4 * width, is_decoder=False)
    facts.fits(weights, layers, (words, width), (block, width), (width, 4 * width))
    return BERT(
        BERTConfig(
            words,
            block,
            layers,
            facts.size("num_attention_heads"),
            width,
            pad=facts.get("pad_token_id", None),
            segments=facts.get("type_vocab_size", 0),
            pooler="pooler.weight" in weights,
            norm_eps=facts.get("layer_norm_eps", 1e-12),
        )
    )


def _gpt2(facts: _Facts, weights: Mapping[str, Any]) -> GPT:
    width, layers, words = (facts.size(name) for name in ("n_embd", "n_layer", "vocab_size"))
    facts.check(
        activation_function=("gelu_new", "gelu_pytorch_tanh"), n_inner=(None, 4 * width), layer_norm_epsilon=1e-5,
        scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False,
        tie_word_embeddings=True,
    )  # fmt: skip
    block = facts.size("n_positions" if facts.get("n_positions", None) else "n_ctx")
    facts.fits(weights, layers, (words, width), (block, width), (width, 4 * width))
    return GPT(GPTConfig(words, block, layers, facts.size("n_head"), width))


def _llama(facts: _Facts, weights: Mapping[str, Any]) -> Llama:
    width, heads, layers, words, hidden = (
        facts.size(name)
        for name in ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "intermediate_size")
    )
    facts.fits(weights, layers, (words, width), (width, width), (width, hidden))
    facts.check(hidden_act="silu", rope_scaling=None, attention_bias=False, mlp_bias=False)
    facts.check(head_dim=(width // heads, None))
    rotary = facts.get("rope_parameters", {})  # newer files have its facts in one place
    if rotary.get("rope_type", "default") != "default" or rotary.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError(f"{facts.path}: rope_parameters {rotary} stretch the positions, which is not read here")
    return Llama(
        LlamaConfig(
            words,
            facts.size("max_position_embeddings"),
            layers,
            heads,
            width,
            n_kv_head=facts.size("num_key_value_heads", heads),
            n_hidden=hidden,
            rotary_base=float(facts.get("rope_theta", rotary.get("rope_theta", 10000.0))),
            interleaved=False,
            norm_eps=facts.get("rms_norm_eps", 1e-6),
            tied=facts.get("tie_word_embeddings", False),
        )
    )


HUB: dict[str, tuple[Callable[[_Facts, Mapping[str, Any]], Module], dict[str, str]]] = {
    "bert": (_bert, BERT_NAMES),
    "gpt2": (_gpt2, GPT2_NAMES),
    "llama": (_llama, LLAMA_NAMES),
}


def _safetensors(path: Path) -> dict[str, Read]:
    """The tensors of a file by name, each read when it is called for."""
    package = need("safetensors", EXTRA)
    try:
        file = package.safe_open(str(path), "np")
        if all(file.get_slice(name).get_dtype() != "BF16" for name in file.keys()):  # noqa: SIM118 - it is no dict
            return {name: partial(file.get_tensor, name) for name in file.keys()}  # noqa: SIM118
        entries = dict(package.deserialize(path.read_bytes()))
    except package.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no .safetensors file ({error})") from error
    return {name: partial(_numbers, path, name, entry) for name, entry in entries.items()}


def _numbers(path: Path, name: str, entry: Mapping[str, Any]) -> Array:
    """A tensor from its bytes. BF16 is the upper half of a float32."""
    kind, data = entry["dtype"], entry["data"]
    if kind == "BF16":
        flat = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    elif kind in ("F16", "F32", "F64", "I64", "I32", "U8", "BOOL"):
        flat = np.frombuffer(data, {"BOOL": "?", "U8": "u1"}.get(kind, f"<{kind[0].lower()}{int(kind[1:]) // 8}"))
    else:
        raise ValueError(f"{path}: {name} is of {kind}, which is not read here")
    return flat.reshape(entry["shape"])


def _ours(
    theirs: Mapping[str, Read], names: Mapping[str, str], path: Path, transposed: bool = False
) -> dict[str, Read]:
    """By our names. ``transposed``: the matrices of linear layers are (in, out), as GPT-2 has them."""
    ours: dict[str, Read] = {}
    unexpected = []
    for name, read in theirs.items():
        if CARRIED.search(name):
            continue
        stem, _, ending = re.sub(r"^(bert|transformer|model)\.", "", name).rpartition(".")
        pattern = re.sub(r"(?<=\.)\d+(?=\.)", "{}", stem, count=1)
        ending = {"gamma": "weight", "beta": "bias"}.get(ending, ending)  # LayerNorm's in the oldest files of BERT
        if pattern not in names or ending not in ("weight", "bias"):
            unexpected.append(name)
            continue
        layer = re.search(r"(?<=\.)\d+(?=\.)", stem)
        our = names[pattern].format(*([layer[0]] if layer else []))
        if transposed and ".c_" in name:
            read = partial(_transposed, read)
        first, *others = our.split(" ")
        if not others:
            ours[f"{our}.{ending}"] = read
            continue
        parent = first.rpartition(".")[0]
        for place, part in enumerate((first.rpartition(".")[2], *others)):
            ours[f"{parent}.{part}.{ending}"] = partial(_third, read, place)
    if unexpected:
        raise ValueError(f"{path} has weights that this model does not: {_listed(unexpected)}")
    return ours


def _transposed(read: Read) -> Array:
    return read().T


def _third(read: Read, place: int) -> Array:
    return np.split(read(), 3)[place]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


@no_grad()
def _fill(model: Module, weights: dict[str, Read], path: Path) -> None:
    """Every parameter from its weight, one at a time, so that the file is never in memory twice."""
    parameters = dict(model.named_parameters())
    tied = {"head.weight"} - parameters.keys()  # the embedding again, where a file has both
    if missing := [name for name in parameters if name not in weights]:
        raise ValueError(f"{path} lacks weights that this model has: {_listed(missing)}")
    if unexpected := [name for name in weights if name not in parameters and name not in tied]:
        raise ValueError(f"{path} has weights that this model does not: {_listed(unexpected)}")
    for name, parameter in parameters.items():
        array = weights[name]()
        if array.shape != tuple(parameter.shape):
            raise ValueError(f"{path}: {name} has shape {array.shape}, and {tuple(parameter.shape)} is wanted")
        parameter.copy_(array)
    for name in tied & weights.keys():
        if not np.array_equal(weights[name](), parameters["token_embedding.weight"].numpy()):
            raise ValueError(f"{path} has a head of its own, where its config says that the embedding is the head")


@contextlib.contextmanager
def _undrawn() -> Iterator[None]:
    """Let initial weights, overwritten at once, be zeros: to draw 135 million takes longer than to read them."""

    class Zeros:
        def uniform(self, low: float, high: float, size: tuple[int, ...]) -> Array:
            return np.broadcast_to(np.float32(0), size)

        normal = uniform

    stream = default_generator.numpy
    default_generator.numpy = Zeros()  # type: ignore[assignment]
    try:
        yield
    finally:
        default_generator.numpy = stream


def _from_gguf(path: Path) -> tuple[Module, Any, str | None]:
    known, tensors = read_gguf(path)
    facts = _Facts(path, known, path.stat().st_size)
    kind = facts["general.architecture"]
    if kind != "llama":
        raise ValueError(f"{path}: the architecture {kind!r} is not here; of GGUF files there is llama")
    for name, tensor in tensors.items():
        if tensor.kind not in GGUF_TYPES:
            raise ValueError(f"{path}: {name} is of {tensor.kind}; what is read is {', '.join(GGUF_TYPES)}")
    weights = _ours({name: tensor.numbers for name, tensor in tensors.items()}, GGUF_LLAMA_NAMES, path)
    width, heads, layers, hidden = (
        facts.size(f"llama.{name}")
        for name in ("embedding_length", "attention.head_count", "block_count", "feed_forward_length")
    )
    facts.check(**{"llama.rope.dimension_count": width // heads, "llama.rope.scaling.type": ("none", None)})
    if "token_embedding.weight" not in weights:
        raise ValueError(f"{path} lacks weights that this model has: token_embd.weight")
    words = tensors["token_embd.weight"].shape[0]
    facts.fits(weights, layers, (words, width), (width, width), (width, hidden))
    with _undrawn():
        model = Llama(
            LlamaConfig(
                words,
                facts.size("llama.context_length"),
                layers,
                heads,
                width,
                n_kv_head=facts.size("llama.attention.head_count_kv", heads),
                n_hidden=hidden,
                rotary_base=float(facts.get("llama.rope.freq_base", 10000.0)),
                norm_eps=float(facts["llama.attention.layer_norm_rms_epsilon"]),
                tied="head.weight" not in weights,
            )
        )
    _fill(model, weights, path)
    return model, *_gguf_tokenizer(path, known)


def _gguf_tokenizer(path: Path, known: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The byte-pair encoding that a GGUF file carries (Sennrich et al. 2016), and its chat template."""
    told = _Facts(path, {name[10:]: fact for name, fact in known.items() if name[:10] == "tokenizer."}, 0)
    template = told.get("chat_template", None)
    if (path.parent / "tokenizer.json").is_file() or "ggml.model" not in told.facts:
        return None, template
    kind, cut = told["ggml.model"], told.get("ggml.pre", "gpt-2")
    if kind != "gpt2" or cut not in ("gpt-2", "smollm"):
        raise ValueError(
            f"{path}: its tokenizer ({kind}, {cut}) is not read here; put the model's tokenizer.json beside the file"
        )
    tokenizers = need("tokenizers", EXTRA)
    words, types = told["ggml.tokens"], told["ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in told["ggml.merges"]]
    bpe = tokenizers.models.BPE({word: i for i, word in enumerate(words)}, merges)
    tokenizer = tokenizers.Tokenizer(bpe)
    bytes_of = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([digits, bytes_of]) if cut == "smollm" else bytes_of
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    control = [word for word, its in zip(words, types, strict=True) if its == 3]  # llama.cpp's number for them
    tokenizer.add_special_tokens(control)
    return tokenizer, template
