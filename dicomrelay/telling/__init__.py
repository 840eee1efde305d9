"""What the ledger says, in words for people: the terminal's and Flower's. No I/O."""
