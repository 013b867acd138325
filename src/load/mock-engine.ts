/**
 * The engine model on the real clock, `speed` times as fast: one timer for the end of the step under way, whatever the batch.
 *
 * A late timer causes no drift: steps end at their own times, and all that are due run in one go. A sequence hears once per go how
 * far it got, not once per token.
 */
import { performance } from "node:perf_hooks";
import type { Millis, Tokens } from "../core/model/units.ts";
import { EngineModel } from "../simulate/engine-model.ts";
import type { EngineProfile } from "../simulate/engine-profiles.ts";

export interface SequenceListener {
	/** Produced so far; at least one more than before. */
	produced(tokens: Tokens): void;
	/** Called after the last `produced`. `at`: when its last step ended, which may be a little before now; of `performance.now()`. */
	finished(at: Millis): void;
}

interface Running {
	readonly listener: SequenceListener;
	tokens: Tokens;
	told: Tokens;
	/** Of the engine's clock; undefined while it runs. */
	finishedAt: Millis | undefined;
}

const LONGEST_TIMER_MS = 0x7fffffff;

export class MockEngine {
	readonly model: EngineModel;
	readonly #speed: number;
	readonly #origin = performance.now();
	readonly #sequences = new Map<number, Running>();
	/** Those with news since the last go. */
	readonly #news: Running[] = [];
	#lastId = 0;
	#timer: NodeJS.Timeout | undefined;

	constructor(profile: EngineProfile, speed: number) {
		this.model = new EngineModel(profile);
		this.#speed = speed;
	}

	submit(promptTokens: Tokens, outputTokens: Tokens, listener: SequenceListener): number {
		this.#advance();
		const id = ++this.#lastId;
		this.#sequences.set(id, { listener, tokens: 0, told: 0, finishedAt: undefined });
		this.model.submit(id, promptTokens, outputTokens, this.#now());
		this.#arm();
		return id;
	}

	/** The listener hears nothing more. */
	cancel(id: number): void {
		const sequence = this.#sequences.get(id);
		if (sequence === undefined) return;
		this.#sequences.delete(id);
		sequence.told = Number.POSITIVE_INFINITY;
		sequence.finishedAt = undefined;
		this.model.cancel(id, Math.max(this.#now(), 0));
		this.#arm();
	}

	close(): void {
		clearTimeout(this.#timer);
		this.#sequences.clear();
	}

	#now(): number {
		return (performance.now() - this.#origin) * this.#speed;
	}

	#arm(): void {
		if (this.#timer !== undefined) return;
		const at = this.model.nextEventAt();
		if (at === Number.POSITIVE_INFINITY) return;
		const delayMs = Math.min(LONGEST_TIMER_MS, Math.max(0, (at - this.#now()) / this.#speed));
		this.#timer = setTimeout(this.#due, delayMs);
	}

	readonly #due = (): void => {
		this.#timer = undefined;
		this.#advance();
		this.#arm();
	};

	/** Runs every step that has ended, then tells the sequences. */
	#advance(): void {
		const model = this.model;
		const now = this.#now();
		while (model.nextEventAt() <= now) {
			model.step(now);
			for (let event = model.nextEvent(); event !== undefined; event = model.nextEvent()) {
				const sequence = this.#sequences.get(event.id);
				if (sequence === undefined) continue;
				if (event.kind === "finished") {
					sequence.finishedAt = event.at;
					this.#sequences.delete(event.id);
					continue;
				}
				if (sequence.tokens === sequence.told) this.#news.push(sequence);
				sequence.tokens = event.tokens;
			}
		}
		if (this.#news.length === 0) return;
		const news = this.#news.splice(0);
		for (const sequence of news) {
			if (sequence.told === Number.POSITIVE_INFINITY) continue;
			sequence.told = sequence.tokens;
			sequence.listener.produced(sequence.tokens);
			const { finishedAt } = sequence;
			if (finishedAt !== undefined) sequence.listener.finished(this.#origin + finishedAt / this.#speed);
		}
	}
}
