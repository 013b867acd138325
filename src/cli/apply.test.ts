import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";
import { startGateway } from "../app/gateway.ts";
import { loadConfig } from "../config/load.ts";
import { startMockLlm } from "../load/mock-llm-server.ts";
import { applyCommand, diffCommand, exportCommand } from "./apply.ts";
import type { CommandIo } from "./config-options.ts";
import { ruleCommand } from "./rule.ts";
import { tokenCommand } from "./token.ts";

const EMERGENCY = fileURLToPath(new URL("../../config/presets/emergency-p0.yaml", import.meta.url));
const HASH = "1f".repeat(32);
const POLICY = `
accounts:
  - id: shop
    name: Shop
    account_type: external
    email: shop@example.com
    metadata: { cost_center: 42 }
rules:
  - rule_name: Nightly
    priority_order: 7
    match_tag: [nightly, weekly]
    assign_priority: 3
    max_tps: 500
windows:
  - name: Night
    schedule_type: cron
    schedule_expr: "0 22 * * *"
    duration_sec: 28800
    timezone: Europe/Berlin
    rules:
      - target_type: tier
        target_value: spot
        adjustments: { weight_multiplier: 4, priority_delta: -1 }
quotas:
  - id: shop-month
    account_id: shop
    quota_type: soft
    limit_dimension: usd_per_month
    limit_value: 12.5
    reset_day: 15
  - id: acme-day
    account_id: shop
    node: organisation:acme
    quota_type: hard
    limit_dimension: tokens_per_day
    limit_value: 1000000
tokens:
  - sha256: ${HASH.toUpperCase()}
    account_id: shop
    priority_tier: external
    workload_tag: nightly
    quota_tps_limit: 50
    expires_at: 2030-01-01
`;

let folder: string;
let file: string;
beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "tokligence-policy-"));
	file = join(folder, "policy.yaml");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function run(command: (io: CommandIo) => Command, ...words: string[]) {
	const result = { out: "", error: "", code: 0 };
	const io: CommandIo = {
		// the folder of the tests has a configuration of its own
		env: { TOKLIGENCE_CONFIG: join(folder, "none.ini") },
		out: (text) => {
			result.out += `${text}\n`;
		},
		error: (text) => {
			result.error += `${text}\n`;
		},
		setExitCode: (code) => {
			result.code = code;
		},
	};
	writeFileSync(join(folder, "none.ini"), "");
	await command(io).parseAsync([...words, "--data-dir", folder], { from: "user" });
	return result;
}
const apply = (text: string, ...words: string[]) => {
	writeFileSync(file, text);
	return run(applyCommand, "-f", file, ...words);
};
const exported = async () => (await run(exportCommand)).out;

test("what was exported applies without a change, as YAML and as JSON", async () => {
	await apply(POLICY);
	const text = await exported();
	expect(parse(text).rules).toHaveLength(9);
	expect(parse(text).windows).toHaveLength(1);
	expect(parse(text).quotas).toMatchObject([{ node: "organisation:acme" }, { node: "account:shop" }]);
	expect(text).not.toContain(HASH);
	expect(parse(text).tokens).toBeUndefined();
	expect((await apply(text)).out).toBe("Nothing differs.\n");
	expect((await apply(text, "--prune")).out).toBe("Nothing differs.\n");
	const asJson = (await run(exportCommand, "--json")).out;
	expect(JSON.parse((await apply(asJson, "--prune", "--json")).out)).toEqual({
		applied: true,
		changes: [],
		count: 0,
		message: "Nothing differs.",
	});
	expect(await exported()).toBe(text);
});

test("a file is shown, applied once, and then nothing differs; --dry-run and diff change nothing", async () => {
	const before = await exported();
	const dry = await apply(POLICY, "--dry-run");
	expect(dry.out).toContain("6 to create, 0 to change, 0 to remove.");
	expect((await run(diffCommand, "-f", file, "--exit-code")).code).toBe(2);
	expect(await exported()).toBe(before);
	const applied = await apply(POLICY);
	expect(applied.out).toBe(`${dry.out}Applied.\n`);
	expect((await apply(POLICY)).out).toBe("Nothing differs.\n");
	expect((await run(diffCommand, "-f", file, "--exit-code")).code).toBe(0);
	const tokens = JSON.parse((await run(tokenCommand, "list", "--json")).out).tokens;
	expect(tokens).toMatchObject([
		{ account_id: "shop", workload_tag: "nightly", quota: { tps_limit: 50 }, expires_at: "2030-01-01T00:00:00.000Z" },
	]);
});

