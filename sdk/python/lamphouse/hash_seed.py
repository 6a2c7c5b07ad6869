"""Makes every build hash texts alike, so that a set has the same order in each of them.

CPython draws the seed of its hashes when it starts, which is at build time, and keeps it in the component's memory.
componentize-py has no way to set PYTHONHASHSEED for that start; but it links WebAssembly libraries that it finds among
the modules, and those start before Python. So here is one, by hand, that does nothing but
``setenv("PYTHONHASHSEED", "0", 1)``.
"""

from __future__ import annotations

from collections.abc import Sequence

#: What componentize-py takes for a native library.
FILE_NAME = "lamphouse_hash_seed.cpython-314-wasm32-wasi.so"

_NAME = b"PYTHONHASHSEED\0"
_VALUE = b"0\0"
_I32 = b"\x7f"


def library() -> bytes:
    """The library: a WebAssembly module in the conventions of dynamic linking."""
    memory = _unsigned(len(_NAME + _VALUE)) + _unsigned(0) + _unsigned(0) + _unsigned(0)
    dylink = _text("dylink.0") + _sized(1, memory) + _sized(2, _list([_text("libc.so")]))
    types = _list([b"\x60" + _list([_I32] * 3) + _list([_I32]), b"\x60" + _list([]) + _list([])])
    env = _text("env")
    imports = _list(
        [
            env + _text("memory") + b"\x02\x00\x00",
            env + _text("__memory_base") + b"\x03" + _I32 + b"\x00",
            env + _text("setenv") + b"\x00" + _unsigned(0),
        ]
    )
    # The linker runs this before anything else: setenv(base, base + length of the name, 1).
    base = b"\x23\x00"
    code = base + base + b"\x41" + _unsigned(len(_NAME)) + b"\x6a" + b"\x41\x01" + b"\x10\x00" + b"\x1a\x0b"
    no_locals = _list([])
    return b"\0asm\x01\0\0\0" + b"".join(
        [
            _sized(0, dylink),
            _sized(1, types),
            _sized(2, imports),
            _sized(3, _list([_unsigned(1)])),
            _sized(7, _list([_text("__wasm_call_ctors") + b"\x00" + _unsigned(1)])),
            _sized(10, _list([_unsigned(len(no_locals + code)) + no_locals + code])),
            _sized(11, _list([b"\x00" + base + b"\x0b" + _unsigned(len(_NAME + _VALUE)) + _NAME + _VALUE])),
        ]
    )


def _unsigned(number: int) -> bytes:
    """An integer below 128, which LEB128 writes as itself, or a longer one."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _list(items: Sequence[bytes]) -> bytes:
    return _unsigned(len(items)) + b"".join(items)


def _text(text: str) -> bytes:
    return _unsigned(len(text)) + text.encode()


def _sized(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _unsigned(len(content)) + content
