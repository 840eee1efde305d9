"""The command line: one file a command. Data on standard output, words on standard error."""
