/**
 * A continuous-batching inference engine as a state machine on the caller's clock: one implementation for the simulator (virtual
 * time) and for the mock LLM (real or scaled time).
 *
 * Source: iteration-level scheduling of Orca (Yu et al., OSDI 2022) with chunked prefill (Sarathi-Serve, OSDI 2024) and vLLM's
 * recompute preemption (Kwon et al., SOSP 2023); the `peak_future` rule is LightLLM's, used by VTC (OSDI 2024).
 *
 * A step decodes every decoding sequence by one token and prefills up to `chunkTokens` of prompt, first come first served; the step
 * that completes a prompt yields its first token. It lasts
 * `stepBase + perSequence · decoding + perContextToken · Σ context + perPrefillToken · prefilled`. Under `peak_future` a prefill is a
 * step of its own that decodes nothing.
 *
 * Invariants: at most `slots` run; `kvUsed ≤ kvTokens` after every step; sequences run in the order of admission, and those still
 * in prefill are the last of them; only the youngest is preempted, to the front of the queue; same calls, same events.
 *
 * Cost: a step takes constant time unless a sequence joins, leaves, or wants its token events. Nothing is allocated per step.
 * Units: milliseconds, tokens.
 */
import { InvariantError } from "../core/model/invariant-error.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import type { EngineProfile } from "./engine-profiles.ts";

/** `token` and `first_token` say that `tokens` are produced so far; `finished` follows the last of them at the same instant. */
export type EngineEventKind = "first_token" | "token" | "finished";

/** One object, reused: read it before the next `nextEvent()`. */
export interface EngineEvent {
	kind: EngineEventKind;
	id: number;
	tokens: Tokens;
	at: Millis;
}

export interface EngineOptions {
	/** False: only `first_token` and `finished`, which makes a step's cost independent of its batch. Default true. */
	readonly emitTokens?: boolean;
}

/** Totals since the start; `Σ` figures are integrals over time, divide by the time passed for a mean. */
export interface EngineTotals {
	readonly steps: number;
	readonly preemptions: number;
	/** Includes what preemption made the engine read again. */
	readonly prefilledTokens: Tokens;
	readonly producedTokens: Tokens;
	readonly finished: number;
	readonly busyMs: Millis;
	/** Σ waiting requests · ms. */
	readonly waitingRequestMs: number;
	/** Σ running sequences · ms. */
	readonly runningSequenceMs: number;
}

const EVENT_KINDS = ["first_token", "token", "finished"] as const satisfies readonly EngineEventKind[];
const FIRST_TOKEN = 0;
const TOKEN = 1;
const FINISHED = 2;

const FREE = 0;
const WAITING = 1;
const PREFILLING = 2;
const DECODING = 3;
/** Leaves at the end of the step under way. */
const CANCELLED = 4;

const NONE = -1;
const INITIAL_CAPACITY = 256;

export class EngineModel {
	profile: EngineProfile;
	#successor: EngineProfile | undefined;
	readonly #emitTokens: boolean;

	// One sequence per index; the free list and the waiting queue run through #following.
	#state = new Uint8Array(0);
	#id = new Float64Array(0);
	#prompt = new Int32Array(0);
	#output = new Int32Array(0);
	/** Tokens still to prefill; while waiting, all that admission will prefill. */
	#unread = new Int32Array(0);
	/** Of #unread, what the step under way reads. */
	#reading = new Int32Array(0);
	/** Produced so far, except for a decoding sequence: that one's is `output − (lastStep − #decodeStep)`. */
	#produced = new Int32Array(0);
	/** Decode step that yields the last token. */
	#lastStep = new Float64Array(0);
	#following = new Int32Array(0);
	#preceding = new Int32Array(0);
	#free = NONE;
	readonly #indexOf = new Map<number, number>();

	#waitingHead = NONE;
	#waitingTail = NONE;
	#waitingCount = 0;
	#waitingPromptTokens = 0;

	/** In order of admission; the first #decodingCount decode, the rest prefill. */
	#running: Int32Array;
	#runningCount = 0;
	#decodingCount = 0;
	#decodingContext = 0;
	#kvUsed = 0;
	#cancelledCount = 0;