test("a rule becomes exactly what the file says, --prune removes the rest, accounts stay", async () => {
	await apply(POLICY);
	const fewer = "rules:\n  - { rule_name: Nightly, priority_order: 7 }\n";
	const changed = await apply(fewer);
	expect(changed.out).toContain("max_tps: 500 → nothing");
	expect(changed.out).toContain('match_tag: ["nightly","weekly"] → nothing');
	expect((await apply(fewer, "--prune")).out).toContain("0 to create, 0 to change, 8 to remove.");
	const now = parse(await exported());
	expect(now.rules).toEqual([{ rule_name: "Nightly", priority_order: 7, enabled: true }]);
	expect(now.accounts).toHaveLength(1);
	await apply("accounts:\n  - { id: shop, name: Shop, account_type: external, email: a@b.c, status: deleted }\n");
	expect(parse(await exported()).accounts).toEqual([]);
});

test("all that is wrong is said at once, each with its line, and nothing is changed", async () => {
	const before = await exported();
	const refused = await apply(`version: 2
accounts:
  - id: shop
    name: Shop
    account_type: nobody
    email: shop@example.com
rules:
  - rule_name: Batch
    priority_order: 5
    assign_priority: 9
    max_tps: -3
    colour: red
  - rule_name: Batch
    priority_order: first
tokens:
  - sha256: tok_internal_secret
    account_id: shop
    priority_tier: external
`);
	expect(refused).toMatchObject({ code: 1, out: "" });
	const lines = refused.error.trimEnd().split("\n");
	expect(lines.map((line) => Number(/policy\.yaml:(\d+):/.exec(line)?.[1]))).toEqual([1, 5, 10, 11, 12, 13, 14, 16]);
	expect(refused.error).toContain("levels are 0 to 4");
	expect(refused.error).not.toContain("tok_internal_secret");
	expect(await exported()).toBe(before);
});

test("what fits the form and cannot be is refused as well: a lost catch-all, a token of nobody", async () => {
	const refused = await apply(
		`rules:
  - { rule_name: Catch-all, priority_order: 1000, match_tier: spot }
tokens:
  - { sha256: ${HASH}, account_id: nobody, priority_tier: external }
`,
		"--json",
	);
	expect(refused.code).toBe(1);
	const { problems } = JSON.parse(refused.out);
	expect(problems).toHaveLength(2);
	expect(problems[0]).toContain("catch-all");
	expect(problems[1]).toContain('"nobody" is no account');
	const calendar = await apply(`windows:
  - { name: Night, schedule_type: cron, schedule_expr: "61 22 * * *", duration_sec: 60, rules: [{ target_type: all, adjustments: {} }] }
  - name: Day
    schedule_type: cron
    schedule_expr: "0 8 * * *"
    duration_sec: 60
    timezone: Europe/Nowhere
    rules:
      - { target_type: all, adjustments: { weight_multiplier: 2 } }
quotas:
  - { id: a, account_id: nobody, quota_type: hard, limit_dimension: tps, limit_value: 1 }
`);
	const places = calendar.error
		.trimEnd()
		.split("\n")
		.map((line) => /policy\.yaml:(\d+):/.exec(line)?.[1]);
	expect(places).toEqual(["2", "7", "11", "11"]);
	const broken = await apply("rules: [\n  - {");
	expect(broken).toMatchObject({ code: 1 });
	expect(broken.error).toMatch(/policy\.yaml:\d+:/);
	expect((await run(applyCommand, "-f", join(folder, "missing.yaml"))).error).toContain("cannot be read");
	expect((await apply("just words")).code).toBe(1);
});

test("the preset for emergencies moves every default rule one level down", async () => {
	const before = parse(await exported()).rules as { assign_priority: number }[];
	expect((await run(applyCommand, "-f", EMERGENCY)).code).toBe(0);
	const after = parse(await exported()).rules as { assign_priority: number }[];
	expect(after).toEqual(before.map((rule) => ({ ...rule, assign_priority: Math.min(4, rule.assign_priority + 1) })));
});

test("through the API of a running gateway, in force when it is acknowledged", async () => {
	const mock = await startMockLlm({ speed: 100, seed: 1 });
	const loaded = loadConfig({
		text: "[classifier.default]\nenabled = true\n[observability]\nlog_level = silent\n",
		flags: { upstream: mock.url, dataDir: folder, port: "0", adminPort: "0" },
	});
	if (!loaded.ok) throw new Error("configuration");
	const gateway = await startGateway(loaded.config);
	try {
		const queueOf = async () => {
			const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
				method: "POST",
				body: JSON.stringify({ model: "mock", max_tokens: 2, messages: [{ role: "user", content: "hi" }] }),
			});
			await response.arrayBuffer();
			return response.headers.get("x-tgw-queue");
		};
		expect(await queueOf()).toBe("P4");
		const text = await exported();
		expect((await apply(text)).out).toBe("Nothing differs.\n");
		const promoted = readFileSync(file, "utf8").replace(/(Catch-all[\s\S]*assign_priority: )4/, "$12");
		expect((await apply(promoted)).out).toContain("assign_priority: 4 → 2");
		expect(await queueOf()).toBe("P2");
		expect((await run(ruleCommand, "list")).out).toContain("Catch-all");
	} finally {
		await gateway.close();
		await mock.close();
	}
});
