// What build.mjs asks of a plugin before it builds it.

import { Projector } from "../projector.ts";
import { checkProjector, checkUpcaster } from "../semantics/check.ts";
import { Upcaster } from "../upcaster.ts";

/** @internal */
export interface CheckedPlugin {
  readonly kind: string;
  readonly name: string;
  readonly version: string;
  readonly errors: readonly string[];
}

/** Kind, name and version of a plugin's module, and what the host would refuse. */
export function checkedPlugin(module: { readonly default?: unknown }): CheckedPlugin {
  const plugin = module.default;
  if (plugin instanceof Projector) {
    const { name, version } = plugin.definition;
    return { kind: plugin.kind, name, version, errors: checkProjector(plugin.descriptor) };
  }
  if (plugin instanceof Upcaster) {
    const { name, version } = plugin.definition;
    return { kind: plugin.kind, name, version, errors: checkUpcaster(plugin.descriptor) };
  }
  const error =
    "default" in module
      ? "the default export of src/plugin.ts is neither a projector nor an upcaster: `export default projector({ … })`"
      : "src/plugin.ts has no default export: `export default projector({ … })`, or `upcaster({ … })`";
  return { kind: "", name: "", version: "", errors: [error] };
}