	/** Counts decode steps; sequences note the step of their last token instead of being visited in every step. */
	#decodeStep = 0;
	#soonestLastStep = Number.POSITIVE_INFINITY;
	#stepsSinceAdmission = 0;

	#stepUnderWay = false;
	#stepDecodes = false;
	#stepPrefillTokens = 0;
	/** When the step under way ends, or else when the next one may start. */
	#clock: Millis = 0;
	#stepStart: Millis = 0;

	#eventKind = new Uint8Array(INITIAL_CAPACITY);
	#eventId = new Float64Array(INITIAL_CAPACITY);
	#eventTokens = new Int32Array(INITIAL_CAPACITY);
	#eventAt = new Float64Array(INITIAL_CAPACITY);
	#eventHead = 0;
	#eventCount = 0;
	readonly #event: EngineEvent = { kind: "token", id: 0, tokens: 0, at: 0 };

	#peakLeft: Float64Array;
	#peakUse: Int32Array;

	#steps = 0;
	#preemptions = 0;
	#prefilledTokens = 0;
	#producedTokens = 0;
	#finishedCount = 0;
	#busyMs = 0;
	#waitingArea = 0;
	#runningArea = 0;
	#areaAt: Millis = 0;

	constructor(profile: EngineProfile, options: EngineOptions = {}) {
		this.profile = profile;
		this.#emitTokens = options.emitTokens ?? true;
		this.#running = new Int32Array(profile.slots);
		this.#peakLeft = new Float64Array(profile.slots + 1);
		this.#peakUse = new Int32Array(profile.slots + 1);
		this.#grow();
	}

	/**
	 * From its next step on the engine is another one, with its work in hand: what no longer runs there goes back to the front of its
	 * queue, youngest first, to be recomputed.
	 */
	become(profile: EngineProfile): void {
		this.#successor = profile;
	}

	get running(): number {
		return this.#runningCount;
	}

	get waiting(): number {
		return this.#waitingCount;
	}

	/** Prompt tokens (and tokens to recompute) of the waiting requests. */
	get waitingPromptTokens(): Tokens {
		return this.#waitingPromptTokens;
	}

	get kvUsed(): Tokens {
		return this.#kvUsed;
	}

	/** Σ prompt + output so far of the decoding sequences. */
	get contextTokens(): Tokens {
		return this.#decodingContext;
	}

	get totals(): EngineTotals {
		return {
			steps: this.#steps,
			preemptions: this.#preemptions,
			prefilledTokens: this.#prefilledTokens,
			producedTokens: this.#producedTokens,
			finished: this.#finishedCount,
			busyMs: this.#busyMs,
			waitingRequestMs: this.#waitingArea,
			runningSequenceMs: this.#runningArea,
		};
	}

	/** Whether such a request can ever run; `submit` accepts no other. */
	fits(promptTokens: Tokens, outputTokens: Tokens): boolean {
		const limit = this.profile.kvTokens;
		if (this.profile.admission !== "peak_future") return promptTokens + outputTokens <= limit;
		return promptTokens + outputTokens < limit && promptTokens <= this.profile.chunkTokens;
	}

