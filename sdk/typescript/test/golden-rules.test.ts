// What changes make of rows, which declarations are refused, and what numbers, moments and random numbers are.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Decimal } from "../src/decimal.ts";
import { fromBinary } from "../src/packed/binary.ts";
import { Random } from "../src/random.ts";
import type { Descriptor } from "../src/schema.ts";
import { checkProjector, checkUpcaster } from "../src/semantics/check.ts";
import { Memory } from "../src/testing/memory.ts";
import { Timestamp } from "../src/timestamp.ts";
import {
  golden,
  packChange,
  schemaOf,
  storedOf,
  type Typed,
  type TypedChange,
  type TypedTable,
} from "./golden.ts";

test("changes make these rows, or fault", () => {
  type Start = { table: TypedTable; rows: Typed[][] };
  type Case = { change: TypedChange; rows?: Typed[][]; fault?: string };
  const [start, ...cases] = golden<[Start, ...Case[]]>("rules");
  const schema = schemaOf(start.table);
  const begun = (): Memory => {
    const memory = new Memory([schema]);
    for (const row of start.rows) memory.apply(fromBinary(packChange({ put: { table: 0, row } })));
    return memory;
  };
  let faults = 0;
  for (const { change, rows, fault } of cases) {
    const memory = begun();
    const apply = (): void => memory.apply(fromBinary(packChange(change)));
    const shown = `${JSON.stringify(change).slice(0, 400)} ${fault ?? ""}`;
    if (rows === undefined) {
      faults += 1;
      assert.throws(apply, shown);
    } else {
      apply();
      const columns = schema.columns;
      const expected = rows.map((row) =>
        row.map((value, place) => atScale(value, columns[place]?.scale ?? 0)),
      );
      assert.deepEqual(memory.all(0), expected, shown);
    }
  }
  assert.ok(cases.length > 60 && faults > 20);
});

/** Decimals are kept at their column's scale. */
function atScale(value: Typed, scale: number): unknown {
  if (value.type !== "decimal") return storedOf(value);
  return Decimal.mantissaAt(Decimal.parse(value.value as string), scale);
}

interface Declaration {
  readonly plugin?: {
    readonly name: string;
    readonly version: string;
    readonly subscriptions: readonly {
      readonly event_type: string | null;
      readonly stream_type: string | null;
      readonly schema_versions: readonly number[];
    }[];
    readonly tables: readonly TypedTable[];
  };
  readonly upcaster?: {
    readonly name: string;
    readonly version: string;
    readonly rules: readonly {
      readonly takes: { readonly event_type: string; readonly schema_version: number };
      readonly gives: readonly { readonly event_type: string; readonly schema_version: number }[];
    }[];
  };
  readonly errors: readonly string[];
}

function errorsOf({ plugin, upcaster }: Declaration): string[] {
  if (upcaster !== undefined) {
    const schema = (one: { event_type: string; schema_version: number }) => ({
      eventType: one.event_type,
      schemaVersion: one.schema_version,
    });
    const rules = upcaster.rules.map(({ takes, gives }) => ({
      takes: schema(takes),
      gives: gives.map(schema),
    }));
    return checkUpcaster({ ...upcaster, rules, options: [] });
  }
  assert.ok(plugin !== undefined);
  try {
    const descriptor: Descriptor = {
      name: plugin.name,
      version: plugin.version,
      subscriptions: plugin.subscriptions.map((subscription) => ({
        eventType: subscription.event_type,
        streamType: subscription.stream_type,
        schemaVersions: subscription.schema_versions,
      })),
      tables: plugin.tables.map(schemaOf),
      options: [],
    };
    return checkProjector(descriptor);
  } catch (error) {
    // An initial value that does not fit is told when the table is declared.
    return [`initial value of ${error instanceof Error ? error.message : String(error)}`];
  }
}

test("declarations are refused for the same reasons", () => {
  const declarations = golden<Declaration[]>("declarations");
  assert.ok(declarations.length > 40);
  for (const declaration of declarations) {
    const errors = errorsOf(declaration);
    const shown = `expected ${JSON.stringify(declaration.errors)}, got ${JSON.stringify(errors)}`;
    assert.equal(errors.length > 0, declaration.errors.length > 0, shown);
  }
});

/** What it gives, or null where it throws. */
function orNull<T>(give: () => T): T | null {
  try {
    return give();
  } catch {
    return null;
  }
}

test("decimals", () => {
  interface Case {
    readonly parse?: string;
    readonly add?: readonly [string, string];
    readonly times?: readonly [string, string];
    readonly rescale?: readonly [string, number];
    readonly compare?: readonly [string, string];
    readonly is: string | number | null;
  }
  const cases = golden<Case[]>("decimals");
  assert.ok(cases.length > 50);
  for (const one of cases) {
    const { parse, add, times, rescale, compare } = one;
    const found = orNull(() => {
      if (parse !== undefined) return Decimal.parse(parse).toString();
      if (add) return Decimal.parse(add[0]).plus(Decimal.parse(add[1])).toString();
      if (times) return Decimal.parse(times[0]).times(BigInt(times[1])).toString();
      if (rescale) return Decimal.parse(rescale[0]).rescale(rescale[1]).toString();
      if (compare) return Decimal.parse(compare[0]).compare(Decimal.parse(compare[1]));
      throw new TypeError("a case that this test does not know");
    });
    assert.equal(found, one.is, JSON.stringify(one));
  }
});

test("timestamps", () => {
  type Case = { text: string; micros: string | null; canonical: string | null };
  for (const { text, micros, canonical } of golden<Case[]>("timestamps")) {
    const found = orNull(() => Timestamp.parse(text));
    assert.equal(found === null ? null : String(found.micros), micros, text);
    assert.equal(found === null ? null : found.toString(), canonical, text);
  }
});

test("random numbers", () => {
  interface Case {
    readonly id: string;
    readonly part: number;
    readonly next_u64: readonly string[];
    readonly below_6: readonly number[];
    readonly below_2_to_the_63: string;
    readonly below_0: number;
    readonly fraction: number;
    readonly uuid: string;
  }
  for (const one of golden<Case[]>("random")) {
    const random = new Random(one.id, one.part);
    const found: Case = {
      id: one.id,
      part: one.part,
      next_u64: [String(random.nextU64()), String(random.nextU64())],
      below_6: [random.below(6), random.below(6), random.below(6)],
      below_2_to_the_63: String(random.below(2n ** 63n)),
      below_0: random.below(0),
      fraction: random.fraction(),
      uuid: random.uuid(),
    };
    assert.deepEqual(found, one);
  }
});
