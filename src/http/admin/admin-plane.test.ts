import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { type AdminApi, type AdminPlaneParts, adminPlane, jsonAnswer } from "./admin-plane.ts";

/** Answers with the body that it was sent, so that a lost one shows. */
const echo: AdminApi = {
	handle: (request, response) => void request.pipe(response),
	close: async () => {},
};

async function listening(parts: Partial<AdminPlaneParts>): Promise<string> {
	const plane = adminPlane({
		pages: { "/healthz": () => jsonAnswer(200, { status: "ok" }) },
		loadApi: async () => echo,
		onError: () => {},
		...parts,
	});
	await new Promise<void>((resolve) => plane.server.listen(0, "127.0.0.1", resolve));
	onTestFinished(() => plane.close());
	return `http://127.0.0.1:${(plane.server.address() as AddressInfo).port}`;
}

test("the API is loaded once, by the first calls to it, which are answered in full", async () => {
	let loaded = 0;
	const url = await listening({
		loadApi: async () => {
			loaded++;
			return echo;
		},
	});
	expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: "ok" });
	expect(loaded).toBe(0);
	const bodies = ["a", "b".repeat(200_000), "c"];
	const answers = await Promise.all(
		bodies.map(async (body) => (await fetch(`${url}/v1/admin/x`, { method: "POST", body })).text()),
	);
	expect(answers).toEqual(bodies);
	expect(loaded).toBe(1);
});

test("an API that cannot be loaded is a 500, told to the log alone, and tried again", async () => {
	const told: unknown[] = [];
	let tries = 0;
	const url = await listening({
		loadApi: () => (++tries === 1 ? Promise.reject(new Error("a secret path")) : Promise.resolve(echo)),
		onError: (error) => told.push(error),
	});
	const failed = await fetch(`${url}/v1/admin/accounts`);
	expect(failed.status).toBe(500);
	expect(await failed.text()).not.toContain("secret");
	expect(String(told[0])).toContain("a secret path");
	expect((await fetch(`${url}/v1/admin/accounts`)).status).toBe(200);
});

test("other paths and methods are refused in the form of the admin API", async () => {
	const url = await listening({});
	expect((await fetch(`${url}/healthz`, { method: "HEAD" })).status).toBe(200);
	const refusals = await Promise.all([
		fetch(`${url}/elsewhere`),
		fetch(`${url}/constructor`),
		fetch(`${url}/v1/administrator`),
		fetch(`${url}/healthz`, { method: "DELETE" }),
	]);
	expect(refusals.map(({ status }) => status)).toEqual([404, 404, 404, 405]);
	const { error } = (await refusals[0]!.json()) as { error: { code: string; message: string } };
	expect(error.code).toBe("not_found");
	expect(error.message).toContain("/healthz, /v1/admin");
});
