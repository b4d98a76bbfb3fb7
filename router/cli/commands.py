"""Every verb of the command line, its options and its help. No work: that is imported when its verb is called."""
# ruff: noqa: PLC0415, PLR0913, PLR0917
# Imports inside: `weighbridge --help` must not wait for what only a gateway or a report needs. Many arguments: each is
# an option of a verb, and is passed by name.

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.cli import learning
from weighbridge.cli.verbs import BAD_CONFIG, DEFAULT, Config, Json, done, in_words

app = typer.Typer(
    help="Weighs every request, keeps the simple ones on your own machine, and proves what that saved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help takes half the time of a framed one
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> None:
    """Run the command line."""
    app(prog_name="weighbridge")


def _show_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _everything(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def init(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", "--non-interactive", help="Ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Look for models and keys, and write a commented config file.

    It looks for Ollama, LM Studio, llama.cpp and vLLM on this machine, and for the keys of providers in the
    environment. It writes the names of the variables, never a key, and never over a file unless --force says so.
    """
    from weighbridge.cli import init

    with in_words():
        done(init.run(output, force=force, is_quiet=yes, as_json=as_json))


@app.command()
def serve(
    config: Config = DEFAULT,
    host: Annotated[str | None, typer.Option(help="Listen here, whatever the config file says.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port instead.", min=0, max=65535)] = None,
    workers: Annotated[int, typer.Option(help="How many processes share the work.", min=1, max=256)] = 1,
) -> None:
    """Run the gateway."""
    from weighbridge.cli import serve

    with in_words():
        done(serve.run(config, host=host, port=port, workers=workers))


@app.command()
def reload(config: Config = DEFAULT) -> None:
    """Let the running gateway read its config file again.

    The file is checked first; one that is wrong changes nothing. Requests under way end as they began.
    """
    from weighbridge.cli import reload

    with in_words():
        done(reload.run(config))


@app.command()
def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Keep serving after the report.")] = False,
    port: Annotated[int, typer.Option(help="Serve on this port; 0 takes a free one.", min=0, max=65535)] = 8484,
) -> None:
    """See it work, offline and without a key.

    Sample traffic goes through the real gateway and classifier to two simulated models; then comes the report.
    """
    from weighbridge.demo import demo

    with in_words():
        demo.run(serve=serve, port=port)


@app.command()
def route(
    text: Annotated[str, typer.Argument(help="What a user would ask; - reads it from standard input.")],
    config: Config = DEFAULT,
    model: Annotated[str | None, typer.Option(help="The model name to ask for; without it the first route.")] = None,
    as_json: Json = False,
) -> None:
    """Explain where one request would go.

    Calls no upstream, and needs no running gateway.
    """
    from weighbridge.cli import route

    with in_words():
        asked = typer.get_text_stream("stdin").read() if text == "-" else text
        done(route.run(config, asked, model=model, as_json=as_json))


@app.command()
def report(
    config: Config = DEFAULT,
    since: Annotated[str | None, typer.Option(help="From when on: 7d, 12h, 30m, or a date.")] = None,
    until: Annotated[str | None, typer.Option(help="Until when, likewise.")] = None,
    by: Annotated[str | None, typer.Option(help="Break it down by route, upstream, rule, caller, task or day.")] = None,
    form: Annotated[str, typer.Option("--format", help="table, json, csv or html.")] = "table",
    drift: Annotated[
        bool, typer.Option("--drift", help="Is the last day like the weeks before? In table and json.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Show what the traffic cost and took, against the baseline.

    Without --since it covers the whole ledger.
    """
    from weighbridge.cli import report

    with in_words():
        form = "json" if as_json else form
        report.run(config, since=since, until=until, by=by, form=form, output=output, drift=drift)


@app.command()
def audit(
    config: Config = DEFAULT,
    anchor: Annotated[str | None, typer.Option(help="A head of the chain that was noted before.")] = None,
    as_json: Json = False,
) -> None:
    """Prove that nothing in the ledger was changed.

    And that no fenced request left. Who notes the head that it prints can have a later audit find a ledger that was cut
    or made anew.
    """
    from weighbridge.cli import audit

    with in_words():
        done(audit.run(config, anchor=anchor, as_json=as_json))


models_app = typer.Typer(rich_markup_mode=None)
app.add_typer(models_app, name="models")
Task = Annotated[str | None, typer.Option(help="Only what is recommended for it.")]
Licence = Annotated[str | None, typer.Option(help="Only what is under it: apache-2.0, mit, gemma, ...")]
Language = Annotated[str | None, typer.Option(help="Only what knows it, by its code: de, en, ...")]


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, config: Config = DEFAULT, as_json: Json = False) -> None:
    """List the names that clients may ask for, and small models.

    Without a verb of its own it lists the config file's names. Its verbs (list, show, recommend) tell about small
    models from the catalogue, and read no config file.
    """
    if context.invoked_subcommand:
        return
    from weighbridge.cli import models

    with in_words():
        models.run(config, as_json=as_json)


@models_app.command("list")
def models_list(
    role: Annotated[str | None, typer.Option(help="classifier or answering.")] = None,
    task: Task = None,
    licence: Licence = None,
    language: Language = None,
    max_memory: Annotated[str | None, typer.Option(help="Only what fits: 8GB, 500MB.")] = None,
    as_json: Json = False,
) -> None:
    """List the small models of the catalogue."""
    from weighbridge.cli import catalogue

    catalogue.list_models(role=role, task=task, licence=licence, language=language, memory=max_memory, as_json=as_json)


@models_app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(help="As the catalogue, Ollama or the hub names it.")], as_json: Json = False
) -> None:
    """Tell everything about one small model, and who says it."""
    from weighbridge.cli import catalogue

    catalogue.show(name, as_json=as_json)


