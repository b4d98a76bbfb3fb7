"""What cannot be used or done, in words: files, labels, artefacts, configs. The command line ends with these."""


class Unusable(Exception):
    """The message says where, why and what to do instead."""
