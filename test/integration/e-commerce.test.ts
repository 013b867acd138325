/** The example of an online shop, run as its README says: its scripts against two gateways and a mock LLM. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { type RunningGateway, startGateway } from "../../src/app/gateway.ts";
import { loadConfig } from "../../src/config/load.ts";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { haveTools } from "../tools.ts";

const EXAMPLE = fileURLToPath(new URL("../../examples/e-commerce/", import.meta.url));
const run = promisify(execFile);

const ready = haveTools({ curl: "curl", jq: "jq" });

test.skipIf(!ready)("the online shop: accounts, tokens and rules by script, queues as its README says", async () => {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-shop-"));
	const mock = await startMockLlm({ speed: 100, seed: 1 });
	const gateways: RunningGateway[] = [];
	const start = async (name: string, source: { path: string } | { text: string }) => {
		const flags = { upstream: mock.url, dataDir: join(folder, name), port: "0", adminPort: "0" };
		const loaded = loadConfig({ ...source, sets: ["observability.log_level=silent"], flags });
		if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join("\n"));
		const gateway = await startGateway(loaded.config);
		gateways.push(gateway);
		return gateway;
	};
	try {
		const shop = await start("shop", { text: "[classifier.default]\nenabled = false\n" });
		const second = await start("second", { path: join(EXAMPLE, "header-gateway.ini") });
		const tokens = join(folder, "tokens.env");
		const env = {
			PATH: process.env["PATH"],
			ADMIN_URL: shop.adminUrl,
			ADMIN_TOKEN_FILE: join(folder, "shop", "admin-token"),
			GATEWAY_URL: shop.dataUrl,
			HEADER_GATEWAY_URL: second.dataUrl,
		};
		const setup = await run("sh", [join(EXAMPLE, "setup.sh"), tokens], { env });
		const lines = readFileSync(tokens, "utf8").trim().split("\n");
		expect(lines.map((line) => line.split("=")[0])).toEqual([
			"TOKLIGENCE_PRODUCTION_TOKEN",
			"TOKLIGENCE_STAGING_TOKEN",
			"TOKLIGENCE_DEV_TOKEN",
			"CUSTOMER_1_TOKEN",
			"CUSTOMER_2_TOKEN",
		]);
		expect(lines[0]).toMatch(/=tok_internal_production_[\w-]{32}$/);
		expect(statSync(tokens).mode & 0o077).toBe(0);
		for (const line of lines) expect(setup.stdout).not.toContain(line.split("=")[1]);

		const { items } = await shop.stores.tokens.list({}, {});
		expect(items.map(({ quotaTpsLimit, quotaTokensPerMonth }) => [quotaTpsLimit, quotaTokensPerMonth])).toEqual([
			[300, undefined],
			[200, undefined],
			[100, undefined],
			[50, 10_000_000],
			[30, 5_000_000],
		]);
		expect(items.filter(({ expiresAt }) => (expiresAt ?? 0) > Date.now())).toHaveLength(2);

		const asked = await run("sh", [join(EXAMPLE, "try.sh"), tokens], { env });
		expect(asked.stdout.trim().split("\n")).toEqual([
			"TOKLIGENCE_PRODUCTION_TOKEN status 200 queue P0",
			"TOKLIGENCE_STAGING_TOKEN status 200 queue P1",
			"TOKLIGENCE_DEV_TOKEN status 200 queue P2",
			"CUSTOMER_1_TOKEN status 200 queue P2",
			"CUSTOMER_2_TOKEN status 200 queue P3",
			"header-production status 200 queue P0",
			"header-spot status 200 queue P4",
		]);
		const catalogue = await run("sh", [join(EXAMPLE, "try.sh"), tokens], { env: { ...env, MODEL: "catalogue-large" } });
		expect(catalogue.stdout).toContain("TOKLIGENCE_PRODUCTION_TOKEN status 200 queue P4");

		// a second run is refused with the gateway's own words, not half done
		const again = await run("sh", [join(EXAMPLE, "setup.sh"), join(folder, "again.env")], { env }).catch(
			(error) => error,
		);
		expect(again.code).toBe(1);
		expect(again.stdout + again.stderr).toContain("exists already");
	} finally {
		for (const gateway of gateways) await gateway.close();
		await mock.close();
		rmSync(folder, { recursive: true, force: true });
	}
});
