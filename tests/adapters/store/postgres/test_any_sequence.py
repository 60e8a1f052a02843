"""Any sequence of verbs on PostgreSQL: the same model and the same books as in the core's own test."""

from __future__ import annotations

import secrets
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings

from tests.adapters.conftest import in_schema
from tests.core.test_any_sequence import AnySequence
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.postgres import open_postgres
from treadle.core.fabric import Fabric


class AnySequenceOnPostgres(AnySequence):
    """Each sequence has a schema of its own; a restart opens it again."""

    url: ClassVar[str]

    def __init__(self) -> None:
        self.schema = f"treadle_{secrets.token_hex(6)}"
        super().__init__()

    def open(self) -> None:
        self.store = self.run(open_postgres(in_schema(self.url, self.schema)))  # type: ignore[assignment]
        self.fabric = Fabric(
            self.store, LocalBus(), self.clock, self.ids, unprinted(self.clock), report=lambda name, error: None
        )


AnySequenceOnPostgres.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
@pytest.mark.needs("postgres")
@pytest.mark.timeout(300)
class TestAnySequenceOnPostgres(AnySequenceOnPostgres.TestCase):  # type: ignore[misc,name-defined]
    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def _server(request: pytest.FixtureRequest) -> None:
        # Nobody else may use it: a fact waits for every transaction of the cluster, and the books are read at once.
        AnySequenceOnPostgres.url = request.getfixturevalue("own_postgres").url
