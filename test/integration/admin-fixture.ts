/** The admin API over an embedded store of its own, with what it tells the process recorded; every answer is held to its documented schema. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { onTestFinished } from "vitest";
import { systemCalendar } from "../../src/app/calendar.ts";
import { openQuotas } from "../../src/app/quotas.ts";
import { defaultRules } from "../../src/core/classify/default-rules.ts";
import type { AdminContext } from "../../src/http/admin/admin-context.ts";
import { adminServer } from "../../src/http/admin/admin-server.ts";
import { adminOperations } from "../../src/http/admin/operations.ts";
import type { Stores } from "../../src/ports/stores.ts";
import { openEmbedded } from "../../src/stores/embedded/open.ts";

export const ADMIN_TOKEN = "adm_test_token";
export const NOW = Date.UTC(2027, 0, 15, 12);

export interface AdminFixture {
	readonly app: FastifyInstance;
	readonly stores: Stores;
	readonly folder: string;
	/** `policyChanged`, `tokenChanged:<hash>`, `tokensChanged`, `settle`, in order. */
	readonly told: string[];
	call(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<AdminReply>;
}

export interface AdminReply {
	readonly status: number;
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	readonly body: any;
	readonly text: string;
}

export async function adminFixture(parts: Partial<AdminContext> = {}): Promise<AdminFixture> {
	const folder = await mkdtemp(join(tmpdir(), "admin-"));
	const stores = await openEmbedded({ path: join(folder, "t.db"), thread: false }, () => NOW, defaultRules(5));
	const told: string[] = [];
	const quotas = openQuotas({ quotaResetDay: 1, timezone: "UTC" }, stores, {
		settleLedger: async () => true,
		onError: (error) => told.push(`quotas:${error}`),
	});
	const app = adminServer({
		adminToken: ADMIN_TOKEN,
		stores,
		epochNow: () => NOW,
		quotasEnforced: false,
		quotas,
		isZone: systemCalendar.isZone,
		zoneOffset: systemCalendar.offset,
		priorityLevels: 5,
		policyChanged: () => void told.push("policyChanged"),
		tokenChanged: (hash) => void told.push(`tokenChanged:${hash}`),
		tokensChanged: () => void told.push("tokensChanged"),
		settle: async () => told.push("settle"),
		...parts,
	});
	onTestFinished(async () => {
		await app.close();
		await stores.close();
		await rm(folder, { recursive: true });
	});
	return {
		app,
		stores,
		folder,
		told,
		async call(method, path, body) {
			const response = await app.inject({
				method,
				url: `/v1/admin${path}`,
				headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "text/plain" },
				...(body === undefined ? {} : { payload: typeof body === "string" ? body : JSON.stringify(body) }),
			});
			const isJson = String(response.headers["content-type"]).includes("json");
			const reply = { status: response.statusCode, body: isJson ? response.json() : undefined, text: response.body };
			holdToSchema(method, path, reply);
			return reply;
		},
	};
}

function holdToSchema(method: string, path: string, { status, body }: AdminReply): void {
	const parts = path.split("?")[0]!.split("/");
	const fits = (template: string) => {
		const wanted = template.split("/");
		return wanted.length === parts.length && wanted.every((part, i) => part.startsWith("{") || part === parts[i]);
	};
	const own = adminOperations.filter((operation) => operation.method === method && fits(operation.path));
	const operation = own.find(({ path: template }) => !template.includes("{")) ?? own[0];
	if (operation === undefined || body === undefined || status >= 400) return;
	if (status !== (operation.status ?? 200)) throw new Error(`${method} ${path} answered ${status}`);
	operation.answer.parse(body);
}
