"""A Llama of a few hundred kB with random weights as a GGUF file, and llama.cpp's server that answers with it.

Run as a program it is that server: python tiny_llama_cpp.py MODEL PORT.
"""

import json
import signal
import sys
from pathlib import Path

import numpy as np
from tiny_server import SPECIAL, TEMPLATE, TEXTS, VOCABULARY, TinyServer

NAME = "tiny-llama"
WINDOW = 1024  # of each slot
SLOTS = 2
_SIZE, _INNER, _LAYERS, _HEADS, _KV_HEADS = 64, 128, 2, 4, 2


def make(path: Path, seed: int = 0) -> Path:
    """Write the model, its tokenizer and its chat template."""
    import gguf  # noqa: PLC0415  # few environments have it

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_context_length(4 * WINDOW)
    writer.add_embedding_length(_SIZE)
    writer.add_feed_forward_length(_INNER)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    words, merges = _vocabulary()
    control, normal = int(gguf.TokenType.CONTROL), int(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([control if word in SPECIAL else normal for word in words])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    draw = np.random.default_rng(seed)
    for name, shape in _tensors():
        ones = np.ones(shape, np.float32)
        writer.add_tensor(name, ones if len(shape) == 1 else draw.normal(0, 0.05, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> tuple[list[str], list[str]]:
    """Every byte, and what the training adds; made up to its size with words that nobody writes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: PLC0415

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator(TEXTS, trainer)
    found = sorted(trained.get_vocab().items(), key=lambda pair: pair[1])
    words = [word for word, _ in found]
    words += [f"<|unused{at}|>" for at in range(len(words), VOCABULARY)]
    merges = json.loads(trained.to_str())["model"]["merges"]
    return words, [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def _tensors() -> list[tuple[str, tuple[int, ...]]]:
    narrow = _SIZE * _KV_HEADS // _HEADS
    found: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (VOCABULARY, _SIZE))]
    for layer in range(_LAYERS):
        for name, shape in {
            "attn_norm": (_SIZE,),
            "attn_q": (_SIZE, _SIZE),
            "attn_k": (narrow, _SIZE),
            "attn_v": (narrow, _SIZE),
            "attn_output": (_SIZE, _SIZE),
            "ffn_norm": (_SIZE,),
            "ffn_gate": (_INNER, _SIZE),
            "ffn_up": (_INNER, _SIZE),
            "ffn_down": (_SIZE, _INNER),
        }.items():
            found.append((f"blk.{layer}.{name}.weight", shape))
    return [*found, ("output_norm.weight", (_SIZE,)), ("output.weight", (VOCABULARY, _SIZE))]


class TinyLlamaCpp(TinyServer):
    """llama.cpp's server on loopback. Start it with `with`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = make(folder / f"{NAME}.gguf")

    @property
    def command(self) -> list[str]:
        return [sys.executable, __file__, str(self.path), str(self.port)]


def _serve(path: str, port: int) -> None:
    import xllamacpp  # noqa: PLC0415  # few environments have it

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = [NAME]
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = WINDOW * SLOTS
    params.n_parallel = SLOTS
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_slots = True
    params.use_jinja = True
    _server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _serve(sys.argv[1], int(sys.argv[2]))
