// Whether what a plugin declares can be kept: all that the host would refuse, with the reason.

import {
  type Column,
  DECIMAL,
  type Descriptor,
  type EventSchema,
  JSON_TEXT,
  REAL,
  type Subscription,
  type TableSchema,
  type UpcasterDescriptor,
} from "../schema.ts";
import { DECIMAL_DIGITS_MAX } from "../decimal.ts";
import { shown, utf8Length } from "../shown.ts";
import { names } from "./conform.ts";

/** Longest name in bytes: leaves room for `__g` and a number within PostgreSQL's 63. */
const NAME_BYTES_MAX = 48;
const TABLES_MAX = 64;
const COLUMNS_MAX = 200;
const INDEXES_MAX = 32;
const KEY_COLUMNS_MAX = 8;
const INDEX_COLUMNS_MAX = 8;
const SUBSCRIPTIONS_MAX = 1_000;
const SCHEMA_VERSIONS_MAX = 1_000;
/** Bytes of an initial value. */
const INITIAL_BYTES_MAX = 10_000;
const RULES_MAX = 1_000;
/** Schemas that one rule gives. */
const GIVES_MAX = 100;
const EVENT_TYPE_BYTES_MAX = 256;
const VERSION_BYTES_MAX = 64;
/** Names that a database gives columns of its own. */
const RESERVED_COLUMNS = ["cmax", "cmin", "ctid", "oid", "rowid", "tableoid", "xmax", "xmin"];

/** What is wrong with a projector's descriptor; empty when all is right. Options are the host's matter. */
export function checkProjector(descriptor: Descriptor): string[] {
  const errors = [...nameErrors("plugin", descriptor.name, true), ...versionErrors(descriptor.version)];
  const { subscriptions, tables } = descriptor;
  if (subscriptions.length === 0) {
    errors.push("no subscription is declared, so no event would ever come (onEveryEvent takes every event)");
  }
  if (subscriptions.length > SUBSCRIPTIONS_MAX) {
    errors.push(
      `${subscriptions.length} subscriptions are declared; at most ${SUBSCRIPTIONS_MAX} are allowed`,
    );
  } else {
    errors.push(...subscriptions.flatMap(subscriptionErrors));
  }
  if (tables.length === 0) errors.push("no table is declared");
  if (tables.length > TABLES_MAX) {
    return [...errors, `${tables.length} tables are declared; at most ${TABLES_MAX} are allowed`];
  }
  errors.push(
    ...twice(tables.map((table) => table.name)).map((name) => `table '${shown(name)}' is declared twice`),
  );
  return [...errors, ...tables.flatMap(tableErrors)];
}

/** What is wrong with an upcaster's descriptor by itself; whether its rules form a cycle is the host's matter. */
export function checkUpcaster(descriptor: UpcasterDescriptor): string[] {
  const errors = [...nameErrors("plugin", descriptor.name, true), ...versionErrors(descriptor.version)];
  const { rules } = descriptor;
  if (rules.length === 0) errors.push("no rule is declared, so no event would ever come");
  if (rules.length > RULES_MAX) {
    return [...errors, `${rules.length} rules are declared; at most ${RULES_MAX} are allowed`];
  }
  const taken = new Set<string>();
  for (const { takes, gives } of rules) {
    const name = shownSchema(takes);
    if (taken.has(schemaKey(takes))) {
      errors.push(`two rules take ${name}`);
      continue;
    }
    taken.add(schemaKey(takes));
    if (gives.length > GIVES_MAX) {
      errors.push(
        `the rule that takes ${name} gives ${gives.length} schemas; at most ${GIVES_MAX} are allowed`,
      );
      continue;
    }
    for (const schema of [takes, ...gives]) {
      errors.push(...schemaErrors(schema).map((error) => `the rule that takes ${name}: ${error}`));
    }
    const given = new Set<string>();
    for (const schema of gives) {
      if (given.has(schemaKey(schema))) {
        errors.push(`the rule that takes ${name} names ${shownSchema(schema)} twice among what it gives`);
      }
      given.add(schemaKey(schema));
    }
  }
  return errors;
}

