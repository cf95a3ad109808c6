"""Handlers stay as they are, but for a ZeroGPU Space, where they are decorated and generators stay generators."""

import inspect
import sys
import types

from app.runtime.gpu import on_gpu


def work(x):
    yield x


def test_nothing_changes_without_zerogpu(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert on_gpu(work) is work
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setitem(sys.modules, "spaces", None)  # the package is absent
    assert on_gpu(work) is work


def test_on_zerogpu_the_handler_asks_for_a_gpu(monkeypatch):
    requests = []

    def gpu(duration):
        def decorate(handler):
            requests.append((handler, duration))
            return handler

        return decorate

    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=gpu))
    assert list(on_gpu(work)(3)) == [3] and requests == [(work, 60)] and inspect.isgeneratorfunction(on_gpu(work))
