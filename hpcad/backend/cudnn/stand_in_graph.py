"""Graphs of the stand-in for cuDNN: what was said of tensors and of the operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.backend.cudnn import stand_in_attention, stand_in_convolution
from hpcad.backend.cudnn.stand_in_operation import Engine, Operation
from hpcad.backend.cudnn.stand_in_tensor import Tensor

STAGES = ("made", "validated", "lowered", "planned", "supported", "built")


class Graph:
    """Attention or a convolution, one way; it goes through :data:`STAGES` one after the other.

    Attributes
    ----------
    options : dict
        Of the operation: ``attn_scale``, ``use_causal_mask``, ``stride``...
    ports : dict
        What the operation calls its tensors -> tensor: ``"q"``, ``"o"``, ``"image"``, ``"DW"``...
    """

    def __init__(self, module: Any, io_data_type: Any) -> None:
        self.module, self.stage, self.io_data_type = module, "made", io_data_type
        self.operation: Operation | None = None
        self.options: dict[str, Any] = {}
        self.ports: dict[str, Tensor] = {}
        self.engines: list[Engine] = []
        self.limit: int | None = None

    def tensor(
        self, *, dim: Sequence[int], stride: Sequence[int], data_type: Any, uid: int, name: str = ""
    ) -> Tensor:
        """An operand."""
        said = {"dim": dim, "stride": stride, "data_type": data_type, "uid": uid, "name": name}
        return Tensor(self, False, **said)

    # -- operations -------------------------------------------------------------------------------

    def sdpa(
        self, *, q: Tensor, k: Tensor, v: Tensor, generate_stats: bool, name: str = "",
        attn_scale: float = 1.0, use_causal_mask: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """``out, stats``; hidden are keys whose number is larger than the query's."""
        found = {"o": Tensor(self, True)}
        if generate_stats:
            found["stats"] = Tensor(self, True)
        options = {"attn_scale": attn_scale, "use_causal_mask": use_causal_mask}
        self._set(stand_in_attention.FORWARD, {"q": q, "k": k, "v": v} | found, options)
        return found["o"], found.get("stats")

    def sdpa_backward(
        self, *, q: Tensor, k: Tensor, v: Tensor, o: Tensor, dO: Tensor, stats: Tensor,
        attn_scale: float = 1.0, use_causal_mask: bool = False,
        use_deterministic_algorithm: bool = False, name: str = "",
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """``dq, dk, dv``."""
        found = {name: Tensor(self, True) for name in ("dQ", "dK", "dV")}
        given = {"q": q, "k": k, "v": v, "o": o, "dO": dO, "stats": stats}
        options = {
            "attn_scale": attn_scale,
            "use_causal_mask": use_causal_mask,
            "use_deterministic_algorithm": use_deterministic_algorithm,
        }
        self._set(stand_in_attention.BACK, given | found, options)
        return tuple(found.values())

    def conv_fprop(self, *, image: Tensor, weight: Tensor, name: str = "", **slide: Any) -> Tensor:
        """``Y``; ``slide`` has ``pre_padding``, ``post_padding``, ``stride`` and ``dilation``."""
        given = {"image": image, "weight": weight}
        return self._convolution(stand_in_convolution.FORWARD, given, slide)

    def conv_dgrad(self, *, loss: Tensor, filter: Tensor, name: str = "", **slide: Any) -> Tensor:
        """``DX``."""
        given = {"loss": loss, "filter": filter}
        return self._convolution(stand_in_convolution.INPUT, given, slide)

    def conv_wgrad(self, *, image: Tensor, loss: Tensor, name: str = "", **slide: Any) -> Tensor:
        """``DW``."""
        given = {"image": image, "loss": loss}
        return self._convolution(stand_in_convolution.WEIGHT, given, slide)

    def add(self, *, a: Tensor, b: Tensor, name: str = "") -> Tensor:
        """A bias behind a forward convolution."""
        if "bias" in self.ports or "relu" in self.options:
            raise RuntimeError("the stand-in for cuDNN adds one bias, before ReLU")
        found = self._behind(a)
        self.ports["bias"] = b
        return found

    def relu(self, *, input: Tensor, name: str = "") -> Tensor:
        """ReLU behind a forward convolution and its bias."""
        found = self._behind(input)
        self.options["relu"] = True
        return found

    def _behind(self, before: Tensor) -> Tensor:
        """What follows the convolution takes the place of its answer, which stays unseen."""
        if self.operation is not stand_in_convolution.FORWARD or before is not self.ports["Y"]:
            raise RuntimeError("the stand-in for cuDNN takes bias and ReLU behind conv_fprop")
        found = self.ports["Y"] = Tensor(self, True)
        return found

    def _convolution(self, operation: Operation, given: dict[str, Tensor], slide: Any) -> Tensor:
        if set(slide) != {"pre_padding", "post_padding", "stride", "dilation"}:
            raise TypeError(f"{operation.name} was told {sorted(slide)}")
        (port,) = operation.written
        found = Tensor(self, True)
        self._set(operation, {**given, port: found}, slide)
        return found

    def _set(self, operation: Operation, ports: dict[str, Tensor], options: dict) -> None:
        if self.stage != "made" or self.operation is not None:
            raise RuntimeError("the stand-in for cuDNN takes one operation in a graph")
        self.operation, self.ports, self.options = operation, ports, options

    @property
    def _known(self) -> Operation:
        if self.operation is None:
            raise RuntimeError("a graph without an operation")
        return self.operation

    # -- stages -----------------------------------------------------------------------------------

    def validate(self) -> None:
        """Whether everything is said."""
        uids = [t.uid for t in self.ports.values() if not t.virtual]
        if len(set(uids)) < len(uids) or -1 in uids:
            raise RuntimeError(f"tensors have the numbers {uids}: each needs one of its own")
        for name, t in self.ports.items():
            if t.dim is None or t.stride is None or t.data_type is None:
                raise RuntimeError(f"it is not said where {name} lies, and of which type")
        self._go("validated")

    def build_operation_graph(self) -> None:
        why = self._known.mismatch(self)
        if why:
            raise RuntimeError(why)
        self._go("lowered")

    def create_execution_plans(self, modes: Sequence[Any]) -> None:
        if not all(isinstance(mode, self.module.heur_mode) for mode in modes):
            raise TypeError("cudnn.heur_mode is missing")
        self.engines = list(self._known.engines)
        self._go("planned")

    def deselect_numeric_notes(self, notes: Sequence[Any]) -> None:
        """Cross out engines that carry one of the notes."""
        if self.stage != "planned":
            raise RuntimeError("notes mark the plans that are there: none, or those that are built")
        names = {self.module.numerical_note(note).name for note in notes}
        self.engines = [engine for engine in self.engines if not engine.notes & names]

    def deselect_workspace_greater_than(self, nbytes: int) -> None:
        self.limit = nbytes

    def check_support(self) -> None:
        why = self._known.refusal(self) or ("" if self.engines else "all plans are crossed out")
        if why:
            raise self.module.cudnnGraphNotSupportedError(why)
        self._go("supported")

    def build_plans(self) -> None:
        if self.limit is not None and self.get_workspace_size() > self.limit:
            raise RuntimeError("no plan is left")
        self._go("built")

    def get_workspace_size(self) -> int:
        return self._known.workspace(self)

    def _go(self, stage: str) -> None:
        if STAGES.index(stage) != STAGES.index(self.stage) + 1:
            raise RuntimeError(f"a graph that is {self.stage} cannot be {stage}")
        self.stage = stage

    # -- running ----------------------------------------------------------------------------------

    def execute(self, tensors: dict[int, int], workspace: int, handle: Any) -> None:
        """Enqueue it on the handle's stream.

        Parameters
        ----------
        tensors : dict
            Number of a tensor -> address.
        """
        named = {t.uid: (port, t) for port, t in self.ports.items() if not t.virtual}
        if self.stage != "built" or set(tensors) != set(named):
            raise RuntimeError(f"cuDNN was given tensors {sorted(tensors)}, not {sorted(named)}")
        if not all(type(place) is int for place in (*tensors.values(), workspace)):
            raise TypeError("only plain addresses are safe while a stream is captured")
        if any(place % 16 for place in tensors.values()):
            raise RuntimeError("an address is no multiple of 16")
        xp = self.module.xp
        current = xp.cuda.get_current_stream()
        if handle.stream != current.ptr:
            raise RuntimeError("the handle is bound to another stream than the current one")
        places = {named[uid][0]: place for uid, place in tensors.items()}
        needed, written = self.get_workspace_size(), self._known.written
        spans = {port: self.ports[port].span(place) for port, place in places.items()}
        reads = [span for port, span in spans.items() if port not in written]
        writes = [span for port, span in spans.items() if port in written]

        def run() -> None:
            self._compute(places)
            xp.host_view(workspace, needed)[:] = 0xFF  # what lies there is lost

        name = f"cudnn {self._known.name}"
        xp.enqueue(name, reads, [*writes, (workspace, needed)], run, stream=current)

    def _compute(self, places: dict[str, int]) -> None:
        """Read the operands, and write the answers."""
        view, written = self.module.xp.host_view, self._known.written
        at = {port: self.ports[port].array(place, view) for port, place in places.items()}
        given = {port: x.astype(np.float32) for port, x in at.items() if port not in written}
        for port, answer in self.engines[0].compute(self, given).items():
            if port in at:  # what is no output is lost
                at[port][...] = answer.astype(at[port].dtype)
