/** The alert rules and the Grafana dashboard that ship: readable by the tools they are for, each rule proven, no metric in them that does not exist. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parse, stringify } from "yaml";
import { haveTools } from "./tools.ts";

const FOLDER = fileURLToPath(new URL("../config/monitoring/", import.meta.url));
const HAVE_PROMTOOL = haveTools({ promtool: "prometheus" });

interface Rule {
	readonly alert: string;
	readonly expr: string;
	readonly annotations: { readonly summary: string; readonly action: string };
}
interface Panel {
	readonly id: number;
	readonly type: string;
	readonly targets?: readonly { readonly expr: string }[];
}

const rules = (parse(read("alerts.yml")) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(read("grafana-dashboard.json")) as { panels: Panel[] };
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

function read(name: string): string {
	return readFileSync(FOLDER + name, "utf8");
}

function promtool(...words: string[]) {
	const { status, stdout, stderr } = spawnSync("promtool", words, { cwd: FOLDER, encoding: "utf8" });
	return { status, says: `${stdout}${stderr}` };
}

function metricsIn(expression: string): readonly string[] {
	return [...expression.matchAll(/\b(?:tokligence|tgw|token|snapshot)_[a-z_]+/g)].map(([name]) =>
		name.replace(/_(bucket|count|sum)$/, ""),
	);
}

test.skipIf(!HAVE_PROMTOOL)("each alert fires on what it is for", () => {
	expect(promtool("test", "rules", "alerts.test.yml")).toMatchObject({ status: 0 });
	const tests = parse(read("alerts.test.yml")) as { tests: { alert_rule_test: { alertname: string }[] }[] };
	const proven = tests.tests.flatMap((group) => group.alert_rule_test.map(({ alertname }) => alertname));
	expect(rules.map(({ alert }) => alert).filter((alert) => !proven.includes(alert))).toEqual([]);
});

test.skipIf(!HAVE_PROMTOOL)("the dashboard's queries are PromQL", () => {
	const queries = expressions.map((expr, index) => ({
		record: `query_${index}`,
		expr: expr.replaceAll("$__rate_interval", "5m"),
	}));
	const file = join(mkdtempSync(join(tmpdir(), "tgw-rules-")), "queries.yml");
	onTestFinished(() => rmSync(dirname(file), { recursive: true }));
	writeFileSync(file, stringify({ groups: [{ name: "dashboard", rules: queries }] }));
	const { status, says } = promtool("check", "rules", file);
	expect(status, says).toBe(0);
	expect(says).toContain(`${queries.length} rules found`);
});

test("rules and panels name metrics that exist, and rules what to do", () => {
	const page = readFileSync(new URL("../docs/metrics.md", import.meta.url), "utf8");
	const named = [...rules.map(({ expr }) => expr), ...expressions].flatMap(metricsIn);
	expect(named.length).toBeGreaterThan(30);
	expect([...new Set(named)].filter((name) => !page.includes(`\n| \`${name}\` | `))).toEqual([]);
	for (const { alert, annotations } of rules) expect(annotations.action.length, alert).toBeGreaterThan(20);
	const ids = dashboard.panels.map(({ id }) => id);
	expect(new Set(ids).size).toBe(ids.length);
});
