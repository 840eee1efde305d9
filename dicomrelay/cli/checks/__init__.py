"""What `dicomrelay doctor` looks at, a module for each kind of thing.

A check reads and asks; it makes nothing, changes nothing, and shows no secret.
"""
