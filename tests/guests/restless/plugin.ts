import { type Event, projector, table, text } from "lamphouse";

const readings = table({ streamId: text().key(), clock: text(), chance: text() });

function deeper(names: string[] | undefined): string {
  return (names as string[])[0] as string;
}

export default projector({
  name: "restless",
  version: "0.1.0",
  tables: { readings },
  on: {
    Ticked(event: Event<unknown>, { readings }) {
      readings.put({ streamId: event.streamId, clock: new Date().toISOString(), chance: String(Math.random()) });
    },
    Erred(event: Event<unknown>) {
      throw new Error(`the weather in ${event.streamId} is bad`);
    },
    Broke() {
      deeper(undefined);
    },
  },
});
