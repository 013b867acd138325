/**
 * Messages that all take equally long: they arrive in the order in which they were sent. Grows to the most that are under way, and
 * allocates nothing after that. Units: milliseconds, tokens.
 */
import type { Millis, Tokens } from "../core/model/units.ts";

export interface Message<K extends string> {
	kind: K;
	run: number;
	tokens: Tokens;
}

export class DelayLine<K extends string> {
	readonly #messages: (Message<K> & { at: Millis })[] = [];
	#head = 0;
	#size = 0;

	/** When the first one arrives; `Infinity` when none is under way. */
	get nextAt(): Millis {
		return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#messages[this.#head]!.at;
	}

	/** @param at not before that of the last one */
	put(at: Millis, kind: K, run: number, tokens: Tokens): void {
		if (this.#size === this.#messages.length) this.#grow(kind);
		const message = this.#messages[(this.#head + this.#size++) % this.#messages.length]!;
		message.at = at;
		message.kind = kind;
		message.run = run;
		message.tokens = tokens;
	}

	/** The first one; there must be one. The object is used again after the next `put`. */
	take(): Message<K> {
		const message = this.#messages[this.#head]!;
		this.#head = (this.#head + 1) % this.#messages.length;
		this.#size--;
		return message;
	}

	/** Only when it is full. */
	#grow(kind: K): void {
		const inOrder = [...this.#messages.slice(this.#head), ...this.#messages.slice(0, this.#head)];
		const more = Array.from({ length: Math.max(16, inOrder.length) }, () => ({ at: 0, kind, run: 0, tokens: 0 }));
		this.#messages.splice(0, this.#messages.length, ...inOrder, ...more);
		this.#head = 0;
	}
}
