"""Files that root makes in a home of another user: that user's services have to read and write them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def give_to_owner_of(folder: Path, made: int | Path) -> None:
    """Give what was made, an open file or a path, to the owner of a folder; only root can, and nobody else has to.

    Raises
    ------
    OSError
        It cannot be given, or the file has another name too: it may be somebody else's.
    """
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    found = os.fstat(made) if isinstance(made, int) else made.lstat()
    if (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid):
        return
    if isinstance(made, int):
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise PermissionError(errno.EPERM, "a file of another user is linked there")
        os.fchown(made, owner.st_uid, owner.st_gid)
    else:
        os.lchown(made, owner.st_uid, owner.st_gid)
