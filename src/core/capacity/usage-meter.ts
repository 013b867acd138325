/** Tokens per second of two classes of traffic over any window of up to a minute, in half-second slots. Constant memory and time. */
import { MILLIS_PER_SECOND, type Millis, type Tokens } from "../model/units.ts";

const SLOT_MS: Millis = 500;
const SLOTS = 120;

export class UsageMeter {
	readonly #tokens = [new Float64Array(SLOTS), new Float64Array(SLOTS)] as const;
	/** Number of the slot that is being filled, counted from the beginning of the clock. */
	#slot = 0;

	add(isExternal: boolean, tokens: Tokens, now: Millis): void {
		this.#advance(now);
		const slots = this.#tokens[isExternal ? 1 : 0];
		const place = this.#slot % SLOTS;
		slots[place] = slots[place]! + tokens;
	}

	/** Mean over the last `windowMs`, at most a minute; what lies before the first use counts as nothing. */
	perSecond(isExternal: boolean, windowMs: Millis, now: Millis): number {
		this.#advance(now);
		const slots = this.#tokens[isExternal ? 1 : 0];
		const count = Math.min(SLOTS, Math.ceil(windowMs / SLOT_MS));
		let sum = 0;
		for (let back = 0; back < count; back++) sum += slots[(this.#slot - back + SLOTS) % SLOTS]!;
		// The newest slot is only as long as it is old.
		const covered = (count - 1) * SLOT_MS + Math.max(1, now - this.#slot * SLOT_MS);
		return (sum / covered) * MILLIS_PER_SECOND;
	}

	#advance(now: Millis): void {
		const slot = Math.max(this.#slot, Math.floor(now / SLOT_MS));
		const passed = Math.min(SLOTS, slot - this.#slot);
		for (let step = 1; step <= passed; step++) {
			const place = (slot - passed + step) % SLOTS;
			this.#tokens[0][place] = 0;
			this.#tokens[1][place] = 0;
		}
		this.#slot = slot;
	}
}
