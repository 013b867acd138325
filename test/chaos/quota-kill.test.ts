/**
 * Budgets over the death of their gateway: after kill -9 in the middle of traffic, and after SIGTERM, the next start counts exactly what the
 * ledger has, requests of unknown end included, and nothing is reserved.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readAdminToken } from "../../src/app/admin-files.ts";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { type GatewayProcess, spawnGateway } from "./gateway-process.ts";

const REQUESTS = 40;

test("counters after kill -9 and after SIGTERM are the ledger's", async () => {
	const dataDir = mkdtempSync(join(tmpdir(), "quota-kill-"));
	const mock = await startMockLlm({ speed: 20, seed: 3 });
	const start = () => spawnGateway({ dataDir, upstream: mock.url, set: ["capacity.max_concurrent=8"] });
	const admin = async ({ adminUrl }: GatewayProcess, method: string, path: string, body?: object) => {
		const response = await fetch(`${adminUrl}/v1/admin${path}`, {
			method,
			headers: { authorization: `Bearer ${readAdminToken(dataDir, undefined, {})}` },
			...(body === undefined ? {} : { body: JSON.stringify(body) }),
		});
		// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
		return (await response.json()) as any;
	};
	const ledger = async () => {
		const stores = await openEmbedded({ path: join(dataDir, "tokligence.db"), thread: false }, Date.now);
		const [sum] = await stores.ledger.sum({ accountId: "acme" }, []);
		await stores.close();
		return [sum!.promptTokens + sum!.completionTokens, sum!.requests];
	};
	const counters = async (gateway: GatewayProcess) => {
		const { quotas } = await admin(gateway, "GET", "/quotas/acme");
		expect(quotas.map((quota: { reserved_value: number }) => quota.reserved_value)).toEqual([0, 0]);
		return quotas.map((quota: { used_value: number }) => quota.used_value);
	};
	let gateway = await start();
	try {
		const account = { id: "acme", email: "a@example.com", name: "Acme", account_type: "external" };
		await admin(gateway, "POST", "/accounts", account);
		const { token } = await admin(gateway, "POST", "/tokens", { account_id: "acme", priority_tier: "external" });
		for (const limit_dimension of ["tokens_per_month", "requests_per_day"]) {
			const limits = { account_id: "acme", quota_type: "hard", limit_dimension, limit_value: 1_000_000 };
			await admin(gateway, "POST", "/quotas", limits);
		}
		let answered = 0;
		let enough = () => {};
		const quarter = new Promise<void>((resolve) => {
			enough = resolve;
		});
		const ask = async (stream: boolean) => {
			const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
				method: "POST",
				headers: { authorization: `Bearer ${token}`, "x-mock-output-tokens": "40" },
				body: JSON.stringify({ model: "mock", max_tokens: 60, stream, messages: [{ role: "user", content: "hello" }] }),
			});
			await response.text();
			if (++answered === REQUESTS / 4) enough();
		};
		const all = Array.from({ length: REQUESTS }, (_, i) => ask(i % 2 === 0).catch(() => {}));
		await quarter;
		await gateway.kill("SIGKILL");
		await Promise.all(all);

		gateway = await start();
		const afterKill = await counters(gateway);
		expect(await ledger()).toEqual(afterKill);
		expect(afterKill[1]).toBeGreaterThan(REQUESTS / 4);
		expect(afterKill[1]).toBeLessThan(REQUESTS);

		await ask(false);
		const afterMore = await counters(gateway);
		expect(afterMore[1]).toBe(afterKill[1] + 1);
		await gateway.kill("SIGTERM");
		expect(await ledger()).toEqual(afterMore);

		gateway = await start();
		expect(await counters(gateway)).toEqual(afterMore);
	} finally {
		await gateway.kill("SIGKILL");
		await mock.close();
		rmSync(dataDir, { recursive: true, force: true });
	}
}, 60_000);
