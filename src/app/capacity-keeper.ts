/**
 * Keeps the room of every pool at what its engine can do: feeds adaptive capacity with what runs and with what engines say of themselves,
 * and hands its answers to the core. Where nobody configured a number and the engine names one, that one is taken.
 *
 * Ticks and questions are timers of their own: dispatch never waits for them. Units: milliseconds.
 */
import type { CompiledPool, EngineNumber } from "../config/compile.ts";
import { AdaptiveCapacity } from "../core/capacity/adaptive-capacity.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import type { CapacitySettings } from "../core/schedule/core-settings.ts";
import type { Engine } from "../engine/engine.ts";
import type { Upstreams } from "../ports/upstream.ts";
import { ENGINES } from "../protocol/engines/detect-engine.ts";
import type { EngineLoad, EngineName } from "../protocol/engines/engine.ts";
import { tryParseJson } from "../protocol/json.ts";

const TICK_MS: Millis = 200;
const QUESTION_MS: Millis = 2000;
/** What an engine is rarely asked: how long its context is. */
const CONTEXT_EVERY_MS: Millis = 60_000;
const ANSWER_TIMEOUT_MS: Millis = 1500;
/** vLLM names its cache, not how many sequences it runs: this is its own default. */
const SEQUENCES_WITH_KNOWN_CACHE = 256;

/** What engines of one pool said last. */
export interface EngineWord {
	readonly maxConcurrent?: number;
	readonly maxInflightTokens?: Tokens;
	readonly maxContextLength?: Tokens;
}

export interface KeeperParts {
	readonly engine: Engine;
	readonly upstreams: Upstreams;
	/** Told when an engine names another number than before. */
	readonly onWord: (pool: number, word: EngineWord) => void;
}

interface PoolState {
	compiled: CompiledPool;
	adaptive: AdaptiveCapacity | undefined;
	/** What the core was last told; it may have scaled that. */
	handed: CapacitySettings | undefined;
	word: EngineWord;
	contextAskedAt: Millis;
	asking: boolean;
}

export class CapacityKeeper {
	readonly #parts: KeeperParts;
	readonly #pools: PoolState[];
	readonly #timers: NodeJS.Timeout[];

