"""The `weighbridge` command. What the verbs are is in commands.py; each verb's work is a file of its own."""


def main() -> None:
    """Run the command line."""
    from weighbridge.cli.commands import run  # noqa: PLC0415  # a worker process needs no command line

    run()
