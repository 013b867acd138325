/**
 * The scheduling core without the gateway: plain async jobs of two tenants share four slots, by weight and by cost.
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

const core = new SchedulingCore(
	coreSettings({
		scheduler: "wfq",
		queues: priorityQueues({ levels: 2, defaultPriority: 1 }),
		pools: [{ name: "workers", endpoints: 1, capacity: { ...DEFAULT_CAPACITY, maxConcurrent: 4 } }],
	}),
);
const jobs = new Map<Ticket, { readonly name: string; readonly cost: number }>();
const running: Promise<void>[] = [];

function carryOut(): void {
	for (let decision = core.next(); decision !== undefined; decision = core.next()) {
		if (decision.kind !== "dispatch") continue;
		const { ticket } = decision;
		const job = jobs.get(ticket)!;
		running.push(
			delay(job.cost).then(() => {
				console.log(`done ${job.name}`);
				jobs.delete(ticket);
				core.finish(ticket, { promptTokens: job.cost, completionTokens: 0, cachedTokens: 0 }, performance.now());
				carryOut();
			}),
		);
	}
}

for (let i = 0; i < 12; i++) {
	const tenant = i % 3 === 0 ? "acme" : "globex";
	const cost = tenant === "acme" ? 20 : 5;
	const ticket = core.submit(
		submitRequest({ flow: flowPath([tenant]), queue: i % 2, promptTokens: cost, completionTokens: 0 }),
		performance.now(),
	);
	jobs.set(ticket, { name: `${tenant} ${i}`, cost });
	carryOut();
}
while (jobs.size > 0) await Promise.all(running.splice(0));
