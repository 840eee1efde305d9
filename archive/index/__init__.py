"""The index of an archive: what is stored, findable. It can be made anew from the stored files."""
