"""The verbs that learn from the user's own traffic: fit, eval, calibrate and replay, their options and help."""
# ruff: noqa: PLC0415, PLR0913, PLR0917
# As in commands.py: imports inside, and many arguments that are passed by name.

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.cli.verbs import DEFAULT, Config, Json, done, in_words


def add_to(app: typer.Typer) -> None:
    """Put them on the command line."""
    app.command()(fit)
    app.command("eval")(evaluate)
    app.command()(calibrate)
    app.command()(replay)


def fit(
    labels: Annotated[Path | None, typer.Argument(help="Labels: .jsonl, .csv or .parquet.")] = None,
    config: Config = DEFAULT,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="Learn from the feedback and the shadows in the ledger.")
    ] = False,
    implicit: Annotated[
        bool, typer.Option("--implicit", help="With --from-ledger: take signs for weak labels, too.")
    ] = False,
    make_labels: Annotated[
        str | None,
        typer.Option(help="Make labels: send these prompts to both of your models. `starter` takes shipped ones."),
    ] = None,
    labels_file: Annotated[Path, typer.Option("--labels", help="Where labels that are made go.")] = Path(
        "labels.jsonl"
    ),
    max_usd: Annotated[str, typer.Option(help="What making labels may cost, over all runs of one file.")] = "1",
    judge: Annotated[str | None, typer.Option(help="The upstream that judges answers, asked twice.")] = None,
    check: Annotated[str | None, typer.Option(help="A program that judges answers: exit code 0 is right.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Judge the answers yourself.")] = False,
    route: Annotated[str | None, typer.Option(help="The route whose two models are asked; the first.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder of the artefact.")] = None,
    base: Annotated[Path | None, typer.Option(help="The artefact to build on; the shipped one.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Another encoder: a folder in Hugging Face's layout, or a name of the catalogue or the hub."),
    ] = None,
    hold_out: Annotated[
        float | None, typer.Option(help="The share of the questions that nothing is fitted on.", min=0, max=0.9)
    ] = None,
    activate: Annotated[bool, typer.Option("--activate", help="Put it to use: write it into the config file.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Put it to use though it is no better than chance.")] = False,
    as_json: Json = False,
) -> None:
    """Fit the classifier to your own models and traffic.

    Takes labels from a file or from the ledger's feedback, or makes them. Prints what the head is worth on rows that it
    has not seen, writes an artefact, and shows the change of the config file.
    """
    from weighbridge.cli import fit

    making = fit.Making(make_labels, labels_file, max_usd, judge, check, ask, route) if make_labels else None
    fitting = fit.Fitting(base, encoder, output, hold_out, activate, force)
    with in_words():
        found = fit.run(
            config,
            labels,
            fitting,
            from_the_ledger=from_ledger,
            implicit=implicit,
            making=making,
            as_json=as_json,
        )
        done(found)


def evaluate(
    labels: Annotated[Path | None, typer.Argument(help="Labels: .jsonl, .csv or .parquet.")] = None,
    config: Config = DEFAULT,
    artefact: Annotated[Path | None, typer.Option(help="Measure this artefact, not the classifier in use.")] = None,
    against: Annotated[Path | None, typer.Option(help="End with 1 where it is worse than this artefact.")] = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="Measure on the ledger's feedback and shadows.")
    ] = False,
    robustness: Annotated[bool, typer.Option("--robustness", help="Score changed prompts, too.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the classifier on labels.

    Without labels it takes the feedback in the ledger. Rows that a classifier was fitted on are left out.
    """
    from weighbridge.cli import evaluate

    looks = evaluate.Looks(artefact, against, from_ledger, robustness)
    with in_words():
        done(evaluate.run(config, labels, looks, as_json=as_json))


def calibrate(
    labels: Annotated[Path | None, typer.Argument(help="Labels for --quality; without them the ledger's.")] = None,
    config: Config = DEFAULT,
    remote_share: Annotated[
        float | None, typer.Option(help="Send this share to the large model, 0..1.", min=0, max=1)
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Spend at most this: 50/day, in USD.")] = None,
    quality: Annotated[
        float | None, typer.Option(help="Promise this part of the large model's quality.", min=0.01, max=0.999)
    ] = None,
    confidence: Annotated[float, typer.Option(help="How sure the promise is.", min=0.5, max=0.9999)] = 0.95,
    over: Annotated[
        int | None, typer.Option(help="Requests on which it shows; as many as labels. 0: in the long run.", min=0)
    ] = None,
    route: Annotated[str | None, typer.Option(help="The route whose threshold is set; the first.")] = None,
    since: Annotated[str | None, typer.Option(help="Traffic from when on: 7d, 12h, or a date.")] = None,
    drafts: Annotated[
        Path | None, typer.Option(help="Judged drafts: fit a cascade's weights to them, and its `accept`.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write it into the config file.")] = False,
    as_json: Json = False,
) -> None:
    """Set a route's threshold for a share, a budget or a promise.

    Share and budget are read off the ledger's own traffic; a promise of quality needs labels, or for a cascade drafts.
    It shows the change of the config file, and makes it where --write says so.
    """
    from weighbridge.cli import calibrate

    wanted = calibrate.Wanted(remote_share, budget, quality, confidence, over)
    if drafts is not None:
        from weighbridge.cli import drafts as judged

        with in_words():
            done(judged.run(config, drafts, wanted, route=route, write=write, as_json=as_json))
    with in_words():
        done(calibrate.run(config, labels, wanted, route=route, since=since, write=write, as_json=as_json))


def replay(
    config: Config = DEFAULT,
    since: Annotated[str | None, typer.Option(help="From when on: 7d, 12h, 30m, or a date.")] = "7d",
    threshold: Annotated[float | None, typer.Option(help="Try this threshold.", min=0, max=1)] = None,
    policy: Annotated[Path | None, typer.Option(help="Try the policies and rules of this config file.")] = None,
    prices: Annotated[
        Path | None, typer.Option(help="Try the prices of this TOML file, under [upstreams.NAME].")
    ] = None,
    artefact: Annotated[Path | None, typer.Option(help="Score stored requests anew with this artefact.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the cost-quality curve to this file.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the curve to this file, as SVG.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the curve to this file, as PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what the traffic would have cost with other settings.

    Uses the scores and tokens in the ledger, and the requests where they were stored. Nothing is sent, nothing is
    changed. What the ledger cannot tell is counted and left out.
    """
    from weighbridge.cli import replay

    otherwise = replay.Otherwise(threshold, policy, prices, artefact)
    with in_words():
        replay.run(config, since, otherwise, replay.Outputs(html, svg, png), as_json=as_json)
