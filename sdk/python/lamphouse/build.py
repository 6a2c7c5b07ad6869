"""Makes a component of ``plugin.py``: ``python -m lamphouse.build --out build/orders.wasm``.

The plugin is imported here first, so that its mistakes are told as Python tells them; then componentize-py loads it
into a CPython for WebAssembly, and what is in memory then becomes the component.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from . import hash_seed
from .entry import check_plugin, find_plugin
from .errors import Refused
from .projector import Projector
from .traces import message, trace
from .upcaster import Upcaster

_SDK = Path(__file__).resolve().parent
_COMPONENTIZE_PY = "0.25.1"
# What of a project's folder is no part of the plugin.
_NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "dist", "lamphouse", "node_modules", "target", "tests", "venv", "*.egg-info",
    "*.pyc", "*.wasm", "*.db", "*.db-*",
)  # fmt: skip


class _Failed(Exception):
    """The build cannot go on; the text is for the author."""


def main(arguments: list[str] | None = None) -> int:
    """Builds the plugin of a folder; 0 where it went well, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m lamphouse.build", description="Makes a component of plugin.py."
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the component: build/NAME.wasm"
    )
    parser.add_argument("--project", type=Path, default=Path(), metavar="DIR", help="folder of plugin.py [.]")
    given = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        kind = _build(given.project.resolve(), given.out.resolve())
    except _Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    size = given.out.stat().st_size / 1e6
    print(f"{given.out}: {kind}, {size:.1f} MB, in {time.monotonic() - start:.0f} s")
    return 0


def _build(project: Path, out: Path) -> str:
    if not (project / "plugin.py").is_file():
        raise _Failed(f"there is no plugin.py in {project}")
    before = set(sys.modules)
    # As Python itself has it: a plugin's own modules come first.
    sys.path.insert(0, str(project))
    plugin = _import_plugin()
    late = _import_late(project)
    loaded = [module for name, module in sys.modules.items() if name not in before]
    is_projector = issubclass(plugin, Projector)
    with tempfile.TemporaryDirectory(prefix="lamphouse-") as stage:
        _stage(project, Path(stage), loaded, late)
        out.parent.mkdir(parents=True, exist_ok=True)
        _componentize(Path(stage), out, "projector" if is_projector else "upcaster")
    return f"{'projector' if is_projector else 'upcaster'} {plugin.name} {plugin.version}"


def _import_plugin() -> type[Projector] | type[Upcaster]:
    try:
        module = importlib.import_module("plugin")
        plugin = find_plugin(module)
        check_plugin(plugin)
        return plugin
    except (LookupError, Refused) as error:
        raise _Failed(str(error)) from error
    except Exception as error:
        raise _Failed(f"plugin.py cannot be imported: {message(error)}\n{trace(error)}") from error


def _import_late(project: Path) -> list[str]:
    """Imports what the project's modules import within functions, for the sandbox has no files to import it from then.
    Gives the names of those that are there."""
    late: list[str] = []
    seen: set[str] = set()
    while True:
        files = {
            file: module.__name__
            for module in list(sys.modules.values())
            if (file := getattr(module, "__file__", None))
            and file.endswith(".py")
            and _is_own(project, Path(file))
        }
        new = {file: name for file, name in files.items() if file not in seen}
        if not new:
            return late
        for file, name in new.items():
            seen.add(file)
            for wanted in _imports_in_functions(Path(file), name):
                try:
                    importlib.import_module(wanted)
                except ImportError:
                    # It may be meant for another system; if not, the call that needs it says so.
                    continue
                late.append(wanted)


def _is_own(project: Path, file: Path) -> bool:
    if not file.is_relative_to(project) or file.is_relative_to(_SDK):
        return False
    return not any(file.is_relative_to(folder) for folder in _site_packages())


def _site_packages() -> list[Path]:
    return [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")]


def _imports_in_functions(file: Path, module: str) -> Iterator[str]:
    tree = ast.parse(file.read_bytes(), filename=str(file))
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = module.split(".")[: -node.level] if node.level else []
                base = ".".join([*package, *([node.module] if node.module else [])])
                if base:
                    yield base
                # `from package import module` names a module, or else something in the package.
                yield from (
                    f"{base}.{alias.name}" if base else alias.name
                    for alias in node.names
                    if alias.name != "*"
                )


def _stage(project: Path, stage: Path, loaded: list[ModuleType], late: list[str]) -> None:
    """Puts what goes into the component into one folder: the project, this SDK, and the packages that were imported."""
    shutil.copytree(project, stage, ignore=_NOT_COPIED, dirs_exist_ok=True)
    shutil.copytree(_SDK, stage / "lamphouse", ignore=shutil.ignore_patterns("__pycache__", "wit"))
    for module in loaded:
        file = getattr(module, "__file__", None)
        if file is None:
            continue
        for folder in _site_packages():
            if Path(file).resolve().is_relative_to(folder):
                _stage_package(folder, Path(file).resolve(), stage)
                break
    (stage / hash_seed.FILE_NAME).write_bytes(hash_seed.library())
    imports = "".join(f"import {name}\n" for name in dict.fromkeys(late))
    (stage / "lamphouse_imports.py").write_text(
        f'"""What the plugin imports within functions."""\n\n{imports}'
    )


def _stage_package(folder: Path, file: Path, stage: Path) -> None:
    if file.suffix != ".py":
        raise _Failed(
            f"plugin.py imports {file.relative_to(folder)}, which is compiled for this machine: the sandbox runs Python "
            "alone"
        )
    top = file.relative_to(folder).parts[0]
    if top == "lamphouse" or (stage / top).exists():
        return
    if (folder / top).is_dir():
        shutil.copytree(folder / top, stage / top, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    else:
        shutil.copy(folder / top, stage / top)


def _componentize(stage: Path, out: Path, kind: str) -> None:
    try:
        import componentize_py
    except ImportError:
        raise _Failed(
            f"componentize-py is missing: pip install componentize-py=={_COMPONENTIZE_PY} (it is in requirements.txt)"
        ) from None
    try:
        componentize_py.componentize(
            wit_path=[str(_SDK / "wit")],
            worlds=[f"packed-{kind}-plugin"],
            features=[],
            all_features=False,
            world_module=None,
            python_path=[str(stage)],
            module_worlds=[],
            app_name=f"lamphouse.guest_{kind}",
            output_path=str(out),
            # The clock and the chance of the sandbox are the host's, and it answers all else with "denied".
            stub_wasi=False,
            import_interface_names=[],
            export_interface_names=[],
            full_names=False,
            intersect_world=None,
        )
    except AssertionError as error:
        raise _Failed(_told(str(error))) from None


def _told(error: str) -> str:
    """What went wrong in the sandbox's Python: its traceback, with files as the author knows them."""
    start = error.find("Traceback (most recent call last)")
    if start < 0:
        return f"componentize-py failed: {error}"
    told = re.split(r"\n\s*\n|\nCaused by", error[start:])[0].replace('"/0/', '"').rstrip()
    return f"plugin.py runs here, but not in the sandbox's Python:\n{told}"


if __name__ == "__main__":
    # No traces of the build in the author's folder.
    sys.dont_write_bytecode = True
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
