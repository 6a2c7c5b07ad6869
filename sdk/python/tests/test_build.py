"""The build: what it finds, what it says, and what comes out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).parents[1]

PROJECTOR = """
from lamphouse import Projector, key, on, table

@table("counters")
class Counter:
    name: str = key()

class Counters(Projector):
    name = "counters"
    version = "1.0.0"
    tables = [Counter]

    @on("Counted")
    def counted(self, event, tables):
        import colorsys
        tables.upsert(Counter, event.stream_id)
"""


def build(project: Path, source: str) -> subprocess.CompletedProcess[str]:
    (project / "plugin.py").write_text(source)
    command = [sys.executable, "-m", "lamphouse.build", "--out", "build/plugin.wasm"]
    return subprocess.run(
        command, cwd=project, env={"PYTHONPATH": str(SDK)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "plugin.py holds no plugin: write a class that is made of Projector or Upcaster"),
        ("plugin = 1", "plugin.py sets plugin = 1"),
        (PROJECTOR + "class Two(Projector): pass", "several plugins (Counters, Two); say which one it is"),
        (
            PROJECTOR.replace('"counters"\n', '"Counters"\n'),
            "plugin name 'Counters' must be lower-case ASCII",
        ),
        ("import nothing", "plugin.py cannot be imported: ModuleNotFoundError: No module named 'nothing'"),
        ("def f(:", "SyntaxError"),
        ("x = 1 / 0", 'File "plugin.py", line 1, in <module>\n    x = 1 / 0'),
    ],
)
def test_mistakes_are_told_as_python_tells_them(tmp_path: Path, source: str, why: str) -> None:
    done = build(tmp_path, source)
    assert done.returncode == 1
    assert why in done.stderr
    assert "lamphouse/build.py" not in done.stderr


def test_a_module_that_the_sandbox_does_not_have_is_told(tmp_path: Path) -> None:
    pytest.importorskip("componentize_py")
    done = build(tmp_path, "import ctypes\n" + PROJECTOR)
    assert done.returncode == 1
    assert "plugin.py runs here, but not in the sandbox's Python" in done.stderr
    assert 'File "plugin.py", line 1' in done.stderr
    assert "No module named '_ctypes'" in done.stderr


def test_texts_have_the_same_hashes_in_every_build(tmp_path: Path) -> None:
    pytest.importorskip("componentize_py")
    told = 'import sys\nif sys.platform == "wasi":\n    raise Exception(f"{hash(chr(97))} {sys.flags.hash_randomization}")\n'
    done = build(tmp_path, told + PROJECTOR)
    assert "Exception: -468864544 0" in done.stderr


def test_a_component_comes_out_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("componentize_py")
    (tmp_path / "tests").mkdir()
    done = build(tmp_path, PROJECTOR)
    assert done.returncode == 0, done.stderr
    assert "projector counters 1.0.0" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "plugin.py", "tests"]
    assert (tmp_path / "build" / "plugin.wasm").read_bytes()[:8] == b"\0asm\x0d\0\x01\0"
