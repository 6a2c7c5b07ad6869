// Whole numbers: a number where it is safe, a bigint beyond. Most are small, and numbers are much quicker.

/** A whole number: a number up to 2^53 - 1 in size, a bigint beyond. Never -0. */
export type Whole = number | bigint;

const SAFE = Number.MAX_SAFE_INTEGER;
const SAFE_WIDE = BigInt(SAFE);
const INTEGER_MAX = 2n ** 63n - 1n;

/** The one form of a bigint. */
export function whole(value: bigint): Whole {
  return value <= SAFE_WIDE && value >= -SAFE_WIDE ? Number(value) : value;
}

export function addWhole(left: Whole, right: Whole): Whole {
  if (typeof left === "number" && typeof right === "number") {
    const sum = left + right;
    if (sum <= SAFE && sum >= -SAFE) return sum;
  }
  return whole(BigInt(left) + BigInt(right));
}

export function timesWhole(left: Whole, right: Whole): Whole {
  if (typeof left === "number" && typeof right === "number") {
    const product = left * right;
    // 0 is added, so that -0 becomes 0.
    if (product <= SAFE && product >= -SAFE) return product + 0;
  }
  return whole(BigInt(left) * BigInt(right));
}

/** Whether it is a signed 64-bit integer. */
export function isInteger64(value: Whole): boolean {
  return typeof value === "number" || (value <= INTEGER_MAX && value >= -INTEGER_MAX - 1n);
}
