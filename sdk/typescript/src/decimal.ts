import { shown } from "./shown.ts";
import { addWhole, timesWhole, whole, type Whole } from "./whole.ts";

/** Digits of a decimal, in all, and after the point. */
export const DECIMAL_DIGITS_MAX = 38;

const SYNTAX = /^-?[0-9]+(\.[0-9]+)?$/;
const SAFE = Number.MAX_SAFE_INTEGER;
const MANTISSA_MAX = 10n ** 38n - 1n;
/** Powers of ten that a number holds. */
const POWERS = Array.from({ length: 16 }, (_, digits) => 10 ** digits);

/** Decimals that were parsed: the same prices come again and again. */
const parsed = new Map<string, Decimal>();
const PARSED_MAX = 1_000;

/**
 * An exact decimal of at most 38 digits. Nothing is ever rounded: what does not fit throws.
 *
 * ```ts
 * const total = Decimal.parse("12.50").times(3).plus(1);
 * total.toString(); // "38.50"
 * ```
 *
 * Its text keeps the digits after the point: `1.50` stays `1.50`, and {@link equals} `1.5` all the same.
 */
export class Decimal {
  /** Nothing, without digits after the point. */
  static readonly ZERO = new Decimal(0, 0);

  private constructor(
    private readonly whole: Whole,
    /** Digits after the point. */
    readonly scale: number,
  ) {}

  /** Reads `[-]digits[.digits]`: no sign but `-`, no exponent, at least one digit on each side of a point. */
  static parse(text: string): Decimal {
    let decimal = parsed.get(text);
    if (decimal === undefined) {
      decimal = Decimal.read(text);
      if (parsed.size < PARSED_MAX) parsed.set(text, decimal);
    }
    return decimal;
  }

  private static read(text: string): Decimal {
    if (typeof text !== "string" || !SYNTAX.test(text)) {
      throw new Error(`'${shown(String(text))}' is not a decimal of the form [-]digits[.digits]`);
    }
    const point = text.indexOf(".");
    if (point < 0) {
      return text.length < 16 ? new Decimal(Number(text) + 0, 0) : Decimal.ofMantissa(whole(BigInt(text)), 0);
    }
    const digits = text.slice(0, point) + text.slice(point + 1);
    const scale = text.length - point - 1;
    return text.length < 16
      ? new Decimal(Number(digits) + 0, scale)
      : Decimal.ofMantissa(whole(BigInt(digits)), scale);
  }

  /**
   * A decimal of a decimal, its text, a whole number, or a bigint. A number with a point throws: it may have been
   * rounded on its way, so money belongs in JSON as text.
   */
  static of(value: Decimal | string | number | bigint): Decimal {
    if (value instanceof Decimal) return value;
    if (typeof value === "string") return Decimal.parse(value);
    if (typeof value === "bigint") return Decimal.ofMantissa(whole(value), 0);
    if (Number.isSafeInteger(value)) return new Decimal(value + 0, 0);
    if (typeof value === "number") {
      throw new Error(
        `the number ${value} is not exact: give a decimal as text ("12.50"), or a whole number`,
      );
    }
    throw new Error(`a decimal must be text, a whole number or a Decimal, but ${kindOf(value)} came`);
  }

  /** `mantissa / 10^scale`. */
  static ofMantissa(mantissa: number | bigint, scale: number): Decimal {
    if (typeof mantissa === "number") {
      if (!Number.isSafeInteger(mantissa)) {
        throw new Error(`the mantissa ${mantissa} is no safe integer: use a bigint`);
      }
      mantissa += 0;
    } else {
      if (mantissa > MANTISSA_MAX || mantissa < -MANTISSA_MAX) throw overflow();
      mantissa = whole(mantissa);
    }
    if (!Number.isInteger(scale) || scale < 0) {
      throw new Error(`a decimal cannot have ${scale} digits after the point`);
    }
    if (scale > DECIMAL_DIGITS_MAX) throw overflow();
    return new Decimal(mantissa, scale);
  }

  /** The digits as a whole number. */
  get mantissa(): bigint {
    return BigInt(this.whole);
  }

