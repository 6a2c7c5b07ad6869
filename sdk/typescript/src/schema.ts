// What a plugin declares, as the host is told and as the SDK works with it.

import type { Whole } from "./whole.ts";

/** The kinds of columns. */
export const BOOLEAN = 0;
export const INTEGER = 1;
export const REAL = 2;
export const DECIMAL = 3;
export const TEXT = 4;
export const BYTES = 5;
export const TIMESTAMP = 6;
export const JSON_TEXT = 7;

export const KIND_NAMES = [
  "boolean",
  "integer",
  "real",
  "decimal",
  "text",
  "bytes",
  "timestamp",
  "json",
] as const;

/**
 * One value of a row as the SDK keeps it. Integers are whole, timestamps whole microseconds, decimals the whole mantissa
 * at the column's scale, json is text.
 */
export type Stored = null | boolean | Whole | string | Uint8Array;

export interface Column {
  /** Of the column in SQL. */
  readonly name: string;
  /** Of the field in the plugin's source. */
  readonly property: string;
  readonly kind: number;
  /** Digits after the point of a decimal; 0 for all else. */
  readonly scale: number;
  readonly nullable: boolean;
  /** What an upsert gives a new row; undefined where none is declared. */
  readonly initial: Stored | undefined;
  /** Whether an integer is read as a number, and so must be a safe one. */
  readonly safe: boolean;
}

export interface TableSchema {
  readonly name: string;
  readonly columns: readonly Column[];
  /** Numbers of the key columns. */
  readonly primaryKey: readonly number[];
  readonly indexes: readonly (readonly number[])[];
}

export interface Subscription {
  readonly eventType: string | null;
  readonly streamType: string | null;
  readonly schemaVersions: readonly number[];
}

export interface Descriptor {
  readonly name: string;
  readonly version: string;
  readonly subscriptions: readonly Subscription[];
  readonly tables: readonly TableSchema[];
  readonly options: readonly (readonly [string, string])[];
}

/** An event type and the version of its schema. */
export interface EventSchema {
  readonly eventType: string;
  readonly schemaVersion: number;
}

export interface UpcasterDescriptor {
  readonly name: string;
  readonly version: string;
  readonly rules: readonly { readonly takes: EventSchema; readonly gives: readonly EventSchema[] }[];
  readonly options: readonly (readonly [string, string])[];
}

/** Why a call failed. */
export interface Failure {
  /** Which event of the call. */
  readonly index: number | undefined;
  /** What happened. */
  readonly message: string;
  /** Where in the plugin's source. */
  readonly trace: string;
}
