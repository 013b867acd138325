/** A gateway and a mock LLM in this process, on free ports and a throw-away data folder, for the tests beside this file. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningGateway, startGateway } from "../../src/app/gateway.ts";
import { loadConfig } from "../../src/config/load.ts";
import { type MockLlm, type MockLlmOptions, startMockLlm } from "../../src/load/mock-llm-server.ts";

export interface TestBed {
	readonly gateway: RunningGateway;
	readonly mock: MockLlm;
	/** Data folder of the gateway. */
	readonly folder: string;
	close(): Promise<void>;
}

export const OPEN = "[classifier.default]\nenabled = true\n[observability]\nlog_level = silent\n";

/** `upstream`: another engine than the mock. */
export async function openTestBed(
	ini: string = OPEN,
	mockOptions: MockLlmOptions = {},
	upstream?: string,
): Promise<TestBed> {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-test-"));
	const mock = await startMockLlm({ speed: 50, seed: 1, ...mockOptions });
	const loaded = loadConfig({
		text: ini,
		flags: { upstream: upstream ?? mock.url, dataDir: folder, port: "0", adminPort: "0" },
	});
	if (!loaded.ok) throw new Error(loaded.errors.map((error) => error.message).join("\n"));
	const gateway = await startGateway(loaded.config);
	return {
		gateway,
		mock,
		folder,
		close: async () => {
			await gateway.close();
			// A test may have closed it already.
			await mock.close().catch(() => {});
			rmSync(folder, { recursive: true, force: true });
		},
	};
}

/** Waits until something is true, looking after each turn of the event loop; gives up after `limitMs`. */
export async function until(
	what: string,
	condition: () => boolean | Promise<boolean>,
	limitMs = 20_000,
): Promise<void> {
	const deadline = performance.now() + limitMs;
	while (!(await condition())) {
		if (performance.now() > deadline) throw new Error(`it never came true: ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
}

/** Every resource is given back. */
export function atRest({ gateway }: TestBed): boolean {
	const { plane } = gateway;
	const { core } = plane.engine;
	return (
		plane.exchanges.size === 0 &&
		plane.engine.size === 0 &&
		plane.tokenUse.size === 0 &&
		(plane.quotas?.held ?? 0) === 0 &&
		(plane.rates?.running ?? 0) + (plane.rates?.waiting ?? 0) === 0 &&
		(plane.hold?.size ?? 0) === 0 &&
		core.requestCount === 0 &&
		core.pools.every((pool) =>
			pool.endpoints.every(
				(endpoint) => endpoint.sequences === 0 && endpoint.tokens === 0 && endpoint.prefillTokens === 0,
			),
		)
	);
}
