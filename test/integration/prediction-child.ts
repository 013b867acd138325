/**
 * Gateway, mock LLM and clients in one process on a virtual clock, for `prediction-run.ts`. Reads what it is to do as JSON from the file that is
 * named; writes what came of it to the file named after that.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { LoadRequest } from "../../src/load/load-generator.ts";
import type { LedgerReport } from "../../src/load/mock-ledger.ts";
import type { EngineProfileName } from "../../src/simulate/engine-profiles.ts";
import { installVirtualClock } from "./virtual-clock.ts";

export interface ChildTask {
	readonly config: string;
	readonly folder: string;
	readonly profile: EngineProfileName;
	readonly speed: number;
	/** The word that stands for the tier is the request's number. */
	readonly requests: readonly LoadRequest[];
}

export interface ChildResult {
	/** The gateway's, for each request that was answered. */
	readonly ids: readonly (string | null)[];
	readonly produced: LedgerReport["requests"];
}

const [taskFile, resultFile] = process.argv.slice(2) as [string, string];
const task = JSON.parse(readFileSync(taskFile, "utf8")) as ChildTask;
const startedAt = performance.now();
const stop = installVirtualClock();
const { startGateway } = await import("../../src/app/gateway.ts");
const { loadConfig } = await import("../../src/config/load.ts");
const { generateLoad } = await import("../../src/load/load-generator.ts");
const { startMockLlm } = await import("../../src/load/mock-llm-server.ts");
const { ENGINE_PROFILES } = await import("../../src/simulate/engine-profiles.ts");

const mock = await startMockLlm({ profile: ENGINE_PROFILES[task.profile], speed: task.speed });
const loaded = loadConfig({
	path: task.config,
	env: {},
	flags: { upstream: mock.url, dataDir: task.folder, port: "0", adminPort: "0" },
});
if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join("\n"));
const gateway = await startGateway(loaded.config);
const ids: (string | null)[] = task.requests.map(() => null);
let ended = 0;
await generateLoad({
	baseUrl: gateway.dataUrl,
	maxInFlight: task.requests.length,
	requests: task.requests,
	onResult: ({ tier: index, status, headers }) => {
		if (status === 200) ids[Number(index)] = String(headers["x-request-id"]);
		if (++ended % 1000 === 0)
			process.stderr.write(
				`${ended} of ${task.requests.length} after ${((performance.now() - startedAt) / 1000).toFixed(0)} s of its own time\n`,
			);
	},
});
const { requests: produced } = mock.ledger();
await gateway.close();
await mock.close();
stop();
writeFileSync(resultFile, JSON.stringify({ ids, produced } satisfies ChildResult));
process.exit();
