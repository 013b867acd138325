import { createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { guardedLookup, refusedAddress, refusedHost } from "./address-guard.ts";
import { Webhook, type WebhookSettings } from "./webhook.ts";

interface Received {
	readonly headers: IncomingMessage["headers"];
	readonly body: string;
}

let server: Server;
let url: string;
let received: Received[];
let lost: string[];
/** Pauses that the webhook waits for; the test ends them. */
let pauses: { readonly ms: number; end(): void }[];
let answer: (response: ServerResponse, at: number) => void;
let arrived: () => void;

beforeEach(async () => {
	received = [];
	lost = [];
	pauses = [];
	answer = (response) => response.writeHead(204).end();
	arrived = () => {};
	server = createServer((request, response) => {
		let body = "";
		request.on("data", (chunk) => {
			body += chunk;
		});
		request.on("end", () => {
			received.push({ headers: request.headers, body });
			answer(response, received.length - 1);
			arrived();
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
});

afterEach(() => void server.close());

function webhook(settings: Partial<WebhookSettings> = {}): Webhook {
	return new Webhook(
		{ url, secret: "s3cret", allowPrivate: true, ...settings },
		{
			clock: { now: () => 0, epochNow: () => 1_800_000_000_000 },
			timers: {
				after: (ms, call) => {
					const pause = { ms, end: call };
					pauses.push(pause);
					return () => void pauses.splice(pauses.indexOf(pause), 1);
				},
			},
			onLost: (type, why) => lost.push(`${type}: ${why}`),
		},
	);
}

async function until(condition: () => boolean): Promise<void> {
	while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

test("an event arrives once, signed", async () => {
	webhook().send("quota.alert", { threshold_pct: 80 });
	await until(() => received.length === 1);
	const { headers, body } = received[0]!;
	expect(JSON.parse(body)).toMatchObject({ type: "quota.alert", data: { threshold_pct: 80 } });
	expect(headers["x-tokligence-event"]).toBe("quota.alert");
	const digest = createHmac("sha256", "s3cret").update(`1800000000.${body}`).digest("hex");
	expect(headers["x-tokligence-signature"]).toBe(`t=1800000000,v1=${digest}`);
	expect([pauses, lost]).toEqual([[], []]);
});

test("a receiver that fails is tried again, in order and under the same id, with growing pauses", async () => {
	answer = (response, at) => response.writeHead(at < 2 ? 503 : 200).end();
	const hook = webhook();
	hook.send("a", {});
	hook.send("b", {});
	await until(() => pauses.length === 1);
	expect(pauses[0]!.ms).toBe(1000);
	pauses.shift()!.end();
	await until(() => pauses.length === 1);
	expect(pauses[0]!.ms).toBe(5000);
	pauses.shift()!.end();
	await until(() => received.length === 4);
	expect(received.map(({ headers }) => headers["x-tokligence-event"])).toEqual(["a", "a", "a", "b"]);
	expect(new Set(received.slice(0, 3).map(({ headers }) => headers["x-tokligence-delivery"])).size).toBe(1);
	expect(lost).toEqual([]);
});

test("it gives up after the last pause, and goes on with the next event", async () => {
	answer = (response, at) => response.writeHead(at < 6 ? 500 : 200).end();
	const hook = webhook();
	hook.send("a", {});
	hook.send("b", {});
	for (let attempt = 1; attempt <= 5; attempt++) {
		await until(() => pauses.length === 1);
		pauses.shift()!.end();
	}
	await until(() => received.length === 7);
	expect(lost).toEqual(["a: the receiver answered 500"]);
	expect(received.at(-1)!.headers["x-tokligence-event"]).toBe("b");
});

test("a refusal is final, and a redirect is not followed", async () => {
	const { port } = server.address() as AddressInfo;
	answer = (response, at) =>
		at === 0
			? response.writeHead(400).end()
			: response.writeHead(302, { location: `http://127.0.0.1:${port}/inner` }).end();
	const hook = webhook();
	hook.send("a", {});
	hook.send("b", {});
	await until(() => lost.length === 2);
	expect(lost).toEqual(["a: the receiver answered 400", "b: the receiver answered 302; redirects are not followed"]);
	expect(received).toHaveLength(2);
});

test("a private address is called only when allowed", async () => {
	const hook = webhook({ allowPrivate: false });
	hook.send("a", {});
	await until(() => lost.length === 1);
	expect(lost[0]).toContain("127.0.0.1 is a private address");
	expect(received).toEqual([]);
});

test("a name that leads to a private address is not called either", async () => {
	const hook = webhook({ url: url.replace("127.0.0.1", "localhost"), allowPrivate: false });
	hook.send("a", {});
	await until(() => pauses.length === 1);
	expect(received).toEqual([]);
});

test.each([
	["169.254.169.254", true, "never"],
	["::ffff:169.254.169.254", true, "never"],
	["fe80::1", true, "never"],
	["0.0.0.0", true, "never"],
	["fd00:ec2::254", true, "never"],
	["10.1.2.3", false, "private"],
	["172.31.0.1", false, "private"],
	["192.168.1.1", false, "private"],
	["::1", false, "private"],
	["fd12::1", false, "private"],
	["::ffff:127.0.0.1", false, "private"],
	["10.1.2.3", true, undefined],
	["93.184.216.34", false, undefined],
	["2606:2800:220:1::1", false, undefined],
])("address %s (private allowed: %s): %s", (address, allowPrivate, expected) => {
	const refused = refusedAddress(address, allowPrivate);
	if (expected === undefined) expect(refused).toBeUndefined();
	else expect(refused).toContain(expected);
	expect(refusedHost(address.includes(":") ? `[${address}]` : address, allowPrivate)).toBe(refused);
});

test("numbers in other forms are addresses too", () => {
	// what a URL parser makes of 0x7f000001, 2130706433 and 127.1
	for (const host of ["0x7f000001", "2130706433", "127.1"]) {
		expect(refusedHost(new URL(`http://${host}/`).hostname, false)).toContain("127.0.0.1");
	}
});

test("the look-up answers in both forms that Node asks for", async () => {
	const asked = (options: object) =>
		new Promise<unknown[]>((resolve) => guardedLookup(true)("localhost", options, (...answer) => resolve(answer)));
	const [error, all] = await asked({ all: true });
	expect(error).toBeNull();
	expect(all).toBeInstanceOf(Array);
	expect(typeof (await asked({}))[1]).toBe("string");
});
