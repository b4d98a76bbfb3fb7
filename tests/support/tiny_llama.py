"""A Llama of a few hundred kB with random weights, and a server of transformers' own that answers with it."""

import sys
from pathlib import Path

from tiny_server import SPECIAL, TEMPLATE, TEXTS, VOCABULARY, TinyServer

WINDOW = 512
_SERVE = "from transformers.cli.transformers import main; main()"


def make(folder: Path, seed: int = 0) -> Path:
    """Write the model and its tokenizer, trained on a few words, into a folder."""
    # Seconds of imports, of what few environments have: not before they are wanted.
    import torch  # noqa: PLC0415
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: PLC0415

    bytes_alone = Tokenizer(models.BPE())
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet)
    bytes_alone.train_from_iterator(TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone, eos_token="<|end|>", pad_token="<|end|>", model_max_length=WINDOW
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    # The server takes these for its own: no chance, and no end before the limit, which random weights may else choose.
    model.generation_config.do_sample = False
    model.generation_config.suppress_tokens = [tokenizer.eos_token_id]
    model.save_pretrained(folder)
    return folder


class TinyLlama(TinyServer):
    """`transformers serve` on loopback. Start it with `with`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.model = str(make(folder / "tiny-llama"))
        cache = folder / "hub"  # without one its list of models is a 500
        cache.mkdir()
        self.environ = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1"}

    @property
    def command(self) -> list[str]:
        arguments = ["serve", self.model, "--device", "cpu", "--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-c", _SERVE, *arguments]
