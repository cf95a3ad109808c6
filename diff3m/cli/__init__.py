"""The command line: `main` dispatches, `parser` collects the commands, one module a command."""