function schemaKey({ eventType, schemaVersion }: EventSchema): string {
  return `${schemaVersion} ${eventType}`;
}

function shownSchema({ eventType, schemaVersion }: EventSchema): string {
  return `${shown(eventType)} ${schemaVersion}`;
}

function schemaErrors({ eventType, schemaVersion }: EventSchema): string[] {
  if (eventType === "") return ["an event type is empty"];
  if (isNoType(eventType)) {
    return [`event type '${shown(eventType)}' has more than ${EVENT_TYPE_BYTES_MAX} bytes or a U+0000`];
  }
  return schemaVersionErrors(`'${shown(eventType)}' has`, schemaVersion);
}

function schemaVersionErrors(what: string, version: number): string[] {
  if (version === 0) return [`${what} schema version 0 (they count from 1)`];
  return Number.isInteger(version) && version > 0 && version < 2 ** 32
    ? []
    : [`${what} schema version ${version}, which is none (they are whole numbers from 1)`];
}

function subscriptionErrors({ eventType, streamType, schemaVersions }: Subscription): string[] {
  const errors: string[] = [];
  if (eventType === "" || streamType === "") {
    errors.push("a subscription names an empty event type or stream type (leave it out to take any)");
  }
  for (const [what, name] of [
    ["event type", eventType],
    ["stream type", streamType],
  ] as const) {
    if (name !== null && isNoType(name)) {
      errors.push(
        `a subscription names ${what} '${shown(name)}', which has more than ${EVENT_TYPE_BYTES_MAX} bytes or a U+0000, ` +
          `as no event's has`,
      );
    }
  }
  if (schemaVersions.length > SCHEMA_VERSIONS_MAX) {
    errors.push(
      `a subscription names ${schemaVersions.length} schema versions; at most ${SCHEMA_VERSIONS_MAX} are allowed`,
    );
    return errors;
  }
  return [
    ...errors,
    ...schemaVersions.flatMap((version) => schemaVersionErrors("a subscription names", version)),
  ];
}

function isNoType(name: string): boolean {
  return utf8Length(name) > EVENT_TYPE_BYTES_MAX || name.includes("\0");
}

function versionErrors(version: string): string[] {
  return version.length <= VERSION_BYTES_MAX && /^[!-~]+$/.test(version)
    ? []
    : [`version '${shown(version)}' must be 1 to ${VERSION_BYTES_MAX} visible ASCII characters`];
}

function tableErrors(table: TableSchema): string[] {
  const errors = nameErrors("table", table.name, false);
  const here = `table '${shown(table.name)}'`;
  const { columns, primaryKey, indexes } = table;
  if (columns.length === 0 || columns.length > COLUMNS_MAX) {
    return [...errors, `${here} declares ${columns.length} columns; 1 to ${COLUMNS_MAX} are allowed`];
  }
  errors.push(...columns.flatMap(({ name }) => columnNameErrors(name)).map((error) => `${here}: ${error}`));
  errors.push(
    ...twice(columns.map(({ name }) => name)).map((name) => `${here} declares column '${shown(name)}' twice`),
  );
  for (const { kind, scale, name } of columns) {
    if (kind === DECIMAL && scale > DECIMAL_DIGITS_MAX) {
      errors.push(
        `${here}: column '${shown(name)}' is decimal(${scale}); at most ${DECIMAL_DIGITS_MAX} digits after the point ` +
          `are allowed`,
      );
    }
  }
  errors.push(...columnListErrors(table, here, "primary key", primaryKey, KEY_COLUMNS_MAX));
  errors.push(
    ...primaryKey.slice(0, KEY_COLUMNS_MAX).flatMap((number) => keyColumnErrors(here, columns[number])),
  );
  if (indexes.length > INDEXES_MAX) {
    errors.push(`${here} declares ${indexes.length} indexes; at most ${INDEXES_MAX} are allowed`);
  }
  for (const [number, index] of indexes.slice(0, INDEXES_MAX).entries()) {
    errors.push(...indexErrors(table, here, number, index));
  }
  for (const { initial, name } of columns) {
    const bytes =
      typeof initial === "string" ? utf8Length(initial) : initial instanceof Uint8Array ? initial.length : 0;
    if (bytes > INITIAL_BYTES_MAX) {
      errors.push(
        `${here}: the initial value of column '${shown(name)}' has ${bytes} bytes; at most ${INITIAL_BYTES_MAX} are allowed`,
      );
    }
  }
  return [...new Set(errors)];
}

