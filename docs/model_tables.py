"""The tables of docs/models.md, from the catalogue: which generate.py puts between their marks."""

from weighbridge.catalogue.entries import OURS, PRECISIONS, QUIRKS, TERMS, Fact, Model, Precision, catalogue
from weighbridge.catalogue.memory import GB, weights

HEAD = (
    "| name | parameters | context | int4 / int8 / fp16, GB | licence | languages | recommended for | tools | JSON |"
    " quirks | names |\n| --- | ---: | ---: | ---: | --- | --- | --- | --- | --- | --- | --- |\n"
)


def table(name: str) -> str:
    """One table by its name in the document."""
    if name == "quirks":
        return "".join(f"- `{token}`: {words}.\n" for token, words in QUIRKS.items())
    if name == "terms":
        return "".join(f"- `{token}`: {words}.\n" for token, words in TERMS.items())
    return HEAD + "".join(_row(model) for model in catalogue().values() if model.role == name)


def _row(model: Model) -> str:
    cells = (
        f"`{model.name}`",
        _figures(model.parameters),
        _figures(model.windows),
        " / ".join(_gb(model, precision) for precision in PRECISIONS),
        f"[{model.licence.value}]({model.licence.source.page})" if model.licence else "?",
        _languages(model),
        _tasks(model),
        _yes(model.tools),
        _yes(model.json),
        ", ".join(f"`{quirk}`" for quirk in (model.quirks.value if model.quirks else ())),
        _names(model),
    )
    return f"| {' | '.join(cells)} |\n"


def _figures(facts: tuple[Fact[int], ...]) -> str:
    """Every figure once, the one that counts first, each with its source."""
    pages = {fact.value: fact.source.page for fact in reversed(facts)}
    values = dict.fromkeys(fact.value for fact in facts)
    return "<br>".join(f"[{value:,}]({pages[value]})" for value in values) or "?"


def _gb(model: Model, precision: Precision) -> str:
    mark = "" if precision in model.file_bytes else "~"
    return f"{mark}{weights(model, precision).size_bytes / GB:.2f}"


def _languages(model: Model) -> str:
    named = " ".join(model.languages.value) if model.languages else ""
    claimed = f"{model.language_count.value} claimed" if model.language_count else ""
    return "; ".join(part for part in (named, claimed) if part) or "?"


def _tasks(model: Model) -> str:
    """Ours in italics, the others with their source."""
    said = [
        f"*{', '.join(fact.value)}*" if fact.source.key == OURS else f"[{', '.join(fact.value)}]({fact.source.page})"
        for fact in model.recommended
    ]
    return "<br>".join(said)


def _yes(fact: Fact[bool] | None) -> str:
    return f"[{'yes' if fact.value else 'no'}]({fact.source.page})" if fact else "?"


def _names(model: Model) -> str:
    ollama = ", ".join(f"`{name}`" for name in model.ollama.value) if model.ollama else ""
    hub = f"`{model.huggingface.value}`" if model.huggingface else ""
    gguf = f"`{model.gguf.value}`" if model.gguf else ""
    parts = (("Ollama", ollama), ("hub", hub), ("GGUF", gguf))
    return "<br>".join(f"{where}: {name}" for where, name in parts if name)
