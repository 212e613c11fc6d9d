"""The scripts of the queue beside a model of it, step by step, on real servers.

``MG_QUEUE_SEEDS="7 8"`` and ``MG_QUEUE_STEPS=10000`` choose what is run; a failure names its seed and step.
"""

from __future__ import annotations

import os

import pytest

from mailgenius.link import Redis
from mailgenius.servers import ValkeyServer
from tests.rooms.queue_model import Model

STEPS = int(os.environ.get("MG_QUEUE_STEPS", "2500"))
ROUNDS = int(os.environ.get("MG_FAULT_ROUNDS", "2"))
SEEDS = [int(seed) for seed in os.environ.get("MG_QUEUE_SEEDS", "").split()] or list(range(1, ROUNDS + 1))


@pytest.mark.faults
@pytest.mark.parametrize("seed", SEEDS)
def test_scripts_agree_with_the_model(redis_versions: ValkeyServer, seed: int) -> None:
    with Redis(redis_versions.url) as redis:
        model = Model(redis, f"model-{seed}", seed)
        for _ in range(STEPS):
            model.step()
        model.drain()