	/**
	 * A request arrives: it joins at the end of the step under way, or at once when the engine is idle. The caller has run every
	 * step that ended before `now`. `id` is free to be used again after `finished` or `cancel`.
	 */
	submit(id: number, promptTokens: Tokens, outputTokens: Tokens, now: Millis): void {
		if (!(promptTokens >= 1 && outputTokens >= 1 && Number.isInteger(promptTokens) && Number.isInteger(outputTokens))) {
			throw new InvariantError(
				`engine: request ${id} has ${promptTokens} prompt and ${outputTokens} output tokens; whole numbers from 1 are allowed`,
			);
		}
		if (!this.fits(promptTokens, outputTokens)) {
			throw new InvariantError(
				`engine: request ${id} of ${promptTokens} + ${outputTokens} tokens can never run on ${this.profile.name} (${this.profile.kvTokens} tokens)`,
			);
		}
		if (this.#indexOf.has(id)) throw new InvariantError(`engine: request ${id} is already there`);
		this.#startStepBefore(now);
		if (this.#free === NONE) this.#grow();
		const index = this.#free;
		this.#free = this.#following[index] as number;
		this.#indexOf.set(id, index);
		this.#state[index] = WAITING;
		this.#id[index] = id;
		this.#prompt[index] = promptTokens;
		this.#output[index] = outputTokens;
		this.#unread[index] = promptTokens;
		this.#reading[index] = 0;
		this.#produced[index] = 0;
		this.#integrate(now);
		this.#waitingCount++;
		this.#waitingPromptTokens += promptTokens;
		this.#preceding[index] = this.#waitingTail;
		this.#following[index] = NONE;
		if (this.#waitingTail === NONE) this.#waitingHead = index;
		else this.#following[this.#waitingTail] = index;
		this.#waitingTail = index;
	}

	/**
	 * Takes a request back; it causes no further event. A waiting one leaves at once, a running one holds its slot and tokens until
	 * the end of the step under way. False when the engine does not have it.
	 */
	cancel(id: number, now: Millis): boolean {
		const index = this.#indexOf.get(id);
		if (index === undefined) return false;
		this.#startStepBefore(now);
		this.#integrate(now);
		this.#indexOf.delete(id);
		if (this.#state[index] === WAITING) {
			this.#unlinkWaiting(index);
			this.#release(index);
			return true;
		}
		if (this.#state[index] === DECODING) this.#produced[index] = this.#decodedTokens(index);
		const wasDecoding = this.#state[index] === DECODING;
		this.#state[index] = CANCELLED;
		this.#cancelledCount++;
		if (!this.#stepUnderWay) this.#removeLeavers(now);
		else if (wasDecoding) this.#soonestLastStep = Math.min(this.#soonestLastStep, this.#decodeStep + 1);
		return true;
	}

	/** Tokens produced so far for a request that the engine has; 0 for any other. */
	produced(id: number): Tokens {
		const index = this.#indexOf.get(id);
		if (index === undefined) return 0;
		return this.#state[index] === DECODING ? this.#decodedTokens(index) : (this.#produced[index] as number);
	}

	/** True while the request holds a slot. */
	isRunning(id: number): boolean {
		const index = this.#indexOf.get(id);
		return index !== undefined && this.#state[index] !== WAITING;
	}

	/**
	 * End of the step under way; Infinity when idle. Starts the next step if none is: hand in first what arrives at the end of the
	 * last one, if it is to join at once.
	 */
	nextEventAt(): Millis {
		if (!this.#stepUnderWay) this.#startStep();
		return this.#stepUnderWay ? this.#clock : Number.POSITIVE_INFINITY;
	}

	/** Ends the step that is due at `now` or before; its events carry the time of its end, so a late caller causes no drift. */
	step(now: Millis): void {
		if (this.nextEventAt() > now) return;
		const at = this.#clock;
		this.#integrate(at);
		this.#stepUnderWay = false;
		this.#steps++;
		this.#busyMs += at - this.#stepStart;
		if (this.#stepDecodes) {
			this.#decodeStep++;
			const decoding = this.#decodingCount;
			this.#decodingContext += decoding;
			this.#producedTokens += decoding;
			if (this.profile.admission !== "reserved_total") this.#kvUsed += decoding;
			if (this.#emitTokens) this.#emitDecoded(at);
		}
		const decodingBefore = this.#decodingCount;
		if (this.#stepPrefillTokens > 0) this.#endPrefill(at);
		if (this.#soonestLastStep <= this.#decodeStep || this.#cancelledCount > 0 || this.#decodingCount > decodingBefore) {
			this.#removeLeavers(at);
		}
	}

	nextEvent(): EngineEvent | undefined {
		if (this.#eventHead === this.#eventCount) {
			this.#eventHead = 0;
			this.#eventCount = 0;
			return undefined;
		}
		const index = this.#eventHead++;
		const event = this.#event;
		event.kind = EVENT_KINDS[this.#eventKind[index] as number] as EngineEventKind;
		event.id = this.#eventId[index] as number;
		event.tokens = this.#eventTokens[index] as number;
		event.at = this.#eventAt[index] as number;
		return event;
	}

	#decodedTokens(index: number): Tokens {
		return (this.#output[index] as number) - ((this.#lastStep[index] as number) - this.#decodeStep);
	}

	/** A step that could have started before `now` does not include what happens at `now`. */
	#startStepBefore(now: Millis): void {
		if (this.#stepUnderWay) return;
		if (this.#clock < now) {
			if (this.#runningCount > 0 || this.#waitingCount > 0) this.#startStep();
			else this.#clock = now;
		}
	}

	#startStep(): void {
		if (this.#runningCount === 0 && this.#waitingCount === 0) return;
		this.#integrate(this.#clock);
		this.#stepPrefillTokens = 0;
		if (this.#successor !== undefined) this.#succeed(this.#successor);
		const profile = this.profile;
		if (profile.admission === "peak_future") {
			this.#planBlockingStep();
		} else {
			this.#planChunkedStep();
		}
		this.#stepStart = this.#clock;
		this.#stepUnderWay = true;
		let duration = this.#stepPrefillTokens * profile.prefillMsPerToken;
		if (this.#stepDecodes) {
			duration +=
				profile.stepBaseMs +
				this.#decodingCount * profile.stepMsPerSequence +
				this.#decodingContext * profile.stepMsPerContextToken;
		} else {
			duration += profile.prefillBaseMs;
		}
		this.#clock += duration;
	}

	#succeed(profile: EngineProfile): void {
		this.#successor = undefined;
		while (this.#runningCount > profile.slots) this.#preemptYoungest();
		this.#running = resized(this.#running, profile.slots);
		this.#peakLeft = new Float64Array(profile.slots + 1);
		this.#peakUse = new Int32Array(profile.slots + 1);
		this.profile = profile;
	}

	#planChunkedStep(): void {
		const profile = this.profile;
		const reserves = profile.admission === "reserved_total";
		this.#stepDecodes = true;
		let preempted = false;
		// Every running sequence may write one token in this step.
		while (!reserves && this.#kvUsed + this.#runningCount > profile.kvTokens) {
			this.#preemptYoungest();
			preempted = true;
		}
		let budget = profile.chunkTokens;
		for (let position = this.#decodingCount; position < this.#runningCount && budget > 0; position++) {
			budget -= this.#read(this.#running[position] as number, budget);
		}
		// What preemption has just freed is not given away in the same step, or the two would chase each other.
		while (!preempted && budget > 0 && this.#waitingHead !== NONE && this.#runningCount < profile.slots) {
			const index = this.#waitingHead;
			const held = (this.#prompt[index] as number) + (this.#produced[index] as number);
			const need = reserves ? (this.#prompt[index] as number) + (this.#output[index] as number) : held;
			const growth = reserves ? 0 : this.#runningCount + 1;
			if (this.#kvUsed + need + growth > profile.kvTokens) break;
			this.#admit(index, need);
			budget -= this.#read(index, budget);
		}
	}

	/** Either a prefill of newly admitted requests, every so many decode steps, or a decode step. */
	#planBlockingStep(): void {
		const profile = this.profile;
		this.#stepDecodes = false;
		if (this.#runningCount === 0 || this.#stepsSinceAdmission >= profile.stepsPerAdmission) {
			let budget: number = profile.chunkTokens;
			while (this.#waitingHead !== NONE && this.#runningCount < profile.slots) {
				const index = this.#waitingHead;
				const prompt = this.#prompt[index] as number;
				if (prompt > budget || !this.#peakFits(index)) break;
				this.#admit(index, prompt);
				budget -= this.#read(index, budget);
			}
			this.#stepsSinceAdmission = 0;
			if (this.#stepPrefillTokens > 0) return;
		}
		this.#stepsSinceAdmission++;
		this.#stepDecodes = true;
	}

	/**
	 * Whether the pool holds the batch and one more at the fullest instant to come. With the sequences sorted by tokens left, most
	 * first, the use just before the i-th ends is `Σ_{j ≤ i} current_j + i · left_i`.
	 */
	#peakFits(candidate: number): boolean {
		const left = this.#peakLeft;
		const use = this.#peakUse;
		let count = 0;
		for (let position = 0; position <= this.#runningCount; position++) {
			const index = position < this.#runningCount ? (this.#running[position] as number) : candidate;
			const produced =
				this.#state[index] === DECODING ? this.#decodedTokens(index) : Math.max(1, this.#produced[index] as number);
			const tokensLeft = (this.#output[index] as number) - produced;
			const current = (this.#prompt[index] as number) + produced;
			let place = count++;
			while (place > 0 && (left[place - 1] as number) < tokensLeft) {
				left[place] = left[place - 1] as number;
				use[place] = use[place - 1] as number;
				place--;
			}
			left[place] = tokensLeft;
			use[place] = current;
		}
		let sum = 0;
		for (let place = 0; place < count; place++) {
			sum += use[place] as number;
			if (sum + (place + 1) * (left[place] as number) >= this.profile.kvTokens) return false;
		}
		return true;
	}

	#admit(index: number, need: Tokens): void {
		this.#unlinkWaiting(index);
		this.#state[index] = PREFILLING;
		this.#running[this.#runningCount++] = index;
		this.#kvUsed += need;
	}

	#read(index: number, budget: Tokens): Tokens {
		const take = Math.min(budget, this.#unread[index] as number);
		this.#reading[index] = take;
		this.#stepPrefillTokens += take;
		return take;
	}

	#endPrefill(at: Millis): void {
		this.#prefilledTokens += this.#stepPrefillTokens;
		for (let position = this.#decodingCount; position < this.#runningCount; position++) {
			const index = this.#running[position] as number;
			const read = this.#reading[index] as number;
			if (read === 0) break;
			this.#reading[index] = 0;
			const unread = (this.#unread[index] as number) - read;
			this.#unread[index] = unread;
			if (unread > 0) break;
			const produced = (this.#produced[index] as number) + 1;
			this.#produced[index] = produced;
			const output = this.#output[index] as number;
			this.#lastStep[index] = this.#decodeStep + output - produced;
			this.#decodingCount++;
			this.#decodingContext += (this.#prompt[index] as number) + produced;
			this.#producedTokens++;
			if (this.profile.admission !== "reserved_total") this.#kvUsed++;
			if (this.#state[index] === CANCELLED) continue;
			this.#state[index] = DECODING;
			this.#soonestLastStep = Math.min(this.#soonestLastStep, this.#lastStep[index] as number);
			if (produced === 1) this.#emit(FIRST_TOKEN, index, 1, at);
			else if (this.#emitTokens) this.#emit(TOKEN, index, produced, at);
		}
	}

	#emitDecoded(at: Millis): void {
		for (let position = 0; position < this.#decodingCount; position++) {
			const index = this.#running[position] as number;
			if (this.#state[index] === DECODING) this.#emit(TOKEN, index, this.#decodedTokens(index), at);
		}
	}

	/** Takes the finished and the cancelled out of the batch, and finds the next step in which one ends. */
	#removeLeavers(at: Millis): void {
		const running = this.#running;
		let kept = 0;
		let keptDecoding = 0;
		let soonest = Number.POSITIVE_INFINITY;
		for (let position = 0; position < this.#runningCount; position++) {
			const index = running[position] as number;
			const decodes = position < this.#decodingCount;
			const cancelled = this.#state[index] === CANCELLED;
			const lastStep = this.#lastStep[index] as number;
			if (cancelled || (decodes && lastStep <= this.#decodeStep)) {
				this.#leave(index, decodes, cancelled, at);
				continue;
			}
			running[kept++] = index;
			if (decodes) {
				keptDecoding++;
				if (lastStep < soonest) soonest = lastStep;
			}
		}
		this.#runningCount = kept;
		this.#decodingCount = keptDecoding;
		this.#soonestLastStep = soonest;
		this.#cancelledCount = 0;
	}

	#leave(index: number, decodes: boolean, cancelled: boolean, at: Millis): void {
		const prompt = this.#prompt[index] as number;
		const output = this.#output[index] as number;
		const held = prompt + (decodes ? this.#decodedTokens(index) : (this.#produced[index] as number));
		this.#kvUsed -= this.profile.admission === "reserved_total" ? prompt + output : held;
		if (decodes) this.#decodingContext -= held;
		if (!cancelled) {
			this.#finishedCount++;
			this.#indexOf.delete(this.#id[index] as number);
			this.#emit(FINISHED, index, output, at);
		}
		this.#release(index);
	}

	#preemptYoungest(): void {
		const index = this.#running[--this.#runningCount] as number;
		const decodes = this.#runningCount < this.#decodingCount;
		const produced = decodes ? this.#decodedTokens(index) : (this.#produced[index] as number);
		const held = (this.#prompt[index] as number) + produced;
		if (decodes) {
			this.#decodingCount--;
			this.#decodingContext -= held;
		}
		this.#kvUsed -= held;
		this.#preemptions++;
		this.#state[index] = WAITING;
		this.#produced[index] = produced;
		this.#unread[index] = held;
		this.#reading[index] = 0;
		this.#waitingCount++;
		this.#waitingPromptTokens += held;
		this.#preceding[index] = NONE;
		this.#following[index] = this.#waitingHead;
		if (this.#waitingHead === NONE) this.#waitingTail = index;
		else this.#preceding[this.#waitingHead] = index;
		this.#waitingHead = index;
	}

	#unlinkWaiting(index: number): void {
		const before = this.#preceding[index] as number;
		const after = this.#following[index] as number;
		if (before === NONE) this.#waitingHead = after;
		else this.#following[before] = after;
		if (after === NONE) this.#waitingTail = before;
		else this.#preceding[after] = before;
		this.#waitingCount--;
		this.#waitingPromptTokens -= this.#unread[index] as number;
	}

	#release(index: number): void {
		this.#state[index] = FREE;
		this.#following[index] = this.#free;
		this.#free = index;
	}

	#integrate(now: Millis): void {
		const elapsed = now - this.#areaAt;
		if (elapsed <= 0) return;
		this.#waitingArea += elapsed * this.#waitingCount;
		this.#runningArea += elapsed * this.#runningCount;
		this.#areaAt = now;
	}

	#emit(kind: number, index: number, tokens: Tokens, at: Millis): void {
		if (this.#eventCount === this.#eventKind.length) this.#growEvents();
		const place = this.#eventCount++;
		this.#eventKind[place] = kind;
		this.#eventId[place] = this.#id[index] as number;
		this.#eventTokens[place] = tokens;
		this.#eventAt[place] = at;
	}

	#growEvents(): void {
		const capacity = this.#eventKind.length * 2;
		this.#eventKind = enlarged(this.#eventKind, new Uint8Array(capacity));
		this.#eventId = enlarged(this.#eventId, new Float64Array(capacity));
		this.#eventTokens = enlarged(this.#eventTokens, new Int32Array(capacity));
		this.#eventAt = enlarged(this.#eventAt, new Float64Array(capacity));
	}

	#grow(): void {
		const before = this.#state.length;
		const capacity = Math.max(INITIAL_CAPACITY, before * 2);
		this.#state = enlarged(this.#state, new Uint8Array(capacity));
		this.#id = enlarged(this.#id, new Float64Array(capacity));
		this.#prompt = enlarged(this.#prompt, new Int32Array(capacity));
		this.#output = enlarged(this.#output, new Int32Array(capacity));
		this.#unread = enlarged(this.#unread, new Int32Array(capacity));
		this.#reading = enlarged(this.#reading, new Int32Array(capacity));
		this.#produced = enlarged(this.#produced, new Int32Array(capacity));
		this.#lastStep = enlarged(this.#lastStep, new Float64Array(capacity));
		this.#following = enlarged(this.#following, new Int32Array(capacity));
		this.#preceding = enlarged(this.#preceding, new Int32Array(capacity));
		for (let index = capacity - 1; index >= before; index--) {
			this.#following[index] = this.#free;
			this.#free = index;
		}
	}
}

function enlarged<T extends Uint8Array | Int32Array | Float64Array>(from: T, to: T): T {
	to.set(from as never);
	return to;
}

function resized(from: Int32Array, length: number): Int32Array {
	const to = new Int32Array(length);
	to.set(from.subarray(0, length));
	return to;
}
