import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { afterEach, beforeEach, expect, test } from "vitest";
import { accountCommand } from "./account.ts";
import type { CommandIo } from "./config-options.ts";
import { tokenCommand } from "./token.ts";
import { usageCommand } from "./usage.ts";

let folder: string;
beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "tokligence-cli-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function run(command: (io: CommandIo) => Command, ...words: string[]) {
	const result = { out: "", error: "", code: 0 };
	const io: CommandIo = {
		env: {},
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
	await command(io).parseAsync([...words, "--data-dir", folder], { from: "user" });
	return result;
}

test("account, token, revoke: the token is shown once and is nowhere on disk", async () => {
	const account = await run(
		accountCommand,
		"create",
		"--email",
		"a@b.c",
		"--name",
		"A",
		"--type",
		"internal",
		"--id",
		"acme",
		"--json",
	);
	expect(JSON.parse(account.out)).toMatchObject({ id: "acme", account_type: "internal", status: "active" });
	const made = JSON.parse(
		(
			await run(
				tokenCommand,
				"create",
				"--account",
				"acme",
				"--tier",
				"internal",
				"--environment",
				"production",
				"--json",
			)
		).out,
	);
	expect(made.token).toMatch(/^tok_internal_production_/);
	for (const file of readdirSync(folder)) expect(readFileSync(join(folder, file)).includes(made.token)).toBe(false);
	const listed = await run(tokenCommand, "list", "--json");
	expect(JSON.parse(listed.out)).toMatchObject({ count: 1, tokens: [{ id: made.token_id, status: "active" }] });
	expect(listed.out).not.toContain(made.token);
	expect(JSON.parse((await run(tokenCommand, "revoke", made.token_id, "--json")).out)).toMatchObject({
		status: "revoked",
	});
	const twice = await run(tokenCommand, "revoke", made.token_id);
	expect(twice).toMatchObject({ code: 1, out: "" });
	expect(twice.error).not.toBe("");
});

test("a token for an account that does not exist is refused in a sentence", async () => {
	const refused = await run(tokenCommand, "create", "--account", "nobody", "--tier", "internal");
	expect(refused.code).toBe(1);
	expect(refused.error).toContain("nobody");
});

test("usage of an empty ledger", async () => {
	expect((await run(usageCommand, "--json")).code).toBe(0);
	expect(JSON.parse((await run(usageCommand, "--requests", "--json")).out)).toMatchObject({ requests: [], count: 0 });
});
