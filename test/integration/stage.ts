/**
 * A gateway with everything that takes a resource switched on, three engines behind it that may go and come back, and a witness of what
 * happens inside: for the tests of random interleavings and of storms.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningGateway, startGateway } from "../../src/app/gateway.ts";
import { loadConfig } from "../../src/config/load.ts";
import { RateLimit } from "../../src/core/capacity/rate-limit.ts";
import type { ExchangeRecord } from "../../src/http/data-plane.ts";
import type { LedgerEntry } from "../../src/load/mock-ledger.ts";
import { type MockLlm, type MockLlmOptions, startMockLlm } from "../../src/load/mock-llm-server.ts";

/** One engine that may be restarted on its port; its books outlive it. */
export class RestartableEngine {
	readonly #options: MockLlmOptions;
	readonly #before: LedgerEntry[] = [];
	#mock: MockLlm;
	#isUp = true;

	private constructor(mock: MockLlm, options: MockLlmOptions) {
		this.#mock = mock;
		this.#options = options;
	}

	static async start(options: MockLlmOptions): Promise<RestartableEngine> {
		return new RestartableEngine(await startMockLlm(options), options);
	}

	get url(): string {
		return this.#mock.url;
	}

	get isUp(): boolean {
		return this.#isUp;
	}

	/** Breaks what runs. */
	async stop(): Promise<void> {
		if (!this.#isUp) return;
		this.#isUp = false;
		await this.#mock.close();
	}

	async startAgain(): Promise<void> {
		if (this.#isUp) return;
		this.#before.push(...this.#mock.ledger().requests);
		this.#mock = await startMockLlm({ ...this.#options, port: this.#mock.port });
		this.#isUp = true;
	}

	/** Requests that it works on. */
	get running(): number {
		return this.#isUp ? this.#mock.ledger().totals.running + this.#mock.engine().running : 0;
	}

	entries(): readonly LedgerEntry[] {
		return [...this.#before, ...this.#mock.ledger().requests];
	}
}

/** What happens inside a gateway, seen from its seams. */
export class Witness {
	/** Requests that the journal has a start of, in order. */
	readonly started: string[] = [];
	/** Ends of requests, in order. */
	readonly ends: ExchangeRecord[] = [];
	readonly bugs: string[] = [];
	/** What limits of rules gave, less what came back. */
	readonly #net: Map<RateLimit, number>;

	constructor({ plane }: RunningGateway, net: Map<RateLimit, number>) {
		this.#net = net;
		const start = plane.journal.start.bind(plane.journal);
		plane.journal.start = (row) => {
			const taken = start(row);
			if (taken) this.started.push(row.requestId);
			return taken;
		};
		const { onEnd, onBug } = plane;
		Object.assign(plane, {
			onEnd: (record: ExchangeRecord) => {
				this.ends.push(record);
				onEnd(record);
			},
			onBug: (error: unknown, requestId: string) => {
				this.bugs.push(`${requestId}: ${(error as Error).stack}`);
				onBug(error, requestId);
			},
		});
	}

	/** Limits of rules that did not get back what was not used of them. */
	limitsOff(): readonly string[] {
		const used = new Map<RateLimit, number>();
		for (const { arrival, usage } of this.ends) {
			if (arrival?.taken === undefined) continue;
			const tokens = usage === undefined ? 0 : usage.promptTokens + usage.completionTokens;
			used.set(arrival.taken.limit, (used.get(arrival.taken.limit) ?? 0) + tokens);
		}
		return [...used].flatMap(([limit, tokens]) => {
			const net = this.#net.get(limit) ?? 0;
			return net === tokens ? [] : [`a limit is short of ${net} tokens, its requests used ${tokens}`];
		});
	}
}

export interface Stage {
	readonly gateway: RunningGateway;
	readonly engines: readonly RestartableEngine[];
	readonly witness: Witness;
	readonly folder: string;
	/** Writes another configuration, to be reloaded. */
	write(ini: string): void;
	/** An operation of the admin API; rejects when it is refused. */
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	admin(method: string, path: string, body?: unknown): Promise<any>;
	/** Another gateway on the same data folder, once this one is closed. */
	again(): Promise<RunningGateway>;
	close(): Promise<void>;
}

/** @param iniOf the configuration, given the URLs of the engines */
export async function openStage(
	iniOf: (urls: readonly string[]) => string,
	engineCount = 1,
	options: MockLlmOptions = {},
): Promise<Stage> {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-stage-"));
	const net = new Map<RateLimit, number>();
	const restore = watchLimits(net);
	const engines: RestartableEngine[] = [];
	for (let at = 0; at < engineCount; at++)
		engines.push(await RestartableEngine.start({ speed: 50, seed: at, ...options }));
	const file = join(folder, "gateway.ini");
	const write = (ini: string) => writeFileSync(file, ini);
	write(iniOf(engines.map(({ url }) => url)));
	const load = () => loadConfig({ path: file, flags: { dataDir: folder, port: "0", adminPort: "0" } });
	const start = () => {
		const loaded = load();
		if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join("\n"));
		return startGateway(loaded.config, { file, effective: loaded.effective, load });
	};
	const gateway = await start();
	return {
		gateway,
		engines,
		witness: new Witness(gateway, net),
		folder,
		write,
		admin: async (method, path, body) => {
			const response = await fetch(`${gateway.adminUrl}/v1/admin${path}`, {
				method,
				headers: { authorization: `Bearer ${readFileSync(join(folder, "admin-token"), "utf8").trim()}` },
				...(body === undefined ? {} : { body: JSON.stringify(body) }),
			});
			// biome-ignore lint/suspicious/noExplicitAny: see above
			const answer = (await response.json()) as any;
			if (!response.ok) throw new Error(`${method} ${path} ${JSON.stringify(body)}: ${answer.error?.message}`);
			return answer;
		},
		again: start,
		close: async () => {
			await gateway.close();
			for (const engine of engines) await engine.stop();
			rmSync(folder, { recursive: true, force: true });
			restore();
		},
	};
}

/** Follows what is taken from limits of rules and given back. */
function watchLimits(net: Map<RateLimit, number>): () => void {
	const { take, giveBack } = RateLimit.prototype;
	const add = (limit: RateLimit, amount: number) => net.set(limit, (net.get(limit) ?? 0) + amount);
	RateLimit.prototype.take = function (amount, now) {
		const waitMs = take.call(this, amount, now);
		if (waitMs === 0) add(this, amount);
		return waitMs;
	};
	RateLimit.prototype.giveBack = function (amount, now) {
		add(this, -amount);
		giveBack.call(this, amount, now);
	};
	return () => Object.assign(RateLimit.prototype, { take, giveBack });
}
