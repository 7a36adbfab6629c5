"""What is chosen for products on a device: made on rank 0, told to all, kept with the run.

Another algorithm sums in another order, and an epilogue rounds elsewhere than a kernel. So all
ranks take the same ones, and a run that goes on from a checkpoint takes those that it began with.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hpcad.backend.cublaslt.context import context_of
from hpcad.backend.cublaslt.tuning import INSTANT, Clock, adopt, record_for, tune
from hpcad.backend.device_backend import DeviceBackend
from hpcad.backend.gemm.record import Record
from hpcad.errors import DeviceError
from hpcad.parallel.communicator import Communicator
from hpcad.program.device.trials import fastest_form, measured
from hpcad.program.improve.epilogue_choice import FORMS, Epilogues

log = logging.getLogger(__name__)

FILE = "products.json"


class ProductChoices:
    """The choices of a run: forms of epilogues, and algorithms.

    Every method but the constructor is collective.

    Parameters
    ----------
    backend : DeviceBackend
    communicator : Communicator
    directory : Path or None
        Of the run, where rank 0 keeps the choices; without one they go to hpcad's cache.
    clock : callable, optional
        Seconds that something takes; else events on the device.

    Attributes
    ----------
    epilogues : Epilogues
        What programs are to be built with.
    """

    def __init__(
        self,
        backend: DeviceBackend,
        communicator: Communicator,
        directory: Path | None,
        clock: Clock | None = None,
    ) -> None:
        self.backend, self.communicator, self.clock = backend, communicator, clock
        self.epilogues = Epilogues()
        self._directory = directory
        self._record: Record | None = None
        # The strict device keeps no time: nothing can be measured there.
        self._measures = clock is not None or not hasattr(backend.xp, "host_view")

    def recall(self) -> None:
        """Take what the run in this directory was begun with."""
        known = {}
        if self._lead and self._directory is not None:
            known = self._kept().all()
        known = self.communicator.broadcast_json(known, name="choices for products")
        self.epilogues.chosen |= {k: label for k, label in known.items() if label in FORMS}
        self._adopt({k: label for k, label in known.items() if label not in FORMS})

    def settle(self) -> bool:
        """Measure the forms of what programs were built with and nobody has chosen for yet.

        Returns
        -------
        bool
            Whether something that was built is to be built in another form, on all ranks alike.
        """
        new = self._measured() if self._lead else {}
        changed = any(
            form != self.epilogues.form(self.epilogues.met[key]) for key, form in new.items()
        )
        new, changed = self.communicator.broadcast_json([new, changed], name="forms of products")
        self.epilogues.chosen |= new
        return changed

    def tune(self, program: Any) -> dict[str, float]:
        """Choose the algorithms for a program's products.

        Parameters
        ----------
        program : Executable or None
            None on a rank that has none.

        Returns
        -------
        dict
            Product -> seconds, of what this rank has measured now.
        """
        products = [] if program is None else [p for step in program.steps for p in step.products]
        record = self._kept() if self._lead and products else None

        def share(message: bytes | None) -> bytes:
            text = None if message is None else message.decode()
            return self.communicator.broadcast_json(text, name="algorithms of products").encode()

        seconds = tune(products, self.clock, record=record, lead=self._lead, share=share)
        # Those of forms that were only tried, too: eager products would meet them on rank 0 alone.
        choices = context_of(self.backend.xp).choices if self._lead and products else {}
        known = {key: data.hex() for key, data in choices.items()}
        self._adopt(self.communicator.broadcast_json(known, name="algorithms of products"))
        return seconds

    @property
    def _lead(self) -> bool:
        return self.communicator.rank == 0

    def _kept(self) -> Record:
        if self._record is None:
            path = None if self._directory is None else self._directory / FILE
            self._record = record_for(context_of(self.backend.xp), path)
        return self._record

    def _measured(self) -> dict[str, str]:
        """Key -> form, of what is open; what was wished for is only written down."""
        found = {}
        for candidate in list(self.epilogues.met.values()) if self.epilogues.wish else []:
            self._kept().put(candidate, self.epilogues.form(candidate), INSTANT)
        for candidate in self.epilogues.open if self._measures else []:
            known = self._kept().get(candidate, candidate.forms)
            if known is None:
                seconds = measured(
                    candidate, self.backend, clock=self.clock, product_clock=self.clock,
                    record=self._kept(),
                )  # fmt: skip
                form = fastest_form(seconds)
                self._kept().put(candidate, form, seconds[form])
            else:
                form = known[0]
            log.info("%s: %s", candidate.key, form)
            found[candidate.key] = form
        return found

    def _adopt(self, known: dict[str, str]) -> None:
        if not known:
            return
        try:
            choices = {str(key): bytes.fromhex(label) for key, label in known.items()}
        except ValueError as error:
            raise DeviceError(
                f"choices for products that cannot be read ({error}): {FILE} in the directory of "
                "the run was written by another version of hpcad, or is damaged; remove it"
            ) from error
        adopt(context_of(self.backend.xp), choices)
