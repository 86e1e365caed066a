from __future__ import annotations

from pathlib import Path

import pytest

from fastgen.tokenizer import disk


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    assert disk.directory() == tmp_path / "cache"
    assert disk.load("thing") is None
    disk.store("thing", b"payload")
    assert disk.load("thing") == b"payload"
    disk.store("thing", b"other")
    assert disk.load("thing") == b"other"
    assert [path.name for path in disk.directory().iterdir()] == ["thing"]


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 100])
def test_damage_is_noticed(damage: bytes) -> None:
    disk.store("thing", b"payload")
    (disk.directory() / "thing").write_bytes(damage)
    assert disk.load("thing") is None


def test_one_flipped_bit_is_noticed() -> None:
    disk.store("thing", b"payload")
    path = disk.directory() / "thing"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert disk.load("thing") is None


def test_a_place_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FASTGEN_CACHE_DIR", str(tmp_path / "file" / "below"))
    disk.store("thing", b"payload")
    assert disk.load("thing") is None


def test_a_failed_replacement_leaves_nothing_behind() -> None:
    (disk.directory() / "thing" / "in the way").mkdir(parents=True)
    disk.store("thing", b"payload")
    assert [path.name for path in disk.directory().iterdir()] == ["thing"]


def test_the_users_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FASTGEN_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert disk.directory().is_relative_to(tmp_path)
    assert "fastgen" in disk.directory().parts
