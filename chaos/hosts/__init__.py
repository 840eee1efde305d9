"""A relay on several hosts, each with a network, processes, a name and a disk of its own: docs/design/hosts.md."""
