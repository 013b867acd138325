/**
 * kill -9 of whole gateways at random instants under load, some of them while they start and replay: what a client saw finished is in the
 * ledger exactly once with the engine's own count; what the engine was given and nobody saw finished is there too, at the latest after the
 * next start, as `unknown` with its estimate.
 *
 * TEST_GATEWAY_KILLS (50) and TEST_SEED choose how many and which. Three gateways live and die in one process, since starting it is what
 * takes the time; TEST_GATEWAYS_PER_PROCESS=1 kills `tokligence start` itself, one at a time, for the long run.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type MockLlm, startMockLlm } from "../../src/load/mock-llm-server.ts";
import type { LedgerRow } from "../../src/ports/ledger-store.ts";
import { Random } from "../../src/simulate/random.ts";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { FileJournal } from "../../src/stores/journal/file-journal.ts";
import { journalFiles } from "../../src/stores/journal/journal-files.ts";
import { LedgerWriter } from "../../src/stores/journal/ledger-writer.ts";
import { manualTimers } from "./faulty-disk.ts";
import { spawnGateway } from "./gateway-process.ts";
import { keepBusy } from "./kill-clients.ts";

const KILLS = Number(process.env["TEST_GATEWAY_KILLS"] ?? 50);
const PER_PROCESS = Number(process.env["TEST_GATEWAYS_PER_PROCESS"] ?? 3);
const SEED = Number(process.env["TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const CHAINS = 2;
const CLIENTS = 12;
const MOST_EVENTS = 150 * PER_PROCESS;
const LONGEST_START_MS = 1500;
const CHILD = fileURLToPath(new URL("./gateway-kill-child.ts", import.meta.url));

/** Folders whose gateways live and die together, again and again. */
interface Chain {
	readonly folders: readonly string[];
	readonly finished: string[];
	killsUnderLoad: number;
	killsWhileStarting: number;
}

interface Killable {
	readonly dataUrls: readonly string[];
	kill(): Promise<unknown>;
}

/** Rejects or answers with too few addresses when it is killed first. */
async function startProcess(
	folders: readonly string[],
	upstream: string,
	cache: string,
	killAfterMs: number | undefined,
): Promise<Killable> {
	const env = { NODE_COMPILE_CACHE: cache };
	if (folders.length === 1) {
		const set = ["classifier.default.enabled=true", "capacity.max_concurrent=16"];
		const gateway = await spawnGateway({
			dataDir: folders[0]!,
			upstream,
			set,
			env,
			...(killAfterMs === undefined ? {} : { killAfterMs }),
		});
		return { dataUrls: [gateway.dataUrl], kill: () => gateway.kill("SIGKILL") };
	}
	const child = spawn(process.execPath, [CHILD, upstream, ...folders], { env, stdio: ["ignore", "pipe", "ignore"] });
	const gone = once(child, "exit");
	const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
	const dataUrls: string[] = [];
	for await (const line of createInterface({ input: child.stdout })) {
		dataUrls.push((JSON.parse(line) as { data: string }).data);
		if (dataUrls.length === folders.length) break;
	}
	clearTimeout(timer);
	return {
		dataUrls,
		kill: () => {
			child.kill("SIGKILL");
			return gone;
		},
	};
}

async function runChain(chain: Chain, processes: number, mock: MockLlm, random: Random, cache: string): Promise<void> {
	const { folders } = chain;
	for (let n = 0; n < processes; n++) {
		// the first has nothing to replay
		const isEarly = n > 0 && random.chance(0.12);
		const killAfterMs = isEarly ? random.next() * LONGEST_START_MS : undefined;
		const started = await startProcess(folders, mock.url, cache, killAfterMs).catch(() => undefined);
		if (isEarly) {
			await started?.kill();
			chain.killsWhileStarting += folders.length;
			continue;
		}
		expect(started?.dataUrls).toHaveLength(folders.length);
		const { dataUrls, kill } = started!;
		const instant = 1 + Math.floor(random.next() * MOST_EVENTS);
		let events = 0;
		const onEvent = () => {
			if (++events === instant) void kill();
		};
		const loads = dataUrls.map((url) => keepBusy(url, CLIENTS, random, onEvent));
		await Promise.all(loads.map(({ over }) => over));
		for (const load of loads) chain.finished.push(...load.finished);
		chain.killsUnderLoad += folders.length;
	}
}

/** Every row of a folder's ledger, after what its journal still had was brought into it, as a start does. */
async function rowsOf(folder: string): Promise<readonly LedgerRow[]> {
	const stores = await openEmbedded({ path: join(folder, "tokligence.db"), thread: false }, Date.now);
	const journal = new FileJournal(
		{ sync: "interval", syncIntervalMs: 50, maxBytes: 1e9 },
		{ files: journalFiles(join(folder, "journal")), timers: manualTimers(), onWarning: () => undefined },
	);
	const writer = new LedgerWriter({
		source: journal,
		ledger: stores.ledger,
		timers: manualTimers(),
		onRejected: (row) => expect.fail(row.requestId),
		onFailure: (error) => expect.fail(error.message),
	});
	expect(await writer.drain()).toBe(true);
	await journal.close();
	const rows: LedgerRow[] = [];
	let cursor: string | undefined;
	do {
		const page = await stores.ledger.list({}, { limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
		rows.push(...page.items);
		cursor = page.nextCursor ?? undefined;
	} while (cursor !== undefined);
	await stores.close();
	return rows;
}

test(`loses and doubles nothing over ${KILLS} kills of the gateway, seed ${SEED}`, {
	timeout: 60_000 + KILLS * 10_000,
}, async () => {
	const root = mkdtempSync(join(tmpdir(), "tokligence-kills-"));
	const mock = await startMockLlm({ speed: 20, seed: SEED });
	const random = new Random(SEED);
	const processes = Math.ceil(KILLS / PER_PROCESS);
	const chains = Array.from({ length: CHAINS }, (_, number): Chain & { processes: number; random: Random } => ({
		folders: Array.from({ length: PER_PROCESS }, (_, place) => join(root, `${number}-${place}`)),
		finished: [],
		killsUnderLoad: 0,
		killsWhileStarting: 0,
		processes: Math.floor(processes / CHAINS) + (number < processes % CHAINS ? 1 : 0),
		random: new Random(Math.floor(random.next() * 2 ** 31)),
	}));
	await Promise.all(chains.map((chain) => runChain(chain, chain.processes, mock, chain.random, join(root, "cache"))));

	const counted = new Map(mock.ledger().requests.map((entry) => [entry.request_id, entry]));
	const rows = new Map<string, LedgerRow>();
	for (const folder of chains.flatMap(({ folders }) => folders)) {
		for (const row of await rowsOf(folder)) {
			expect(rows.has(row.requestId), `${row.requestId} is there twice`).toBe(false);
			rows.set(row.requestId, row);
		}
	}

	const finished = chains.flatMap((chain) => chain.finished);
	expect(new Set(finished).size).toBe(finished.length);
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
	expect(underLoad + whileStarting).toBeGreaterThanOrEqual(KILLS);
	expect(finished.length).toBeGreaterThan(KILLS);
	expect(unknown.length).toBeGreaterThan(0);
	console.log(
		`${underLoad} kills under load, ${whileStarting} while starting: ${finished.length} seen finished, 0 lost, ${rows.size} rows, ${unknown.length} unknown`,
	);
	await mock.close();
	rmSync(root, { recursive: true, force: true });
});
