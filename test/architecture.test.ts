/** The import table of ARCHITECTURE.md, enforced: which folder of src may import which, and who may use packages. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** Folder → folders it may import besides itself; `packages`: any package; `node`: built-in modules. */
const ALLOWED: Record<string, readonly string[]> = {
	core: [],
	protocol: ["core"],
	ports: ["core"],
	config: ["core", "packages", "node"],
	engine: ["core", "protocol", "ports"],
	simulate: ["core", "config", "ports", "node"],
	stores: ["core", "protocol", "ports", "packages", "node"],
	providers: ["core", "protocol", "ports", "packages", "node"],
	telemetry: ["core", "protocol", "ports", "packages", "node"],
	http: ["core", "protocol", "ports", "engine", "config", "packages", "node"],
	load: ["core", "protocol", "simulate", "config", "packages", "node"],
	app: [
		"core",
		"protocol",
		"ports",
		"config",
		"engine",
		"simulate",
		"stores",
		"providers",
		"telemetry",
		"http",
		"load",
		"packages",
		"node",
	],
	cli: ["app", "load", "simulate", "config", "ports", "core", "packages", "node"],
};

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter(
	(file) => file.endsWith(".ts") && !file.endsWith(".test.ts"),
);

function imports(file: string): string[] {
	const text = readFileSync(join(SRC, file), "utf8");
	return [...text.matchAll(/^(?:import|export|\})[^"]*?from "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm)].map(
		(match) => (match[1] ?? match[2] ?? match[3])!,
	);
}

test("every import is allowed by the table", () => {
	expect(files.length).toBeGreaterThan(100);
	const offences: string[] = [];
	for (const file of files) {
		const folder = file.includes("/") ? file.slice(0, file.indexOf("/")) : "";
		if (folder === "") continue;
		const allowed = ALLOWED[folder];
		if (allowed === undefined) {
			offences.push(`${file}: folder ${folder} is not in the table`);
			continue;
		}
		for (const specifier of imports(file)) {
			let target: string;
			if (specifier.startsWith(".")) {
				const path = relative(SRC, resolve(SRC, dirname(file), specifier));
				target = path.slice(0, path.indexOf("/"));
			} else {
				target = specifier.startsWith("node:") ? "node" : "packages";
			}
			if (target !== folder && !allowed.includes(target)) offences.push(`${file} imports ${specifier}`);
		}
	}
	expect(offences).toEqual([]);
});
