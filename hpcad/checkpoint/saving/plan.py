"""What one save consists of, agreed on by all ranks before a byte is written."""

from __future__ import annotations

import itertools
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from hpcad.checkpoint.format import checksum, encode_state, part_name
from hpcad.checkpoint.manifest import ArraySpec, SliceSpec
from hpcad.checkpoint.slices import Arrays, Piece, Slice, describe, divide
from hpcad.errors import CheckpointError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


@dataclass(frozen=True)
class Plan:
    """A save.

    Attributes
    ----------
    step : int
    nonce : str
        16 hexadecimal digits, drawn by rank 0.
    state : dict
        JSON values, as rank 0 gave them.
    arrays : list of Piece
        All arrays, whole.
    shares : list of list of Piece
        What each rank writes.
    """

    step: int
    nonce: str
    state: dict[str, Any]
    arrays: list[Piece]
    shares: list[list[Piece]]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(piece.nbytes for piece in self.arrays)

    def specs(
        self, offsets: Sequence[Sequence[int]], checksums: Sequence[Sequence[str]]
    ) -> tuple[ArraySpec, ...]:
        """Return the manifest's entries.

        Parameters
        ----------
        offsets, checksums : sequence per rank
            Of one number or text per piece: where it lies in the part, and its xxh3_128.
        """
        slices: dict[str, list[SliceSpec]] = {piece.name: [] for piece in self.arrays}
        for rank, share in enumerate(self.shares):
            file = part_name(self.nonce, rank)
            for piece, offset, digest in zip(share, offsets[rank], checksums[rank], strict=True):
                spec = SliceSpec(file, offset, piece.start, piece.count, digest)
                slices[piece.name].append(spec)
        return tuple(
            ArraySpec(
                piece.name,
                piece.dtype,
                piece.shape,
                tuple(sorted(slices[piece.name], key=lambda spec: spec.start)),
            )
            for piece in self.arrays
        )


def make_plan(
    communicator: Communicator,
    step: int,
    arrays: Arrays,
    state: Mapping[str, Any],
    smallest_part: int,
) -> Plan:
    """Agree on what is saved; collective.

    Raises
    ------
    CheckpointError
        On all ranks: a name, a dtype or the state cannot be stored, the ranks do not save the
        same, or the slices of an array do not cover it exactly once.
    """
    offer, failure = {}, None
    try:
        offer = _offer(step, arrays, state if communicator.rank == 0 else {})
    except CheckpointError as error:
        failure = error
    offers = communicator.gather_json(offer, name="checkpoint plan")
    if not all(offers):
        communicator.agree(failure, name="checkpoint plan")
    whole = [piece for piece in describe(arrays) if not isinstance(arrays[piece.name], Slice)]
    _require_equal(offers)
    held = [[_piece(record) for record in offer["slices"]] for offer in offers]
    _require_cover(held)
    shares = divide(whole, communicator.size, smallest_part)
    order = dict.fromkeys([*arrays, *(piece.name for piece in itertools.chain(*held))])
    known = {piece.name: piece for piece in [*whole, *itertools.chain(*held)]}
    return Plan(
        step=step,
        nonce=offers[0]["nonce"],
        state=json.loads(offers[0]["state"]),
        arrays=[
            Piece(name, known[name].dtype, known[name].shape, 0, math.prod(known[name].shape))
            for name in order
        ],
        shares=[
            [*share, *(piece for piece in own if piece.count)]
            for share, own in zip(shares, held, strict=True)
        ],
    )


def _offer(step: int, arrays: Arrays, state: Mapping[str, Any]) -> dict[str, Any]:
    if step < 0:
        raise CheckpointError(f"the step of a checkpoint is a count, not {step}")
    pieces = describe(arrays)
    sliced = [piece for piece in pieces if isinstance(arrays[piece.name], Slice)]
    whole = [astuple(piece) for piece in pieces if not isinstance(arrays[piece.name], Slice)]
    return {
        "step": step,
        "arrays": len(whole),
        "whole": checksum(json.dumps(whole).encode()),
        "slices": [astuple(piece) for piece in sliced],
        "state": encode_state(state),
        "nonce": secrets.token_hex(8),
    }


def _piece(record: Sequence[Any]) -> Piece:
    name, dtype, shape, start, count = record
    return Piece(name, dtype, tuple(shape), start, count)


def _require_equal(offers: Sequence[Mapping[str, Any]]) -> None:
    """Check that all ranks save the same step and the same replicated arrays."""
    for what, words in (
        ("step", "step {}"),
        ("arrays", "{} whole arrays"),
        ("whole", "whole arrays of other names, order, shapes or dtypes (digest {})"),
    ):
        for rank, offer in enumerate(offers):
            if offer[what] != offers[0][what]:
                raise CheckpointError(
                    f"the ranks do not save the same: rank {rank} has {words.format(offer[what])} "
                    f"and rank 0 {offers[0][what]}; give every rank the same step and arrays, "
                    "or a Slice of those that are divided"
                )


def _require_cover(held: Sequence[Sequence[Piece]]) -> None:
    """Check that the slices of every divided array cover it exactly once."""
    slices: dict[str, list[tuple[Piece, int]]] = {}
    for rank, pieces in enumerate(held):
        for piece in pieces:
            slices.setdefault(piece.name, []).append((piece, rank))
    for name, found in slices.items():
        if len({(piece.dtype, piece.shape) for piece, _ in found}) > 1:
            raise CheckpointError(f"the slices of array {name!r} differ in dtype or whole shape")
        reached = 0
        for piece, rank in sorted(found, key=lambda item: (item[0].start, item[0].count)):
            if piece.count and piece.start != reached:
                raise CheckpointError(
                    f"the slices of array {name!r} do not cover it exactly once: that of rank "
                    f"{rank} begins at element {piece.start}, and the ones before it reach to "
                    f"{reached}"
                )
            reached += piece.count
        if reached != math.prod(found[0][0].shape):
            raise CheckpointError(
                f"the slices of array {name!r} hold {reached} elements of shape "
                f"{found[0][0].shape}; every element must be in one slice"
            )
