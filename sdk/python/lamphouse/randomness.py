"""Random numbers that come from an event."""

from __future__ import annotations

_WORD = (1 << 64) - 1


class Random:
    """Random numbers that are the same whenever the event is projected, on every machine. Not for secrets."""

    __slots__ = ("_state",)

    def __init__(self, event_id: str, part: int) -> None:
        # FNV-1a over the id and the part; the generator below mixes it well.
        state = 0xCBF2_9CE4_8422_2325
        for byte in event_id.encode() + part.to_bytes(4, "little"):
            state = (state ^ byte) * 0x0000_0100_0000_01B3 & _WORD
        self._state = state

    def next_u64(self) -> int:
        """64 random bits (SplitMix64)."""
        self._state = bits = self._state + 0x9E37_79B9_7F4A_7C15 & _WORD
        bits = (bits ^ bits >> 30) * 0xBF58_476D_1CE4_E5B9 & _WORD
        bits = (bits ^ bits >> 27) * 0x94D0_49BB_1331_11EB & _WORD
        return bits ^ bits >> 31

    def below(self, end: int) -> int:
        """A number from 0 up to, but not, ``end``, which is below 2^64; 0 if ``end`` is 0."""
        return self.next_u64() * end >> 64

    def fraction(self) -> float:
        """A number from 0 up to, but not, 1."""
        return (self.next_u64() >> 11) / (1 << 53)

    def uuid(self) -> str:
        """A random UUID (version 4) as text."""
        high, low = self.next_u64(), self.next_u64()
        high = high & ~0xF000 | 0x4000
        low = low & ~(0b11 << 62) | (0b10 << 62)
        text = f"{high:016x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