  /** The mantissa at another scale, in the form that rows keep it. */
  static mantissaAt(value: Decimal, scale: number): Whole {
    const more = scale - value.scale;
    if (more === 0) return value.whole;
    const quick =
      typeof value.whole === "number" && more > 0 ? value.whole * (POWERS[more] ?? Infinity) : Infinity;
    return quick <= SAFE && quick >= -SAFE ? quick + 0 : value.rescale(scale).whole;
  }

  /** The sum, at the larger scale. */
  plus(other: Decimal | string | number | bigint): Decimal {
    const right = Decimal.of(other);
    const scale = Math.max(this.scale, right.scale);
    return Decimal.ofMantissa(
      addWhole(Decimal.mantissaAt(this, scale), Decimal.mantissaAt(right, scale)),
      scale,
    );
  }

  /** The difference, at the larger scale. */
  minus(other: Decimal | string | number | bigint): Decimal {
    return this.plus(Decimal.of(other).negated());
  }

  /** The product; the digits after the point of both add up. */
  times(other: Decimal | string | number | bigint): Decimal {
    if (typeof other === "number" && typeof this.whole === "number" && Number.isInteger(other)) {
      const quick = this.whole * other;
      if (quick <= SAFE && quick >= -SAFE && Number.isSafeInteger(other))
        return new Decimal(quick + 0, this.scale);
    }
    const right = Decimal.of(other);
    return Decimal.ofMantissa(timesWhole(this.whole, right.whole), this.scale + right.scale);
  }

  /** So much below nothing as it is above it. */
  negated(): Decimal {
    return new Decimal(timesWhole(this.whole, -1), this.scale);
  }

  /** The same number with another scale. Zeros at the end may go; another digit throws, for nothing is rounded. */
  rescale(scale: number): Decimal {
    const more = scale - this.scale;
    if (more === 0) return this;
    if (more > 0) {
      if (scale > DECIMAL_DIGITS_MAX) throw overflow();
      return Decimal.ofMantissa(timesWhole(this.whole, POWERS[more] ?? 10n ** BigInt(more)), scale);
    }
    const power = 10n ** BigInt(-more);
    const mantissa = BigInt(this.whole);
    if (mantissa % power !== 0n) {
      throw new Error(`${this.digits()} digits after the point where ${scale} are kept (nothing is rounded)`);
    }
    return Decimal.ofMantissa(mantissa / power, scale);
  }

  /** Below 0, 0 or above 0, as this is less, the same or more. */
  compare(other: Decimal | string | number | bigint): number {
    const right = Decimal.of(other);
    const scale = BigInt(Math.max(this.scale, right.scale));
    const left = BigInt(this.whole) * 10n ** (scale - BigInt(this.scale));
    const difference = left - BigInt(right.whole) * 10n ** (scale - BigInt(right.scale));
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  }

  /** Whether both are the same number, whatever their digits after the point. */
  equals(other: Decimal | string | number | bigint): boolean {
    return this.compare(other) === 0;
  }

  get isZero(): boolean {
    return this.whole === 0;
  }

  get isNegative(): boolean {
    return this.whole < 0;
  }

  toString(): string {
    return decimalText(this.whole, this.scale);
  }

  toJSON(): string {
    return this.toString();
  }

  /** Throws: `+`, `<` and the like would go through a number, which is not exact. */
  valueOf(): never {
    throw new TypeError("a Decimal is no number: use plus, minus, times, compare or equals");
  }

  /** Digits after the point without zeros at the end. */
  private digits(): number {
    return this.toString().replace(/0+$/, "").length - this.toString().indexOf(".") - 1;
  }
}

/** The canonical text of `mantissa / 10^scale`. */
export function decimalText(mantissa: Whole, scale: number): string {
  if (scale === 0) return String(mantissa);
  const sign = mantissa < 0 ? "-" : "";
  const digits = String(mantissa)
    .slice(sign.length)
    .padStart(scale + 1, "0");
  const point = digits.length - scale;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

function overflow(): Error {
  return new Error(`more than ${DECIMAL_DIGITS_MAX} digits`);
}

function kindOf(value: unknown): string {
  return value === null
    ? "null"
    : typeof value === "undefined"
      ? "nothing"
      : `a value of type ${typeof value}`;
}
