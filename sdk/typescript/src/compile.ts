// From what an author declares to what the SDK works with.

import type { ColumnDeclaration, ColumnTypes } from "./column.ts";
import { type Column, DECIMAL, type TableSchema } from "./schema.ts";
import { conform } from "./semantics/conform.ts";
import type { Columns, TableDeclaration } from "./table.ts";

/** A name in SQL: `customerId` is `customer_id`, and `customer_id` stays. */
export function sqlName(property: string): string {
  return property
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toLowerCase();
}

export function compileTable(property: string, declared: TableDeclaration<Columns>): TableSchema {
  const declarations = Object.entries(declared.columns);
  const numberOf = (name: string): number => {
    const number = declarations.findIndex(([column]) => column === name);
    if (number < 0)
      throw new Error(`table '${property}': an index names column '${name}', which is not declared`);
    return number;
  };
  const numbered = declarations.map(([, column], number) => ({ flags: column.flags, number }));
  const table = {
    name: sqlName(property),
    columns: declarations.map(([name, column]) => compileColumn(name, column)),
    primaryKey: numbered.filter(({ flags }) => flags.key).map(({ number }) => number),
    indexes: [
      ...numbered.filter(({ flags }) => flags.index).map(({ number }) => [number]),
      ...declared.indexes.map((columns) => columns.map(numberOf)),
    ],
  };
  for (const [number, [, { flags }]] of declarations.entries()) {
    const column = table.columns[number];
    if (flags.initial === undefined || column === undefined) continue;
    try {
      column.initial = conform(table, column, flags.initial);
    } catch (error) {
      throw new Error(`initial value of ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return table;
}

function compileColumn(
  property: string,
  { kind, scale, flags }: ColumnDeclaration<ColumnTypes>,
): { -readonly [K in keyof Column]: Column[K] } {
  if (kind === DECIMAL && !(Number.isInteger(scale) && scale >= 0 && scale <= 255)) {
    throw new Error(
      `column '${property}': decimal(${scale}) does not say how many digits stand after the point`,
    );
  }
  return {
    name: sqlName(property),
    property,
    kind,
    scale,
    nullable: flags.nullable === true,
    initial: undefined,
    safe: flags.safe === true,
  };
}
