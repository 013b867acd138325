import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { memoryStores } from "../memory/memory-stores.ts";
import { refreshSnapshot, TokenSnapshotFile } from "./token-snapshot-file.ts";

let folder: string;
let path: string;
beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "tgw-snapshot-"));
	path = join(folder, "tokens.snapshot");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("keeps every active token over a restart, hashed, for the owner only", async () => {
	const { accounts, tokens } = memoryStores(() => 1000);
	await accounts.create({ id: "shop", email: "", name: "Shop", accountType: "external" }, "admin");
	const issued = [];
	for (let i = 0; i < 2500; i++) {
		const created = await tokens.create({ accountId: "shop", priorityTier: "external" }, "admin");
		if (created.ok && i < 5) issued.push(created.value);
	}
	const first = new TokenSnapshotFile(path, () => 5000);
	expect(await refreshSnapshot(tokens, first)).toBe(2500);
	expect(statSync(path).mode & 0o777).toBe(0o600);
	expect(readdirSync(folder)).toEqual(["tokens.snapshot"]);

	const second = new TokenSnapshotFile(path, () => 6000);
	expect(second.takenAt()).toBeUndefined();
	for (const { hash, token } of issued) {
		expect(await second.find(hash)).toEqual(await tokens.find(hash));
		expect(readFileSync(path, "utf8")).not.toContain(token.slice(-32));
	}
	expect(await second.find("nope")).toBeUndefined();
	expect([second.size(), second.takenAt()]).toEqual([2500, 5000]);
});

it("is empty when there is none, and says so when it is damaged or cannot be written", async () => {
	expect(await new TokenSnapshotFile(path, () => 0).find("x")).toBeUndefined();
	writeFileSync(path, '{"format":"tokligence-token-snapshot","count":2}\n{}\n');
	await expect(new TokenSnapshotFile(path, () => 0).find("x")).rejects.toMatchObject({ kind: "corrupt" });
	const nowhere = new TokenSnapshotFile(join(folder, "no", "where"), () => 0);
	await expect(nowhere.write([])).rejects.toMatchObject({ kind: "unavailable" });
});