function keyColumnErrors(here: string, column: Column | undefined): string[] {
  if (column === undefined) return [];
  const errors: string[] = [];
  const name = shown(column.name);
  if (column.nullable) errors.push(`${here}: key column '${name}' is nullable; a key has no null`);
  if (column.kind === REAL || column.kind === JSON_TEXT) {
    errors.push(`${here}: key column '${name}' is real or json, which cannot be a key`);
  }
  if (column.initial !== undefined) {
    errors.push(`${here}: key column '${name}' has an initial value; a key is always given`);
  }
  return errors;
}

function indexErrors(table: TableSchema, here: string, number: number, index: readonly number[]): string[] {
  const errors = columnListErrors(table, here, `index ${number}`, index, INDEX_COLUMNS_MAX);
  if (index.length > INDEX_COLUMNS_MAX) return errors;
  if (index.some((column) => table.columns[column]?.kind === JSON_TEXT)) {
    errors.push(`${here}: index ${number} has a json column, which cannot be indexed`);
  }
  const isSame = (other: readonly number[]): boolean =>
    other.length === index.length && other.every((column, place) => column === index[place]);
  if (
    table.indexes.slice(0, number).some(isSame) &&
    index.every((column) => table.columns[column] !== undefined)
  ) {
    errors.push(`${here} declares the index (${names(table, index)}) twice`);
  }
  return errors;
}

function columnListErrors(
  table: TableSchema,
  here: string,
  what: string,
  columns: readonly number[],
  max: number,
): string[] {
  if (columns.length === 0 || columns.length > max) {
    return [`${here}: the ${what} has ${columns.length} columns; 1 to ${max} are allowed`];
  }
  const errors = columns
    .filter((column) => column >= table.columns.length)
    .map(
      (column) =>
        `${here}: the ${what} names column ${column}, but there are ${table.columns.length} (they count from 0)`,
    );
  if (new Set(columns).size < columns.length) errors.push(`${here}: the ${what} names a column twice`);
  return errors;
}

/** What comes more than once, each once. */
function twice(items: readonly string[]): string[] {
  return [...new Set(items.filter((item, place) => items.indexOf(item) < place))];
}

function columnNameErrors(name: string): string[] {
  const errors = nameErrors("column", name, false);
  if (errors.length > 0) return errors;
  return RESERVED_COLUMNS.includes(name)
    ? [`column name '${name}' is one that databases give columns of their own`]
    : [];
}

/**
 * Lower-case ASCII letter first, then letters, digits, and `_` (and, for plugins, `-`); at most 48 bytes; not of the forms
 * that the host keeps for itself.
 */
function nameErrors(what: string, name: string, dashes: boolean): string[] {
  const bytes = utf8Length(name);
  if (name === "") return [`a ${what} name is empty`];
  if (bytes > NAME_BYTES_MAX) {
    return [`${what} name '${shown(name)}' has ${bytes} bytes; at most ${NAME_BYTES_MAX} are allowed`];
  }
  if (!(dashes ? /^[a-z][a-z0-9_-]*$/ : /^[a-z][a-z0-9_]*$/).test(name)) {
    const signs = dashes ? "digits, '_' and '-'" : "digits and '_'";
    return [`${what} name '${shown(name)}' must be lower-case ASCII: a letter first, then letters, ${signs}`];
  }
  if (/^(lamphouse|sqlite_|pg_)|__g/.test(name)) {
    return [`${what} name '${shown(name)}' uses a reserved form ('lamphouse…', 'sqlite_…', 'pg_…', '…__g…')`];
  }
  return [];
}
