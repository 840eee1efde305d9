"""The sections [retrieve] and [commitment]."""

from __future__ import annotations

from pydantic import Field

from dicomrelay.settings.fields import Section


class RetrieveSettings(Section):
    """C-MOVE and C-GET as SCP: what the archive gives back."""

    max_moves: int = Field(
        8,
        ge=1,
        le=256,
        description="C-MOVEs that send at once in one listener process; to one destination as many as it has "
        "`associations`.",
    )
    wait_s: float = Field(
        30,
        ge=0,
        le=600,
        description="How long another one waits for its turn, before it is answered A702, out of resources.",
    )
    max_instances: int = Field(
        100_000,
        ge=1,
        le=1_000_000,
        description="Instances of one C-MOVE or C-GET; over it A701, out of resources.",
    )


class CommitmentSettings(Section):
    """Storage Commitment as SCP: what the archive takes responsibility for."""

    wait_s: float = Field(
        300,
        ge=0,
        le=86_400,
        description="How long an instance that the archive does not have yet is waited for, before it counts as missing.",
    )
    same_association_s: float = Field(
        5,
        ge=0,
        le=60,
        description="How long the report may take to go out on the association of the request; later ones go out on one of ours.",
    )
    attempts: int = Field(
        100, ge=1, le=10_000, description="Attempts to report to a peer, before it is given up."
    )
