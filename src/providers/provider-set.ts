/**
 * All endpoints of all pools: connections, keys, which engine each runs, and whether it is well.
 *
 * Breaker per endpoint: after `FAILURES_TO_OPEN` failures in a row it is down and takes nothing; it is then asked for its health (or
 * its models) every `PROBE_MS` until it answers, which closes the breaker.
 */
import type { Millis } from "../core/model/units.ts";
import type { UpstreamAnswer, UpstreamCall, UpstreamListener, Upstreams } from "../ports/upstream.ts";
import { detectEngine, ENGINES } from "../protocol/engines/detect-engine.ts";
import { Upstream } from "./upstream.ts";

const FAILURES_TO_OPEN = 3;
const PROBE_MS: Millis = 1000;
const PROBE_TIMEOUT_MS: Millis = 2000;

export interface PoolProvider {
	readonly endpoints: readonly string[];
	/** Wire form: which header carries the key. */
	readonly type: string;
	readonly apiKey: string | undefined;
	readonly engine: string;
	readonly healthPath: string | undefined;
	readonly connectTimeoutMs: Millis;
}

interface EndpointState {
	readonly pool: number;
	readonly index: number;
	readonly upstream: Upstream;
	readonly keyHeaders: readonly string[];
	engine: string;
	failures: number;
	up: boolean;
	probe: NodeJS.Timeout | undefined;
}

/** Told when an endpoint goes down or comes back. */
export type HealthListener = (pool: number, endpoint: number, up: boolean, why: string) => void;

export class ProviderSet implements Upstreams {
	readonly #endpoints: readonly (readonly EndpointState[])[];
	readonly #healthPaths: readonly (string | undefined)[];
	readonly #onHealth: HealthListener;
	#closed = false;

	constructor(pools: readonly PoolProvider[], onHealth: HealthListener) {
		this.#onHealth = onHealth;
		this.#healthPaths = pools.map((pool) => pool.healthPath);
		this.#endpoints = pools.map((provider, pool) =>
			provider.endpoints.map((url, index) => ({
				pool,
				index,
				upstream: new Upstream(url, { connectTimeoutMs: provider.connectTimeoutMs, keepAliveMs: 4000 }),
				keyHeaders: keyHeadersOf(provider),
				engine: provider.engine === "auto" ? "generic" : provider.engine,
				failures: 0,
				up: true,
				probe: undefined,
			})),
		);
	}

	forward(
		pool: number,
		endpoint: number,
		path: string,
		headers: string[],
		body: Uint8Array,
		listener: UpstreamListener,
	): UpstreamCall {
		const state = this.#endpoints[pool]![endpoint]!;
		headers.push(...state.keyHeaders);
		return state.upstream.forward(path, headers, body, listener);
	}

	get(pool: number, endpoint: number, path: string, timeoutMs: Millis): Promise<UpstreamAnswer> {
		const state = this.#endpoints[pool]![endpoint]!;
		return state.upstream.get(path, Object.fromEntries(pairs(state.keyHeaders)), timeoutMs);
	}

	engineOf(pool: number, endpoint: number): string {
		return this.#endpoints[pool]![endpoint]!.engine;
	}

	report(pool: number, endpoint: number, ok: boolean): void {
		const state = this.#endpoints[pool]![endpoint]!;
		if (ok) {
			state.failures = 0;
		} else if (state.up && ++state.failures >= FAILURES_TO_OPEN) {
			this.#down(state, `${state.failures} failures in a row`);
		}
	}

	/** Asks every endpoint what it is; those that do not answer are down until they do. Answers how many are up. */
	async discover(): Promise<number> {
		const found = await Promise.all(this.#endpoints.flat().map((state) => this.#ask(state)));
		return found.filter(Boolean).length;
	}

	/** Whether any endpoint takes requests. */
	get anyUp(): boolean {
		return this.#endpoints.some((pool) => pool.some((state) => state.up));
	}

	isUp(pool: number, endpoint: number): boolean {
		return this.#endpoints[pool]![endpoint]!.up;
	}

	async close(): Promise<void> {
		this.#closed = true;
		for (const state of this.#endpoints.flat()) clearTimeout(state.probe);
		await Promise.all(this.#endpoints.flat().map((state) => state.upstream.close()));
	}

	async #ask(state: EndpointState): Promise<boolean> {
		try {
			const answer = await this.get(state.pool, state.index, "/v1/models", PROBE_TIMEOUT_MS);
			if (state.engine === "generic" && answer.status === 200)
				state.engine = detectEngine(JSON.parse(answer.text), {}).name;
			if (answer.status >= 500) throw new Error(`status ${answer.status}`);
			return true;
		} catch (error) {
			this.#down(state, (error as Error).message);
			return false;
		}
	}

	#down(state: EndpointState, why: string): void {
		if (!state.up || this.#closed) return;
		state.up = false;
		this.#onHealth(state.pool, state.index, false, why);
		this.#probeLater(state);
	}

	#probeLater(state: EndpointState): void {
		state.probe = setTimeout(() => {
			void this.#probe(state);
		}, PROBE_MS);
		state.probe.unref();
	}

	async #probe(state: EndpointState): Promise<void> {
		const engine = ENGINES[state.engine as keyof typeof ENGINES] ?? ENGINES.generic;
		try {
			const answer = await this.get(
				state.pool,
				state.index,
				this.#healthPaths[state.pool] ?? engine.healthPath,
				PROBE_TIMEOUT_MS,
			);
			if (answer.status >= 500) throw new Error(`status ${answer.status}`);
			if (this.#closed) return;
			state.failures = 0;
			state.up = true;
			this.#onHealth(state.pool, state.index, true, "answers again");
		} catch {
			if (!this.#closed) this.#probeLater(state);
		}
	}
}

function keyHeadersOf(provider: PoolProvider): readonly string[] {
	if (provider.apiKey === undefined) return [];
	return provider.type === "anthropic"
		? ["x-api-key", provider.apiKey]
		: ["authorization", `Bearer ${provider.apiKey}`];
}

function* pairs(flat: readonly string[]): Generator<readonly [string, string]> {
	for (let at = 0; at + 1 < flat.length; at += 2) yield [flat[at]!, flat[at + 1]!];
}
