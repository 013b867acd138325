/** Both listeners over TLS: with the official client, from the command line, and through a change of certificate. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import OpenAI from "openai";
import { Agent, fetch } from "undici";
import { describe, expect, onTestFinished, test } from "vitest";
import { checkPorts } from "../../src/app/check-network.ts";
import { checkTls } from "../../src/app/check-tls.ts";
import { httpAdminClient } from "../../src/cli/admin-client.ts";
import { loadConfig } from "../../src/config/load.ts";
import { OPEN, openTestBed, until } from "./running-gateway.ts";

function certificate(folder: string, name: string): { readonly cert: string; readonly key: string } {
	const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
	const flags = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
	const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
	execFileSync("openssl", ["req", "-x509", ...flags, ...subject, "-keyout", key, "-out", cert], { stdio: "ignore" });
	return { cert, key };
}

function folderOfTest(): string {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-tls-"));
	onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
}

const keys = ({ cert, key }: { cert: string; key: string }) => `tls_cert = ${cert}\ntls_key = ${key}\n`;

function nameShown(url: string): Promise<string> {
	return new Promise((resolve, reject) => {
		const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", rejectUnauthorized: false }, () => {
			resolve(String(socket.getPeerCertificate().subject.CN));
			socket.destroy();
		});
		socket.on("error", reject);
	});
}

describe("TLS", () => {
	test("official client, streaming; commands trust the certificate they are configured with; a new one is taken over", async () => {
		const folder = folderOfTest();
		const first = certificate(folder, "first");
		const pair = { cert: join(folder, "live.crt"), key: join(folder, "live.key") };
		const install = (from: { cert: string; key: string }) => {
			writeFileSync(pair.cert, readFileSync(from.cert));
			writeFileSync(pair.key, readFileSync(from.key));
		};
		install(first);
		const bed = await openTestBed(
			`${OPEN}[classifier.token]\nenabled = false\n[gateway]\n${keys(pair)}[admin]\n${keys(pair)}`,
		);
		onTestFinished(() => bed.close());
		const { dataUrl, adminUrl } = bed.gateway;
		expect(dataUrl).toMatch(/^https:/);
		const agent = new Agent({ connect: { ca: readFileSync(first.cert) } });
		onTestFinished(() => agent.destroy());
		const client = new OpenAI({
			baseURL: `${dataUrl}/v1`,
			apiKey: "none",
			fetch: fetch as unknown as typeof globalThis.fetch,
			fetchOptions: { dispatcher: agent } as never,
		});
		let text = "";
		const messages = [{ role: "user" as const, content: "hello" }];
		for await (const event of await client.chat.completions.create({ model: "mock", stream: true, messages }))
			text += event.choices[0]?.delta.content ?? "";
		expect(text).not.toBe("");

		const token = readFileSync(join(bed.folder, "admin-token"), "utf8").trim();
		const running = { pid: 1, dataDir: bed.folder, url: () => adminUrl, token: () => token };
		const commands = await httpAdminClient({ ...running, certificate: readFileSync(first.cert) }, "test");
		expect((await commands.call("GET", "/accounts")).status).toBe(200);
		await commands.close();

		const loaded = loadConfig({ text: `[admin]\n${keys(pair)}`, flags: { dataDir: bed.folder } });
		if (!loaded.ok) throw new Error("configuration");
		expect(await checkPorts(loaded.config)).toMatchObject([{ check: "gateway", status: "ok" }]);

		expect(await nameShown(dataUrl)).toBe("first");
		install(certificate(folder, "second"));
		await until("both show the new one", async () => {
			const shown = await Promise.all([nameShown(dataUrl), nameShown(adminUrl)]);
			return shown.every((name) => name === "second");
		});
	});

	test("plain HTTP on a TLS port ends that connection only", async () => {
		const bed = await openTestBed(`${OPEN}[gateway]\n${keys(certificate(folderOfTest(), "x"))}`);
		onTestFinished(() => bed.close());
		const plain = bed.gateway.dataUrl.replace("https:", "http:");
		await expect(fetch(`${plain}/v1/models`)).rejects.toThrow();
		expect(await nameShown(bed.gateway.dataUrl)).toBe("x");
	});

	test("doctor says when a certificate ends, has ended, or is of another key", () => {
		const folder = folderOfTest();
		const a = certificate(folder, "a");
		const b = certificate(folder, "b");
		const findings = (gateway: { cert: string; key: string }, inDays = 0) => {
			const loaded = loadConfig({ text: `[gateway]\n${keys(gateway)}` });
			if (!loaded.ok) throw new Error("configuration");
			return checkTls(loaded.config, Date.now() + inDays * 86_400_000);
		};
		expect(findings(a)).toMatchObject([{ check: "certificate of [gateway]", status: "warn" }]);
		expect(findings(a, -10)).toMatchObject([{ status: "fail", message: expect.stringMatching(/^it begins/) }]);
		expect(findings(a, 3)).toMatchObject([{ status: "fail", message: expect.stringMatching(/^it ended/) }]);
		expect(findings({ cert: a.cert, key: b.key })).toMatchObject([{ status: "fail" }]);
	});

	test("a certificate that cannot be read or used is a sentence at the start", async () => {
		const folder = folderOfTest();
		const { cert } = certificate(folder, "a");
		const { key } = certificate(folder, "b");
		const started = (tls: string) => openTestBed(`${OPEN}[gateway]\n${tls}`);
		await expect(started(keys({ cert, key }))).rejects.toThrow(/\[gateway\] tls_cert .*a\.crt and tls_key .*b\.key: /);
		await expect(started(keys({ cert, key: join(folder, "none") }))).rejects.toThrow(/ENOENT/);
	});
});
