"""Fixtures for data tests: a small tree, and the real recordings where SPEECHADV_DATA names them."""
import importlib.util
import os
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("trees", Path(__file__).with_name("trees.py"))
trees = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(trees)
REAL = [root for root in os.environ.get("SPEECHADV_DATA", "").split(os.pathsep) if root]


@pytest.fixture
def make():
    """The helpers of trees.py."""
    return trees


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test touches the user's cache."""
    monkeypatch.setenv("SPEECHADV_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def made_tree(tmp_path):
    return trees.tree(tmp_path / "made")


@pytest.fixture(params=["made", *(["real"] if REAL else [])])
def roots(request, tmp_path):
    """Data roots: a made tree always, and the real recordings beside it where SPEECHADV_DATA is set."""
    return [trees.tree(tmp_path / "made")] if request.param == "made" else REAL
