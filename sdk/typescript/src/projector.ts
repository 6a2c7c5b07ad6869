// Projectors as an author declares them.

import { compileTable } from "./compile.ts";
import type { Event } from "./event.ts";
import type { Descriptor, Subscription, TableSchema } from "./schema.ts";
import type { Columns, Key, TableDeclaration } from "./table.ts";
import type { Table } from "./tables.ts";

/** Tables by their names. */
export type Declared = Readonly<Record<string, TableDeclaration<Columns>>>;

/** The projector's own tables, for the time of one call. */
export type Tables<D extends Declared> = { readonly [K in keyof D]: Table<D[K]> };

/** Names rows that handlers will read: of each table, by key. */
export type Wanted<D extends Declared> = { readonly [K in keyof D]: (key: Key<D[K]>) => void };

/** Takes one event. A method, so that the event's data may be given any type. */
export type Handler<D extends Declared> = { handle(event: Event, tables: Tables<D>): void }["handle"];

/** A handler of some versions of an event type. */
export interface VersionHandler<D extends Declared> {
  /** Versions of the schema; without, all of them. */
  readonly schemaVersions?: readonly number[];
  /** Only of streams of this type. */
  readonly streamType?: string;
  handle(event: Event, tables: Tables<D>): void;
}

export interface ProjectorDefinition<D extends Declared> {
  /** Lower-case letters, digits and `-`, at most 48 characters. */
  readonly name: string;
  /**
   * A new version makes a new generation of the tables, built beside the live ones: raise it whenever the rows would come
   * out differently.
   */
  readonly version: string;
  /** The tables that it keeps, by name; in SQL, names are in snake_case. */
  readonly tables: D;
  /** Handlers by event type. */
  readonly on?: Readonly<Record<string, Handler<D> | VersionHandler<D> | readonly VersionHandler<D>[]>>;
  /** Handlers of all events, by the type of their stream, that no handler of `on` takes. */
  readonly onStreamType?: Readonly<Record<string, Handler<D>>>;
  /** The handler of every event of the log that no other takes. */
  readonly onEveryEvent?: Handler<D>;
  /**
   * Names the rows that handlers will read for an event, so that those of a whole batch are read together. It saves time,
   * and changes no row.
   */
  readonly prefetch?: (event: Event, wanted: Wanted<D>) => void;
  /**
   * `"stream"`: each row depends on the events of one stream, and the first column of each table's key is the stream's id.
   * Then a rebuild uses all cores. The host refuses a row of a stream that has no event in the call.
   */
  readonly partition?: "stream";
}

interface Route<D extends Declared> extends Subscription {
  readonly handle: Handler<D>;
}

/** A projector, for `export default`. Made by {@link projector}. */
export class Projector<D extends Declared = Declared> {
  /** @internal */
  readonly kind = "projector";
  /** @internal Numbered as the host knows them. */
  readonly schemas: readonly TableSchema[];
  private readonly routes: readonly Route<D>[];
  /** Those that may take events of a type, in their order. */
  private readonly byType = new Map<string, readonly Route<D>[]>();

  /** @internal */
  constructor(readonly definition: ProjectorDefinition<D>) {
    this.schemas = Object.entries(definition.tables).map(([name, table]) => compileTable(name, table));
    this.routes = declaredRoutes(definition);
  }

  /** As the host is told. */
  get descriptor(): Descriptor {
    const { name, version, partition } = this.definition;
    return {
      name,
      version,
      subscriptions: this.routes.map(({ eventType, streamType, schemaVersions }) => ({
        eventType,
        streamType,
        schemaVersions,
      })),
      tables: this.schemas,
      options: partition === undefined ? [] : [["partition", partition]],
    };
  }

  /** @internal The handler of an event; undefined where none takes it. */
  handlerOf(event: RoutedEvent): Handler<D> | undefined {
    const routes = this.routesOf(event.eventType);
    for (let at = 0; at < routes.length; at++) {
      const route = routes[at]!;
      if (route.schemaVersions.length > 0 && !route.schemaVersions.includes(event.schemaVersion)) continue;
      if (route.streamType !== null && route.streamType !== event.streamType) continue;
      return route.handle;
    }
    return undefined;
  }

  private routesOf(eventType: string): readonly Route<D>[] {
    let routes = this.byType.get(eventType);
    if (routes === undefined) {
      routes = this.routes.filter((route) => route.eventType === null || route.eventType === eventType);
      this.byType.set(eventType, routes);
    }
    return routes;
  }
}

/** What a route looks at. */
export interface RoutedEvent {
  readonly eventType: string;
  readonly streamType: string;
  readonly schemaVersion: number;
}

function declaredRoutes<D extends Declared>(definition: ProjectorDefinition<D>): Route<D>[] {
  const routes: Route<D>[] = [];
  for (const [eventType, handlers] of Object.entries(definition.on ?? {})) {
    for (const handler of Array.isArray(handlers) ? (handlers as readonly VersionHandler<D>[]) : [handlers]) {
      routes.push(routeOf(eventType, handler as Handler<D> | VersionHandler<D>));
    }
  }
  for (const [streamType, handle] of Object.entries(definition.onStreamType ?? {})) {
    routes.push({ eventType: null, streamType, schemaVersions: [], handle });
  }
  if (definition.onEveryEvent !== undefined) {
    routes.push({
      eventType: null,
      streamType: null,
      schemaVersions: [],
      handle: definition.onEveryEvent,
    });
  }
  return routes;
}

function routeOf<D extends Declared>(eventType: string, handler: Handler<D> | VersionHandler<D>): Route<D> {
  if (typeof handler === "function")
    return { eventType, streamType: null, schemaVersions: [], handle: handler };
  return {
    eventType,
    streamType: handler.streamType ?? null,
    schemaVersions: handler.schemaVersions ?? [],
    handle: (event, tables) => handler.handle(event, tables),
  };
}

/**
 * Declares a projector: events in, rows out. The plugin's `export default`.
 *
 * ```ts
 * export default projector({
 *   name: "clicks",
 *   version: "1.0.0",
 *   tables: { counters: table({ name: text().key(), count: integer().initial(0) }) },
 *   on: {
 *     Clicked(event, { counters }) {
 *       counters.upsert(event.streamId, { count: add(1) });
 *     },
 *   },
 * });
 * ```
 *
 * Nothing is kept from one call to the next, and a call may hold any number of events: what should be remembered goes
 * into a row.
 */
export function projector<const D extends Declared>(definition: ProjectorDefinition<D>): Projector<D> {
  return new Projector(definition);
}
