"""Graphs of the stand-in for cuDNN: what was said of tensors and of the one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcad.backend.cudnn.stand_in_attention import compute, refusal, spans, workspace

STAGES = ("made", "validated", "lowered", "planned", "supported", "built")


class Tensor:
    """A tensor of a graph; ``set_*`` return it, as those of the package."""

    def __init__(self, graph: Graph, virtual: bool, **said: Any) -> None:
        self.graph, self.virtual = graph, virtual
        self.dim: tuple[int, ...] | None = None
        self.stride: tuple[int, ...] | None = None
        self.data_type: Any = None
        self.uid, self.name = -1, ""
        for name, value in said.items():
            self._set(name, value)

    def _set(self, name: str, value: Any) -> Tensor:
        if self.graph.stage != "made":
            raise RuntimeError("a tensor is changed after its graph was validated")
        setattr(self, name, tuple(value) if name in ("dim", "stride") else value)
        return self

    def set_dim(self, value: Sequence[int]) -> Tensor:
        return self._set("dim", value)

    def set_stride(self, value: Sequence[int]) -> Tensor:
        return self._set("stride", value)

    def set_data_type(self, value: Any) -> Tensor:
        return self._set("data_type", value)

    def set_uid(self, value: int) -> Tensor:
        return self._set("uid", value)

    def set_name(self, value: str) -> Tensor:
        return self._set("name", value)

    def set_output(self, value: bool) -> Tensor:
        return self._set("virtual", not value)


class Graph:
    """Attention, forward or back; it goes through :data:`STAGES` one after the other.

    Attributes
    ----------
    options : dict
        Of the operation: ``attn_scale``, ``use_causal_mask``...
    ports : dict
        What the operation calls its tensors -> tensor: ``"q"``, ``"o"``, ``"stats"``, ``"dQ"``...
    """

    def __init__(self, module: Any, io_data_type: Any) -> None:
        self.module, self.stage, self.io_data_type = module, "made", io_data_type
        self.options: dict[str, Any] = {}
        self.ports: dict[str, Tensor] = {}
        self.limit: int | None = None

    def tensor(
        self, *, dim: Sequence[int], stride: Sequence[int], data_type: Any, uid: int, name: str = ""
    ) -> Tensor:
        """An operand."""
        said = {"dim": dim, "stride": stride, "data_type": data_type, "uid": uid, "name": name}
        return Tensor(self, False, **said)

    def sdpa(
        self, *, q: Tensor, k: Tensor, v: Tensor, generate_stats: bool, name: str = "",
        attn_scale: float = 1.0, use_causal_mask: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """``out, stats``; hidden are keys whose number is larger than the query's."""
        out = Tensor(self, True)
        stats = Tensor(self, True) if generate_stats else None
        self._operation({"q": q, "k": k, "v": v, "o": out}, attn_scale, use_causal_mask)
        if stats is not None:
            self.ports["stats"] = stats
        return out, stats

    def sdpa_backward(
        self, *, q: Tensor, k: Tensor, v: Tensor, o: Tensor, dO: Tensor, stats: Tensor,
        attn_scale: float = 1.0, use_causal_mask: bool = False,
        use_deterministic_algorithm: bool = False, name: str = "",
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """``dq, dk, dv``."""
        found = {name: Tensor(self, True) for name in ("dQ", "dK", "dV")}
        given = {"q": q, "k": k, "v": v, "o": o, "dO": dO, "stats": stats}
        self._operation(given | found, attn_scale, use_causal_mask)
        self.options["use_deterministic_algorithm"] = use_deterministic_algorithm
        return tuple(found.values())

    def _operation(self, ports: dict[str, Tensor], scale: float, causal: bool) -> None:
        if self.stage != "made" or self.ports:
            raise RuntimeError("the stand-in for cuDNN takes one operation in a graph")
        self.ports = ports
        self.options = {"attn_scale": scale, "use_causal_mask": causal}

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
        self._go("lowered")

    def create_execution_plans(self, modes: Sequence[Any]) -> None:
        if not all(isinstance(mode, self.module.heur_mode) for mode in modes):
            raise TypeError("cudnn.heur_mode is missing")
        self._go("planned")

    def deselect_workspace_greater_than(self, nbytes: int) -> None:
        self.limit = nbytes

    def check_support(self) -> None:
        why = refusal(self)
        if why:
            raise self.module.cudnnGraphNotSupportedError(why)
        self._go("supported")

    def build_plans(self) -> None:
        if self.limit is not None and workspace(self) > self.limit:
            raise RuntimeError("no plan is left")
        self._go("built")

    def get_workspace_size(self) -> int:
        return workspace(self)

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
        needed = self.get_workspace_size()
        reads, writes = spans(self, places)
        writes.append((workspace, needed))

        def run() -> None:
            compute(self, places, xp.host_view)
            xp.host_view(workspace, needed)[:] = 0xFF  # what lies there is lost

        name = "cudnn sdpa_backward" if "dQ" in self.ports else "cudnn sdpa"
        xp.enqueue(name, reads, writes, run, stream=current)
