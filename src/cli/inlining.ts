/**
 * Lets the engine compile more of what a hot function calls into the function itself.
 *
 * The scheduling core is many small functions over shared arrays. V8 stops putting callees into a caller at 920 bytecodes; beyond, every
 * call loads and checks the same arrays again. At 4,000 a request whose data is near costs the core a third less, and `simulate` runs 1.2 to 1.6 × as fast;
 * at 10,000 it is slower again (docs/decisions/0041-core-speed.md). Holds for the whole process, for code compiled from then on.
 */
import { setFlagsFromString } from "node:v8";

export function inlineMore(): void {
	setFlagsFromString("--max-inlined-bytecode-size-cumulative=4000");
	setFlagsFromString("--max-inlined-bytecode-size=1000");
}