@models_app.command("recommend")
def models_recommend(
    task: Annotated[str, typer.Option(help="What it is for: summarization, code, chat, ...")],
    memory: Annotated[str | None, typer.Option(help="What it may take: 8GB, 500MB.")] = None,
    language: Language = None,
    licence: Licence = None,
    context: Annotated[int, typer.Option(help="Tokens that it must have room for.", min=1)] = 8192,
    limit: Annotated[int, typer.Option(help="How many to print.", min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Rank the small models for a task, each with the reason for its place."""
    from weighbridge.cli import catalogue

    done(
        catalogue.recommend(
            task=task,
            memory=memory,
            language=language,
            licence=licence,
            context=context,
            limit=limit,
            as_json=as_json,
        )
    )


keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make, list and take away callers' keys.")
app.add_typer(keys_app, name="keys")
Scopes = Annotated[list[str], typer.Option("--scope", help="chat, report or admin; can be given more than once.")]


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="Whose it is. Rules and reports know the caller by this name.")],
    scope: Scopes = ["chat"],  # noqa: B006  # typer makes a new one
    expires: Annotated[str | None, typer.Option(help="Until when: 90d, 12h, 2w, or a date.")] = None,
    config: Config = DEFAULT,
) -> None:
    """Make a key, and print it this once."""
    from weighbridge.cli import keys

    with in_words():
        keys.add(config, name, scopes=scope, expires=expires)


@keys_app.command("list")
def keys_list(config: Config = DEFAULT, as_json: Json = False) -> None:
    """List the keys: whose they are, what each may do, until when."""
    from weighbridge.cli import keys

    with in_words():
        keys.show(config, as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(name: Annotated[str, typer.Argument(help="Whose key.")], config: Config = DEFAULT) -> None:
    """Take a key away, also from a running gateway."""
    from weighbridge.cli import keys

    with in_words():
        keys.revoke(config, name)


@app.command()
def validate(config: Config = DEFAULT, as_json: Json = False) -> None:
    """Check the config file, and call nothing.

    Builds everything that the file names, the classifier included.
    """
    from weighbridge.cli import validate

    with in_words():
        is_fine = validate.run(config, as_json=as_json)
        raise typer.Exit(0 if is_fine else BAD_CONFIG)


@app.command()
def doctor(
    config: Config = DEFAULT,
    probe: Annotated[bool, typer.Option("--probe", help="Send local servers requests that show what they do.")] = False,
    as_json: Json = False,
) -> None:
    """Check that everything is reachable and sane.

    Looks at the versions, the config file, the classifier, each upstream, prices, the ledger and the port.
    """
    from weighbridge.cli import doctor

    with in_words():
        done(doctor.run(config, as_json=as_json, is_probing=probe))


learning.add_to(app)


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    import json

    from weighbridge import __version__

    typer.echo(json.dumps({"version": __version__}) if as_json else f"weighbridge {__version__}")
