"""Where the stored files are: a local folder, or a bucket that speaks S3 (docs/design/archive-storage.md)."""

from archive.storage.local import LocalStorage
from archive.storage.port import Put, Replacing, Storage, StoredObject, Writing

__all__ = ["LocalStorage", "Put", "Replacing", "Storage", "StoredObject", "Writing"]
