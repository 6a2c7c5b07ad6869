import { shown } from "./shown.ts";
import { addWhole, timesWhole, whole, type Whole } from "./whole.ts";

const SYNTAX = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;
const SECOND = 1_000_000;
const DAY = 86_400;

/**
 * A moment: microseconds since 1970-01-01T00:00:00Z. Its text is RFC 3339 in UTC.
 *
 * There is no "now" in a plugin: an event says when it happened.
 */
export class Timestamp {
  private constructor(private readonly whole: Whole) {}

  /** From microseconds since 1970. */
  static fromMicros(micros: number | bigint): Timestamp {
    if (typeof micros === "bigint") return new Timestamp(whole(micros));
    if (!Number.isSafeInteger(micros)) {
      throw new Error(`${micros} is no safe integer: give microseconds of such size as a bigint`);
    }
    return new Timestamp(micros + 0);
  }

  /** From a Date, which knows milliseconds. */
  static fromDate(date: Date): Timestamp {
    const millis = date.getTime();
    if (Number.isNaN(millis)) throw new Error("an invalid Date is no timestamp");
    return new Timestamp(timesWhole(millis, 1_000));
  }

  /**
   * Reads RFC 3339: `2011-08-12T13:50:00Z`, `2011-08-12T14:50:00.123456+01:00`. Digits beyond microseconds are cut
   * off; without an offset it throws.
   */
  static parse(text: string): Timestamp {
    const parts = typeof text === "string" ? SYNTAX.exec(text) : null;
    const seconds = parts === null ? undefined : secondsOf(parts);
    if (parts === null || seconds === undefined) {
      throw new Error(`'${shown(String(text))}' is no RFC 3339 timestamp such as 2011-08-12T13:50:00Z`);
    }
    const micros = Number((parts[7] ?? "").slice(0, 6).padEnd(6, "0"));
    return new Timestamp(addWhole(timesWhole(seconds, SECOND), micros));
  }

  /** Microseconds since 1970. */
  get micros(): bigint {
    return BigInt(this.whole);
  }

  /** The same, in the form that rows keep it. */
  static microsOf(value: Timestamp): Whole {
    return value.whole;
  }

  /** Its day in UTC: `2011-08-12`. */
  get date(): string {
    return dateText(Math.floor(this.seconds() / DAY));
  }

  /** As a Date, which cuts it to milliseconds. */
  toDate(): Date {
    return new Date(
      Number((this.micros - BigInt(this.fraction())) / 1_000n) + Math.floor(this.fraction() / 1_000),
    );
  }

  /** Below 0, 0 or above 0, as this is earlier, the same or later. */
  compare(other: Timestamp): number {
    return this.whole < other.whole ? -1 : this.whole > other.whole ? 1 : 0;
  }

  equals(other: Timestamp): boolean {
    return this.whole === other.whole;
  }

  /** The moment so many microseconds later. */
  plusMicros(micros: number | bigint): Timestamp {
    return new Timestamp(addWhole(this.whole, Timestamp.fromMicros(micros).whole));
  }

  toString(): string {
    const seconds = this.seconds();
    const ofDay = seconds - Math.floor(seconds / DAY) * DAY;
    const clock = [Math.floor(ofDay / 3_600), Math.floor(ofDay / 60) % 60, ofDay % 60];
    const micros = this.fraction();
    const fraction = micros === 0 ? "" : `.${String(micros).padStart(6, "0")}`;
    return `${this.date}T${clock.map((part) => String(part).padStart(2, "0")).join(":")}${fraction}Z`;
  }

  toJSON(): string {
    return this.toString();
  }

  /** Throws: `-`, `<` and the like would lose microseconds. */
  valueOf(): never {
    throw new TypeError("a Timestamp is no number: use compare, equals or micros");
  }

  /** Whole seconds since 1970, rounded down. */
  private seconds(): number {
    return Number((this.micros - BigInt(this.fraction())) / BigInt(SECOND));
  }

  /** Microseconds since the last whole second. */
  private fraction(): number {
    const rest = Number(this.micros % BigInt(SECOND));
    return rest < 0 ? rest + SECOND : rest;
  }
}

function secondsOf(parts: RegExpExecArray): number | undefined {
  const number = (at: number): number => Number(parts[at] ?? 0);
  const [year, month, day] = [number(1), number(2), number(3)];
  const [hour, minute, second] = [number(4), number(5), number(6)];
  const days = daysOf(year, month, day);
  // A day that the month does not have comes back as another one. A leap second counts as the next second.
  if (dateText(days) !== parts[0].slice(0, 10) || hour > 23 || minute > 59 || second > 60) return undefined;
  const [hours, minutes] = [number(9), number(10)];
  if (hours > 23 || minutes > 59) return undefined;
  const offset = (hours * 60 + minutes) * (parts[8] === "-" ? -60 : 60);
  return days * DAY + hour * 3_600 + minute * 60 + second - offset;
}

// Both after Howard Hinnant's "chrono-compatible low-level date algorithms": years from March, eras of 400 years.
function daysOf(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const ofYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return (
    era * 146_097 +
    yearOfEra * 365 +
    Math.floor(yearOfEra / 4) -
    Math.floor(yearOfEra / 100) +
    ofYear -
    719_468
  );
}

function dateText(since1970: number): string {
  const days = since1970 + 719_468;
  const era = Math.floor(days / 146_097);
  const ofEra = days - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1_460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * ofYear + 2) / 153);
  const day = ofYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const pad = (part: number, digits: number): string => String(part).padStart(digits, "0");
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}`;
}
