/** Operators who change everything that may be changed while requests wait and run, by seed; and who put it back. */
import type { Random } from "../../src/simulate/random.ts";
import type { Stage } from "./stage.ts";

export class Operators {
	readonly #stage: Stage;
	readonly #random: Random;
	readonly #rule: string;
	readonly #configurations: readonly string[];
	readonly #made: { rules: string[]; quotas: string[]; windows: string[] } = { rules: [], quotas: [], windows: [] };
	#count = 0;
	#last: Promise<void> = Promise.resolve();
	/** What was done, and how often. */
	readonly done = new Map<string, number>();

	/** @param rule id of the rule whose limits change */
	constructor(stage: Stage, random: Random, configurations: readonly string[], rule: string) {
		this.#stage = stage;
		this.#rule = rule;
		this.#random = random;
		this.#configurations = configurations;
	}

	/** One change, whichever. */
	act(): Promise<void> {
		return this.#alone(() => this.#act());
	}

	/** Nothing is kept back any more, and all engines are well. */
	putBack(): Promise<void> {
		return this.#alone(() => this.#putBack());
	}

	/** One after the other: each looks at what the one before has made. */
	#alone(action: () => Promise<void>): Promise<void> {
		const next = this.#last.then(action);
		this.#last = next.catch(() => {});
		return next;
	}

	async #act(): Promise<void> {
		const actions = [
			["rule in front", () => this.#makeRule()],
			["rule gone", () => this.#remove("rules", "routing-rules")],
			["limits of a rule", () => this.#changeLimits()],
			["budget", () => this.#setQuota("hard", "tokens_per_month", this.#random.integer(500, 50_000))],
			["rate", () => this.#setQuota("burstable", "tps", this.#random.integer(100, 2000))],
			["budget gone", () => this.#remove("quotas", "quotas")],
			["window opens", () => this.#makeWindow()],
			["window gone", () => this.#remove("windows", "time-windows")],
			["queue held", () => this.#stage.admin("POST", `/scheduler/queues/P${this.#random.integer(1, 4)}/pause`)],
			["queues go on", () => this.#resumeAll()],
			["queue cleared", () => this.#stage.admin("POST", `/scheduler/queues/P${this.#random.integer(0, 4)}/clear`)],
			["depth of a queue", () => this.#changeDepth()],
			["configuration", () => this.#reload(this.#random.integer(0, this.#configurations.length - 1))],
			["request cancelled", () => this.#cancelOne()],
			["engine gone", () => this.#stopOne()],
			["engines back", () => this.#startAll()],
		] as const;
		const [name, action] = actions[this.#random.integer(0, actions.length - 1)]!;
		this.done.set(name, (this.done.get(name) ?? 0) + 1);
		await action();
	}

	async #putBack(): Promise<void> {
		await this.#resumeAll();
		await this.#startAll();
		await this.#reload(0);
		while (this.#made.rules.length > 0) await this.#remove("rules", "routing-rules");
		while (this.#made.quotas.length > 0) await this.#remove("quotas", "quotas");
		while (this.#made.windows.length > 0) await this.#remove("windows", "time-windows");
	}

	async #makeRule(): Promise<void> {
		const { rule_id } = await this.#stage.admin("POST", "/routing-rules", {
			rule_name: `extra ${this.#count++}`,
			priority_order: -this.#count,
			...(this.#random.chance(0.5) ? { match_model: "limited" } : { match_tier: "external" }),
			max_tps: this.#random.integer(100, 5000),
			max_queue_depth: this.#random.integer(0, 5),
		});
		this.#made.rules.push(rule_id);
	}

	async #changeLimits(): Promise<void> {
		await this.#stage.admin("PATCH", `/routing-rules/${this.#rule}`, {
			max_tps: this.#random.integer(200, 4000),
			max_queue_depth: this.#random.integer(1, 8),
			priority_order: this.#random.integer(1, 3),
		});
	}

	/** One of a kind: made, or changed when it is there. */
	async #setQuota(quota_type: string, limit_dimension: string, limit_value: number): Promise<void> {
		const id = `extra-${limit_dimension}`;
		if (this.#made.quotas.includes(id)) await this.#stage.admin("PATCH", `/quotas/${id}`, { limit_value });
		else {
			await this.#stage.admin("POST", "/quotas", { id, account_id: "acme", quota_type, limit_dimension, limit_value });
			this.#made.quotas.push(id);
		}
	}

	async #makeWindow(): Promise<void> {
		const name = `window ${this.#count++}`;
		const made = await this.#stage.admin("POST", "/time-windows", {
			name,
			schedule_type: "cron",
			schedule_expr: "* * * * *",
			duration_sec: 3600,
			rules: [
				{
					target_type: "all",
					adjustments: {
						quota_multiplier: this.#random.integer(1, 4) / 2,
						queue_timeout_multiplier: 0.5,
						max_queue_depth_multiplier: this.#random.integer(1, 4) / 2,
						priority_delta: this.#random.integer(-1, 1),
					},
				},
			],
		});
		this.#made.windows.push(made.window_id);
	}

	async #remove(kind: "rules" | "quotas" | "windows", path: string): Promise<void> {
		const id = this.#made[kind].shift();
		if (id === undefined) return;
		await this.#stage.admin("DELETE", `/${path}/${id}`);
	}

	async #resumeAll(): Promise<void> {
		for (let queue = 0; queue < 5; queue++) await this.#stage.admin("POST", `/scheduler/queues/P${queue}/resume`);
	}

	async #changeDepth(): Promise<void> {
		const max_depth = this.#random.integer(1, 20);
		await this.#stage.admin("PATCH", `/scheduler/queues/P${this.#random.integer(1, 4)}`, { max_depth });
	}

	async #reload(which: number): Promise<void> {
		this.#stage.write(this.#configurations[which]!);
		await this.#stage.admin("POST", "/config/reload");
	}

	async #cancelOne(): Promise<void> {
		const { requests } = await this.#stage.admin("GET", "/requests");
		if (requests.length === 0) return;
		const { request_id } = requests[this.#random.integer(0, requests.length - 1)];
		// It may have ended since.
		await this.#stage.admin("DELETE", `/requests/${request_id}`).catch(() => {});
	}

	async #stopOne(): Promise<void> {
		const { engines } = this.#stage;
		await engines[this.#random.integer(0, engines.length - 1)]!.stop();
	}

	async #startAll(): Promise<void> {
		for (const engine of this.#stage.engines) await engine.startAgain();
	}
}