	constructor(pools: readonly CompiledPool[], parts: KeeperParts) {
		this.#parts = parts;
		this.#pools = pools.map((compiled) => ({
			compiled,
			adaptive: undefined,
			handed: undefined,
			word: {},
			contextAskedAt: Number.NEGATIVE_INFINITY,
			asking: false,
		}));
		for (const index of pools.keys()) this.#attach(index);
		this.#timers = [
			setInterval(() => this.#tick(), TICK_MS).unref(),
			setInterval(() => void this.ask(), QUESTION_MS).unref(),
		];
	}

	/** Pools after a reload; what was learnt stays. */
	use(pools: readonly CompiledPool[]): void {
		for (const [index, compiled] of pools.entries()) {
			this.#pools[index]!.compiled = compiled;
			this.#attach(index);
			this.#applyWord(index);
		}
		this.#tick();
	}

	close(): void {
		for (const timer of this.#timers) clearInterval(timer);
	}

	/** Also of a half of a pool. */
	adaptiveOf(pool: number): AdaptiveCapacity | undefined {
		return this.#pools[pool % this.#pools.length]!.adaptive;
	}

	wordOf(pool: number): EngineWord {
		return this.#pools[pool]!.word;
	}

	/** Asks all engines what they say of themselves; resolves when they have answered or not. */
	async ask(): Promise<void> {
		await Promise.all(this.#pools.map((_, index) => this.#askPool(index)));
	}

	/** Lines for `/metrics`. */
	*metrics(): Generator<string> {
		const adapting = this.#pools.flatMap(({ compiled, adaptive }) =>
			adaptive?.limit === undefined ? [] : [{ name: compiled.name, adaptive }],
		);
		if (adapting.length === 0) return;
		yield "# HELP tokligence_capacity_engine_queue Requests that wait inside the engine, as estimated.";
		yield "# TYPE tokligence_capacity_engine_queue gauge";
		for (const { name, adaptive } of adapting)
			yield `tokligence_capacity_engine_queue{pool="${name}"} ${adaptive.engineQueue.toFixed(3)}`;
		yield "# HELP tokligence_capacity_degraded Whether nothing can be learnt and degradation_mode holds.";
		yield "# TYPE tokligence_capacity_degraded gauge";
		for (const { name, adaptive } of adapting)
			yield `tokligence_capacity_degraded{pool="${name}"} ${adaptive.isBlind ? 1 : 0}`;
	}

	#attach(index: number): void {
		const state = this.#pools[index]!;
		state.handed = undefined;
		const settings = state.compiled.control.adaptive;
		const pool = this.#parts.engine.core.pools[index]!;
		if (settings === undefined) state.adaptive = undefined;
		else if (state.adaptive === undefined) state.adaptive = new AdaptiveCapacity(settings, pool.endpoints.length);
		else state.adaptive.configure(settings);
		for (const half of [pool, pool.beside]) if (half !== undefined) half.observer = state.adaptive;
	}

	#tick(): void {
		const { engine } = this.#parts;
		for (const [index, state] of this.#pools.entries()) {
			const { adaptive } = state;
			if (adaptive === undefined) continue;
			engine.change((core, now) => {
				const pool = core.pools[index]!;
				const capacity = adaptive.tick(now, pool);
				if (isDifferent(core.configuredCapacity(index), capacity)) core.configureCapacity(index, capacity, now);
			});
		}
	}

	async #askPool(index: number): Promise<void> {
		const state = this.#pools[index]!;
		const { mode, control } = state.compiled;
		if (state.asking || (mode !== "engine" && mode !== "adaptive" && control.engineMaySet.length === 0)) return;
		state.asking = true;
		try {
			const pool = this.#parts.engine.core.pools[index]!;
			const loads: EngineLoad[] = [];
			for (const [endpoint, { up }] of pool.endpoints.entries()) {
				const load = up ? await this.#loadOf(index, endpoint) : undefined;
				if (load !== undefined) loads.push(load);
			}
			const waits = loads.map((load) => load.waiting).filter((waiting) => waiting !== undefined);
			if (waits.length > 0 && waits.length === loads.length) {
				const uses = loads.map((load) => load.kvUse).filter((use) => use !== undefined);
				const waiting = waits.reduce((sum, one) => sum + one, 0);
				this.#parts.engine.change((_, now) =>
					state.adaptive?.reported(waiting, uses.length === 0 ? undefined : Math.max(...uses), now),
				);
			}
			const context = await this.#contextOf(index);
			this.#hear(index, {
				...word("maxConcurrent", smallest(loads.map((load) => load.maxRunning))),
				...word("maxInflightTokens", smallest(loads.map((load) => load.maxTokens))),
				...word("maxContextLength", context ?? state.word.maxContextLength),
			});
		} finally {
			state.asking = false;
		}
	}

	async #loadOf(pool: number, endpoint: number): Promise<EngineLoad | undefined> {
		const { upstreams } = this.#parts;
		const facts = ENGINES[upstreams.engineOf(pool, endpoint) as EngineName] ?? ENGINES.generic;
		let found: EngineLoad | undefined;
		for (const source of facts.loadSources) {
			// One source may know the load and another what there is room for.
			if (found?.waiting !== undefined && (found.maxRunning !== undefined || found.maxTokens !== undefined)) break;
			const text = await this.#textOf(pool, endpoint, source.path);
			const load = text === undefined ? undefined : source.read(text);
			if (load !== undefined) found = { ...load, ...found };
		}
		return found;
	}

	async #contextOf(index: number): Promise<Tokens | undefined> {
		const state = this.#pools[index]!;
		const now = performance.now();
		const { engineMaySet } = state.compiled.control;
		if (!engineMaySet.includes("maxContextLength") || now - state.contextAskedAt < CONTEXT_EVERY_MS) return undefined;
		const endpoint = this.#parts.engine.core.pools[index]!.endpoints.findIndex(({ up }) => up);
		if (endpoint < 0) return undefined;
		const facts = ENGINES[this.#parts.upstreams.engineOf(index, endpoint) as EngineName] ?? ENGINES.generic;
		for (const source of facts.contextSources) {
			if (source.requestBody !== undefined) continue;
			const text = await this.#textOf(index, endpoint, source.path);
			const tokens = text === undefined ? undefined : source.read(tryParseJson(text), onlyModel(state.compiled));
			if (tokens === undefined) continue;
			state.contextAskedAt = now;
			return tokens;
		}
		return undefined;
	}

	async #textOf(pool: number, endpoint: number, path: string): Promise<string | undefined> {
		try {
			const answer = await this.#parts.upstreams.get(pool, endpoint, path, ANSWER_TIMEOUT_MS);
			return answer.status === 200 ? answer.text : undefined;
		} catch {
			// Health is the providers' business; an engine that does not say is a silent one.
			return undefined;
		}
	}

	#hear(index: number, said: EngineWord): void {
		const state = this.#pools[index]!;
		const known = { ...state.word, ...said };
		if (JSON.stringify(known) === JSON.stringify(state.word)) return;
		state.word = known;
		this.#applyWord(index);
		this.#parts.onWord(index, known);
	}

	/** Puts what the engine says where nobody configured anything. */
	#applyWord(index: number): void {
		const { word: said, compiled, adaptive } = this.#pools[index]!;
		const may = (key: EngineNumber) => compiled.control.engineMaySet.includes(key);
		const tokens = may("maxInflightTokens") ? said.maxInflightTokens : undefined;
		const sequences = may("maxConcurrent")
			? (said.maxConcurrent ?? (tokens === undefined ? undefined : SEQUENCES_WITH_KNOWN_CACHE))
			: undefined;
		if (adaptive !== undefined) adaptive.found = tokens === undefined ? {} : { maxInflightTokens: tokens };
		if (tokens === undefined && sequences === undefined) return;
		this.#parts.engine.change((core, now) =>
			core.configureCapacity(
				index,
				{
					...(tokens === undefined ? {} : { maxInflightTokens: tokens }),
					...(sequences === undefined ? {} : { maxConcurrent: sequences }),
				},
				now,
			),
		);
	}
}

function word(key: EngineNumber, value: number | undefined): EngineWord {
	return value === undefined ? {} : { [key]: value };
}

/** Replicas of a pool have one limit: that of the smallest. */
function smallest(values: readonly (number | undefined)[]): number | undefined {
	const known = values.filter((value) => value !== undefined && value > 0) as number[];
	return known.length === 0 ? undefined : Math.min(...known);
}

function onlyModel({ models }: CompiledPool): string {
	return models.find((pattern) => !pattern.includes("*")) ?? "";
}

function isDifferent(a: CapacitySettings, b: CapacitySettings): boolean {
	return (
		a.maxConcurrent !== b.maxConcurrent ||
		a.maxInflightTokens !== b.maxInflightTokens ||
		a.headroom !== b.headroom ||
		a.prefillWindowMs !== b.prefillWindowMs ||
		a.maxPrefillTokens !== b.maxPrefillTokens ||
		a.maxTokensPerSec !== b.maxTokensPerSec
	);
}
