/**
 * All endpoints of all pools: connections, keys, which engine each runs, and whether it is well.
 *
 * Breaker per endpoint: failures in a row weigh 1, those without a connection 4; at `OPENS_AT` it is down and takes nothing. It is then
 * asked for its health every `PROBE_MS` until it answers, which closes the breaker; for `HOPE_MS` after it went, and while it says
 * that it is loading, requests may wait for it. An endpoint that is up and idle is asked too; only a refused connection
 * counts then, since the health of a busy engine may be slow.
 */
import type { Millis } from "../core/model/units.ts";
import type { ForwardOutcome, UpstreamAnswer, UpstreamCall, UpstreamListener, Upstreams } from "../ports/upstream.ts";
import { detectEngine, ENGINES } from "../protocol/engines/detect-engine.ts";
import type { Engine, EngineName } from "../protocol/engines/engine.ts";
import { tryParseJson } from "../protocol/json.ts";
import { Upstream } from "./upstream.ts";

const OPENS_AT = 10;
const UNREACHABLE_WEIGHT = 4;
const PROBE_MS: Millis = 1000;
const PROBE_TIMEOUT_MS: Millis = 2000;
const IDLE_CHECK_MS: Millis = 5000;
const HOPE_MS: Millis = 3000;

export interface PoolProvider {
	readonly endpoints: readonly string[];
	/** Wire form: which header carries the key. */
	readonly type: string;
	readonly apiKey: string | undefined;
	readonly engine: string;
	readonly healthPath: string | undefined;
	readonly connectTimeoutMs: Millis;
}

/** `recovering`: down, but requests may wait for it. */
export type EndpointHealth = "up" | "recovering" | "down";

interface EndpointState {
	readonly pool: number;
	readonly index: number;
	readonly upstream: Upstream;
	readonly keyHeaders: readonly string[];
	engine: Engine;
	/** `engine = auto`, and nothing has said yet which one it is. */
	unknownEngine: boolean;
	/** Failures in a row, by weight. */
	failures: number;
	health: EndpointHealth;
	/** Something was heard of it since the last look. */
	heard: boolean;
	downSince: Millis;
	timer: NodeJS.Timeout | undefined;
}

/** Told whenever the health of an endpoint changes. */
export type HealthListener = (pool: number, endpoint: number, health: EndpointHealth, why: string) => void;

export class ProviderSet implements Upstreams {
	readonly #endpoints: readonly (readonly EndpointState[])[];
	readonly #healthPaths: readonly (string | undefined)[];
	readonly #onHealth: HealthListener;
	/** By pool: forwarded requests that went wrong since the start. */
	readonly errors: readonly Record<Exclude<ForwardOutcome, "ok">, number>[];
	#closed = false;

