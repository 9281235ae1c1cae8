"""A conversation: what the model is given, what is written of its answer, and how it ends."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

import minigrad as mg
from minigrad.look.commands import talk
from minigrad.models.bert import BERT, BERTConfig
from minigrad.train.pretrained import Pretrained

TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }} {{ message['content'] }} </s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant {% endif %}"
)
WORDS = ["<s>", "</s>", "user", "system", "assistant", "hello", "you", "there", "again"]


class Parrot:
    """Answers with given tokens; keeps what it was asked."""

    def __init__(self, answers, size=40):
        self.answers, self.asked, self.config = answers, [], SimpleNamespace(block_size=size)

    def stream(self, ids, *settings):
        self.asked.append(ids.tolist()[0])
        for token in self.answers:
            if token is KeyboardInterrupt:
                raise KeyboardInterrupt
            yield mg.tensor([[WORDS.index(token)]])


@pytest.fixture
def tokenizer():
    package = pytest.importorskip("tokenizers")
    found = package.Tokenizer(package.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="you"))
    found.pre_tokenizer = package.pre_tokenizers.Whitespace()
    found.add_special_tokens(["<s>", "</s>"])
    return found


def talked(monkeypatch, capsys, found, *arguments, lines=""):
    monkeypatch.setattr(talk, "load_pretrained", lambda path: found)
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert talk.main(["model.gguf", *arguments]) == 0
    return capsys.readouterr()


def words(ids):
    return " ".join(WORDS[i] for i in ids)


def test_an_answer_ends_where_the_model_ends_it(monkeypatch, capsys, tokenizer):
    pytest.importorskip("jinja2")
    model = Parrot(["hello", "you", "</s>", "again"])
    out = talked(monkeypatch, capsys, Pretrained(model, tokenizer, TEMPLATE), lines="hello there\n\nagain\n")
    assert out.out == "hello you\nhello you\n" and not out.err
    first = "<s> user hello there </s>"
    assert words(model.asked[0]) == f"{first} <s> assistant"
    assert words(model.asked[1]) == f"{first} <s> assistant hello you </s> <s> user again </s> <s> assistant"


def test_ctrl_c_ends_the_answer_only(monkeypatch, capsys, tokenizer):
    pytest.importorskip("jinja2")
    model = Parrot(["hello", KeyboardInterrupt])
    out = talked(monkeypatch, capsys, Pretrained(model, tokenizer, TEMPLATE), lines="you\nagain\n")
    assert out.out == "hello [stopped]\n" * 2 and "assistant hello </s>" in words(model.asked[1])


def test_what_no_longer_fits_is_left_out_and_said(monkeypatch, capsys, tokenizer):
    pytest.importorskip("jinja2")
    model = Parrot(["hello"], size=20)
    out = talked(
        monkeypatch, capsys, Pretrained(model, tokenizer, TEMPLATE), "--system", "you", lines="hello\nthere\nagain\n"
    )
    assert "the first 2 messages no longer fit into the context and are left out" in out.err
    assert words(model.asked[-1]) == "<s> system you </s> <s> user again </s> <s> assistant"
    with pytest.raises(ValueError, match="the message has 35 tokens, and the context of the model has 20"):
        talked(monkeypatch, capsys, Pretrained(model, tokenizer, TEMPLATE), "you " * 30)


def test_without_a_form_the_text_is_gone_on_with(monkeypatch, capsys, tokenizer):
    model = Parrot(["hello", "you", "there"])
    out = talked(monkeypatch, capsys, Pretrained(model, tokenizer), "again", "--max-tokens", "2")
    assert out.out == "hello you\n" and words(model.asked[0]) == "again"


def test_who_cannot_talk_is_told(monkeypatch, capsys, tokenizer, tmp_path):
    reader = BERT(BERTConfig(9, 8, 1, 1, 4))
    for found, text in (
        (Pretrained(reader, tokenizer), "is a BERT: it reads, and writes nothing"),
        (Pretrained(Parrot([]), None), "has no tokenizer: put the model's tokenizer.json beside the file"),
        (Pretrained(Parrot([]), tokenizer, "{% nothing"), "chat template cannot be followed"),
        (Pretrained(Parrot([]), tokenizer, "{{ messages.x.y }}"), "chat template cannot be followed"),
    ):
        if found.chat_template:
            pytest.importorskip("jinja2")
        with pytest.raises(ValueError, match=text):
            talked(monkeypatch, capsys, found, "hello")
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="python -m minigrad fetch smollm2"):
        talk.main(["smollm2", "hello"])
