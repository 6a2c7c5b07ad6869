import { toUtf8 } from "./packed/binary.ts";

const MASK = (1n << 64n) - 1n;

/** Random numbers that come from an event: the same ones whenever it is projected. Not for secrets. */
export class Random {
  private state: bigint;

  /** @internal */
  constructor(id: string, part: number) {
    // FNV-1a over the id and the part; the generator below mixes it well.
    let hash = 0xcbf2_9ce4_8422_2325n;
    const mix = (byte: number): void => {
      hash = ((hash ^ BigInt(byte)) * 0x0000_0100_0000_01b3n) & MASK;
    };
    const bytes = toUtf8(id);
    for (let at = 0; at < bytes.length; at++) mix(bytes.charCodeAt(at));
    for (let shift = 0; shift < 32; shift += 8) mix((part >>> shift) & 0xff);
    this.state = hash;
  }

  /** 64 random bits (SplitMix64). */
  nextU64(): bigint {
    this.state = (this.state + 0x9e37_79b9_7f4a_7c15n) & MASK;
    let bits = this.state;
    bits = ((bits ^ (bits >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & MASK;
    bits = ((bits ^ (bits >> 27n)) * 0x94d0_49bb_1331_11ebn) & MASK;
    return bits ^ (bits >> 31n);
  }

  /** A whole number from 0 up to, but not, `end`; 0 if `end` is 0. */
  below(end: number): number;
  below(end: bigint): bigint;
  below(end: number | bigint): number | bigint {
    if (typeof end === "number" ? !Number.isSafeInteger(end) || end < 0 : end < 0n || end > MASK) {
      throw new Error(`random numbers below ${end} cannot be made`);
    }
    // The upper half of a product: no bias worth speaking of for an `end` far below 2^64.
    const below = (this.nextU64() * BigInt(end)) >> 64n;
    return typeof end === "number" ? Number(below) : below;
  }

  /** A number from 0 up to, but not, 1. */
  fraction(): number {
    return Number(this.nextU64() >> 11n) / 2 ** 53;
  }

  /** A random UUID (version 4) as text. */
  uuid(): string {
    const high = (this.nextU64() & ~0xf000n) | 0x4000n;
    const low = (this.nextU64() & ~(0b11n << 62n)) | (0b10n << 62n);
    const hex = high.toString(16).padStart(16, "0") + low.toString(16).padStart(16, "0");
    return [
      [0, 8],
      [8, 12],
      [12, 16],
      [16, 20],
      [20, 32],
    ]
      .map(([from, to]) => hex.slice(from, to))
      .join("-");
  }
}
