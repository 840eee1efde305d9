"""Work behind the gateway: group, forward, archive, frames, release. Tasks are thin; the work is plain functions."""
