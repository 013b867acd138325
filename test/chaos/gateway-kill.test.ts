/**
 * kill -9 of whole gateways at random instants under load, some of them while they start and replay: what a client saw finished is in the
 * ledger exactly once with the engine's own count; what the engine was given and nobody saw finished is there too, at the latest after the
 * next start, as `unknown` with its estimate.
 *
 * TEST_GATEWAY_KILLS (50) and TEST_SEED choose how many and which.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type MockLlm, startMockLlm } from "../../src/load/mock-llm-server.ts";
import type { LedgerRow } from "../../src/ports/ledger-store.ts";
import { Random } from "../../src/simulate/random.ts";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { spawnGateway } from "./gateway-process.ts";
import { keepBusy } from "./kill-clients.ts";

const KILLS = Number(process.env["TEST_GATEWAY_KILLS"] ?? 50);
const SEED = Number(process.env["TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const CHAINS = 3;
const CLIENTS = 12;
const MOST_EVENTS = 150;
const LONGEST_START_MS = 1500;

interface Chain {
	readonly folder: string;
	readonly finished: string[];
	killsUnderLoad: number;
	killsWhileStarting: number;
}

/** Kills the gateway of one folder again and again; the last one stops in good order. */
async function runChain(chain: Chain, kills: number, mock: MockLlm, random: Random, cache: string): Promise<void> {
	for (let kill = 0; kill <= kills; kill++) {
		const isLast = kill === kills;
		const options = {
			dataDir: chain.folder,
			upstream: mock.url,
			set: ["classifier.default.enabled=true", "capacity.max_concurrent=16"],
			env: { NODE_COMPILE_CACHE: cache },
		};
		if (!isLast && random.chance(0.12)) {
			const afterMs = random.next() * LONGEST_START_MS;
			const started = spawnGateway({ ...options, killAfterMs: afterMs });
			await started.then(
				(gateway) => gateway.kill("SIGKILL"),
				() => undefined,
			);
			chain.killsWhileStarting++;
			continue;
		}
		const gateway = await spawnGateway(options);
		const instant = 1 + Math.floor(random.next() * MOST_EVENTS);
		const load = keepBusy(gateway.dataUrl, CLIENTS, random, (events) => {
			if (events < instant) return;
			if (isLast) load.stop();
			else void gateway.kill("SIGKILL");
		});
		await load.over;
		chain.finished.push(...load.finished);
		if (isLast) await gateway.kill("SIGTERM");
		else chain.killsUnderLoad++;
	}
}

test(`loses and doubles nothing over ${KILLS} kills of the gateway, seed ${SEED}`, {
	timeout: 60_000 + KILLS * 10_000,
}, async () => {
	const root = mkdtempSync(join(tmpdir(), "tokligence-kills-"));
	const mock = await startMockLlm({ speed: 20, seed: SEED });
	const random = new Random(SEED);
	const chains = Array.from({ length: CHAINS }, (_, number): Chain & { kills: number; random: Random } => ({
		folder: join(root, String(number)),
		finished: [],
		killsUnderLoad: 0,
		killsWhileStarting: 0,
		kills: Math.floor(KILLS / CHAINS) + (number < KILLS % CHAINS ? 1 : 0),
		random: new Random(Math.floor(random.next() * 2 ** 31)),
	}));
	await Promise.all(chains.map((chain) => runChain(chain, chain.kills, mock, chain.random, join(root, "cache"))));

	const counted = new Map(mock.ledger().requests.map((entry) => [entry.request_id, entry]));
	const rows = new Map<string, LedgerRow>();
	for (const { folder, finished } of chains) {
		const stores = await openEmbedded({ path: join(folder, "tokligence.db"), thread: false }, Date.now);
		let cursor: string | undefined;
		do {
			const page = await stores.ledger.list({}, { limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
			for (const row of page.items) {
				expect(rows.has(row.requestId), `${row.requestId} is there twice`).toBe(false);
				rows.set(row.requestId, row);
			}
			cursor = page.nextCursor ?? undefined;
		} while (cursor !== undefined);
		await stores.close();
		expect(new Set(finished).size).toBe(finished.length);
	}

	const finished = chains.flatMap((chain) => chain.finished);
	for (const id of finished) {
		const engine = counted.get(id)!;
		expect(rows.get(id), `${id} was seen finished`).toMatchObject({
			outcome: "completed",
			usageSource: "measured",
			promptTokens: engine.prompt_tokens,
			completionTokens: engine.completion_tokens,
		});
	}
	for (const id of counted.keys()) expect(rows.has(id), `${id} reached the engine`).toBe(true);
	const unknown = [...rows.values()].filter((row) => row.outcome === "unknown");
	for (const row of unknown) {
		expect(row.usageSource).toBe("estimated");
		expect(row.promptTokens).toBeGreaterThan(0);
		expect(row.completionTokens).toBeGreaterThan(0);
	}
	const underLoad = chains.reduce((sum, chain) => sum + chain.killsUnderLoad, 0);
	const whileStarting = chains.reduce((sum, chain) => sum + chain.killsWhileStarting, 0);
	expect(underLoad + whileStarting).toBe(KILLS);
	expect(finished.length).toBeGreaterThan(KILLS);
	expect(unknown.length).toBeGreaterThan(0);
	console.log(
		`${underLoad} kills under load, ${whileStarting} while starting: ${finished.length} seen finished, 0 lost, ${rows.size} rows, ${unknown.length} unknown`,
	);
	await mock.close();
	rmSync(root, { recursive: true, force: true });
});