	constructor(pools: readonly PoolProvider[], onHealth: HealthListener) {
		this.#onHealth = onHealth;
		this.errors = pools.map(() => ({ failed: 0, unreachable: 0 }));
		this.#healthPaths = pools.map((pool) => pool.healthPath);
		this.#endpoints = pools.map((provider, pool) =>
			provider.endpoints.map((url, index) => ({
				pool,
				index,
				upstream: new Upstream(url, { connectTimeoutMs: provider.connectTimeoutMs, keepAliveMs: 4000 }),
				keyHeaders: keyHeadersOf(provider),
				engine: ENGINES[provider.engine as EngineName] ?? ENGINES.generic,
				unknownEngine: provider.engine === "auto",
				failures: 0,
				health: "up",
				heard: true,
				downSince: 0,
				timer: undefined,
			})),
		);
	}

	forward(
		pool: number,
		endpoint: number,
		path: string,
		headers: string[],
		body: Uint8Array,
		stream: boolean,
		listener: UpstreamListener,
	): UpstreamCall {
		const { engine, keyHeaders, upstream } = this.#endpoints[pool]![endpoint]!;
		headers.push(...keyHeaders);
		return upstream.forward(path, headers, body, engine.reuseAfterStream || !stream, listener);
	}

	get(pool: number, endpoint: number, path: string, timeoutMs: Millis): Promise<UpstreamAnswer> {
		const state = this.#endpoints[pool]![endpoint]!;
		return state.upstream.get(path, Object.fromEntries(pairs(state.keyHeaders)), timeoutMs);
	}

	engineOf(pool: number, endpoint: number): EngineName {
		return this.#endpoints[pool]![endpoint]!.engine.name;
	}

	report(pool: number, endpoint: number, outcome: ForwardOutcome): void {
		const state = this.#endpoints[pool]![endpoint]!;
		if (outcome !== "ok") this.errors[pool]![outcome]++;
		if (outcome === "ok") {
			state.failures = 0;
			state.heard = true;
		} else this.#failed(state, outcome === "unreachable" ? UNREACHABLE_WEIGHT : 1, "too many failures in a row");
	}

	mayRecover(pool: number): boolean {
		return this.#endpoints[pool]!.some((state) => state.health === "recovering");
	}

	/** Asks every endpoint what it is; those that do not answer are down until they do. Answers how many are up. */
	async discover(): Promise<number> {
		const found = await Promise.all(
			this.#endpoints.flat().map(async (state) => {
				const answer = await this.#ask(state);
				if (answer === "well") this.#lookLater(state, IDLE_CHECK_MS);
				// Never seen alive: nothing waits for it.
				else this.#down(state, answer === "loading" ? "recovering" : "down", `does not answer yet (${answer})`);
				return answer === "well";
			}),
		);
		return found.filter(Boolean).length;
	}

	/** Whether any endpoint takes requests. */
	get anyUp(): boolean {
		return this.#endpoints.some((pool) => pool.some((state) => state.health === "up"));
	}

	healthOf(pool: number, endpoint: number): EndpointHealth {
		return this.#endpoints[pool]![endpoint]!.health;
	}

	async close(): Promise<void> {
		this.#closed = true;
		for (const state of this.#endpoints.flat()) clearTimeout(state.timer);
		await Promise.all(this.#endpoints.flat().map((state) => state.upstream.close()));
	}

	#failed(state: EndpointState, weight: number, why: string): void {
		state.failures += weight;
		if (state.health === "up" && state.failures >= OPENS_AT) this.#down(state, "recovering", why);
	}

	#down(state: EndpointState, health: EndpointHealth, why: string): void {
		if (this.#closed) return;
		state.downSince = performance.now();
		this.#change(state, health, why);
		this.#lookLater(state, PROBE_MS);
	}

	#change(state: EndpointState, health: EndpointHealth, why: string): void {
		if (state.health === health) return;
		state.health = health;
		this.#onHealth(state.pool, state.index, health, why);
	}

	#lookLater(state: EndpointState, afterMs: Millis): void {
		clearTimeout(state.timer);
		if (this.#closed) return;
		state.timer = setTimeout(() => {
			void this.#look(state);
		}, afterMs);
		state.timer.unref();
	}

	async #look(state: EndpointState): Promise<void> {
		if (state.health === "up" && state.heard) {
			state.heard = false;
			this.#lookLater(state, IDLE_CHECK_MS);
			return;
		}
		const answer = await this.#ask(state);
		if (this.#closed) return;
		if (state.health === "up") {
			if (answer === "unreachable") this.#failed(state, UNREACHABLE_WEIGHT, "refuses connections");
			// Whether it is gone for good is soon known.
			this.#lookLater(state, state.failures > 0 ? PROBE_MS : IDLE_CHECK_MS);
		} else if (answer === "well") {
			state.failures = 0;
			state.heard = true;
			this.#change(state, "up", "answers again");
			this.#lookLater(state, IDLE_CHECK_MS);
		} else {
			if (answer === "loading") this.#change(state, "recovering", "is loading");
			else if (performance.now() - state.downSince > HOPE_MS) this.#change(state, "down", answer);
			this.#lookLater(state, PROBE_MS);
		}
	}

	async #ask(state: EndpointState): Promise<"well" | "loading" | "unwell" | "unreachable"> {
		const path = state.unknownEngine ? "/v1/models" : (this.#healthPaths[state.pool] ?? state.engine.healthPath);
		try {
			const { status, headers, text } = await this.get(state.pool, state.index, path, PROBE_TIMEOUT_MS);
			if (status === 503 && (state.unknownEngine || state.engine.unhealthyWhileLoading)) return "loading";
			if (status >= 500) return "unwell";
			if (state.unknownEngine && status === 200) {
				state.engine = detectEngine(tryParseJson(text), headers);
				state.unknownEngine = false;
			}
			return "well";
		} catch (error) {
			return (error as Error).name === "TimeoutError" ? "unwell" : "unreachable";
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
