/**
 * The scheduling core without the gateway: async jobs of several tenants share four workers, by priority and, inside a priority, fairly by
 * what each job really cost. A job that waits too long is given up; one that ran is charged what it used, not what was guessed.
 *
 * Run: node examples/schedule-jobs.ts
 */
import { setTimeout as delay } from "node:timers/promises";
import {
	coreSettings,
	DEFAULT_CAPACITY,
	flowPath,
	priorityQueues,
	SchedulingCore,
	submitRequest,
	type Ticket,
} from "../src/core/index.ts";

interface Job {
	readonly tenant: string;
	/** 0 urgent, 1 ordinary. */
	readonly priority: number;
	/** What it is expected to cost, in any unit. */
	readonly cost: number;
	/** Does the work; says what it really cost. */
	readonly work: () => Promise<number>;
	readonly timeoutMs?: number;
}

type Ending = "done" | "failed" | "queue_timeout" | "queue_full" | "displaced";

export class JobScheduler {
	readonly #core: SchedulingCore;
	readonly #jobs = new Map<Ticket, { readonly job: Job; readonly end: (ending: Ending) => void }>();
	#timer: NodeJS.Timeout | undefined;

	constructor(workers: number) {
		this.#core = new SchedulingCore(
			coreSettings({
				scheduler: "strict",
				queues: priorityQueues({ levels: 2, defaultPriority: 1 }),
				cost: { promptWeight: 1, completionWeight: 1, cachedWeight: 1 },
				pools: [
					{
						name: "workers",
						endpoints: 1,
						capacity: {
							...DEFAULT_CAPACITY,
							maxConcurrent: workers,
							headroom: 0,
							maxPrefillTokens: Number.POSITIVE_INFINITY,
						},
					},
				],
			}),
		);
	}

	/** Resolves when the job is over, whatever became of it. */
	run(job: Job): Promise<Ending> {
		return new Promise((end) => {
			const request = submitRequest({
				flow: flowPath([job.tenant]),
				queue: job.priority,
				promptTokens: job.cost,
				completionTokens: 0,
				timeoutMs: job.timeoutMs ?? Number.POSITIVE_INFINITY,
			});
			const ticket = this.#core.submit(request, performance.now());
			this.#jobs.set(ticket, { job, end });
			this.#carryOut();
		});
	}

	/** Decisions wait in the core until they are drained, after every event. */
	#carryOut(): void {
		for (let decision = this.#core.next(); decision !== undefined; decision = this.#core.next()) {
			const { kind, ticket, reason } = decision;
			if (kind === "dispatch") void this.#work(ticket);
			else if (kind === "shed" || kind === "evict") this.#finish(ticket, reason as Ending);
		}
		clearTimeout(this.#timer);
		const wakeAt = this.#core.nextWakeAt();
		if (wakeAt === Number.POSITIVE_INFINITY) return;
		this.#timer = setTimeout(
			() => {
				this.#core.advance(performance.now());
				this.#carryOut();
			},
			Math.max(0, wakeAt - performance.now()),
		);
	}

	async #work(ticket: Ticket): Promise<void> {
		const { job } = this.#jobs.get(ticket)!;
		let cost = job.cost;
		let ending: Ending = "done";
		try {
			cost = await job.work();
		} catch {
			ending = "failed";
		}
		this.#core.finish(ticket, { promptTokens: cost, completionTokens: 0, cachedTokens: 0 }, performance.now());
		this.#finish(ticket, ending);
		this.#carryOut();
	}

	#finish(ticket: Ticket, ending: Ending): void {
		this.#jobs.get(ticket)!.end(ending);
		this.#jobs.delete(ticket);
	}
}

if (import.meta.main) {
	const scheduler = new JobScheduler(4);
	const order: string[] = [];
	const job = (tenant: string, priority: number, expected: number, really: number) =>
		scheduler.run({
			tenant,
			priority,
			cost: expected,
			work: async () => {
				order.push(tenant);
				await delay(really);
				return really;
			},
		});
	const all: Promise<Ending>[] = [];
	// globex has a hundred jobs first, and says that they are cheaper than they are.
	for (let i = 0; i < 100; i++) all.push(job("globex", 1, 1, 30));
	for (let i = 0; i < 30; i++) all.push(job("acme", 1, 30, 30));
	all.push(job("alarm", 0, 30, 30));
	all.push(scheduler.run({ tenant: "globex", priority: 1, cost: 1, work: async () => 1, timeoutMs: 20 }));
	const endings = await Promise.all(all);
	const count = (tenant: string, until: number) => order.slice(0, until).filter((name) => name === tenant).length;
	console.log(
		`${endings.filter((ending) => ending === "done").length} done, ${endings.at(-1)} for one that would not wait`,
	);
	console.log(`the alarm started as number ${order.indexOf("alarm") + 1}`);
	console.log(`of the first 60, acme had ${count("acme", 60)} and globex ${count("globex", 60)}`);
}
