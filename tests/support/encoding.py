"""Small encoders with random weights, in Hugging Face's layout: one of each architecture that `fit --encoder` takes."""

import json
from pathlib import Path

from weighbridge.classifiers.base import TASKS

WORDS = """
    a the of to and in is it that for what how why who when where write say tell give make find prove derive design
    explain summarise translate fix list name sort count compare plan code text mail word line number time day city
    river house short long easy hard small large model answer question reply hello thanks please good bad
""".split()  # noqa: SIM905  # a list of words reads better as words
SIZE = 48


def folder_of(architecture: str, folder: Path) -> Path:
    """A model and its tokenizer, written there."""
    import torch  # noqa: PLC0415  # the tests that call this are skipped without it

    torch.set_num_threads(1)  # so small a model only waits for a second one
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _unigram() if architecture == "albert" else _wordpiece()
    torch.manual_seed(7)
    model = _model("bert" if architecture == "minilm" else architecture, tokenizer.vocab_size)
    with torch.no_grad():
        for parameter in model.parameters():  # fresh ones lie too near zero for two texts to differ
            parameter.add_(torch.randn_like(parameter) * 0.08)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def everyday(path: Path) -> Path:
    """A few prompts of each task, in the place of the project's own."""
    rows = [
        {"text": f"{task} number {i} of it", "task": task, "difficulty": ("easy", "hard")[i % 2], "stem": f"{task} {i}"}
        for task in TASKS
        for i in range(6)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _model(architecture: str, words: int):
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415

    common = {"vocab_size": words, "max_position_embeddings": 160}
    layered = {"hidden_size": SIZE, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
    shapes = {
        "bert": layered,
        "electra": {**layered, "embedding_size": 24},
        "albert": {**layered, "embedding_size": 24, "num_hidden_groups": 1, "hidden_act": "gelu_new"},
        "distilbert": {"dim": SIZE, "n_layers": 3, "n_heads": 4, "hidden_dim": 96},
        "mobilebert": {
            **layered, "embedding_size": 24, "intra_bottleneck_size": 24, "num_feedforward_networks": 2,
        },
    }  # fmt: skip
    return AutoModel.from_config(AutoConfig.for_model(architecture, **common, **shapes[architecture]))


def _wordpiece():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()[]{}-_=+*/\\<>#@&%$^~`|"]
    vocabulary = [*marks, *letters, *(f"##{letter}" for letter in letters[:36]), *(w for w in WORDS if len(w) > 1)]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.enable_truncation(16)
    return _fast(PreTrainedTokenizerFast, made, "[UNK]", "[PAD]")


def _unigram():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    marks = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0)]
    letters = [(letter, -8.0) for letter in "▁abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'()-="]
    words = [(f"▁{word}", -4.0) for word in WORDS]
    made = Tokenizer(models.Unigram([*marks, *letters, *words], unk_id=1))
    made.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return _fast(PreTrainedTokenizerFast, made, "<unk>", "<pad>")


def _fast(kind, made, unknown: str, padding: str):
    return kind(tokenizer_object=made, unk_token=unknown, pad_token=padding, cls_token="[CLS]", sep_token="[SEP]")
