"""The APIs that clients speak. One file each; what an upstream does not speak is put in terms of chat completions."""
