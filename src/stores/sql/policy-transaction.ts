/**
 * The frame of every write to policy: take the version's row lock first (which orders all policy writes), change, write the
 * audit row, raise the version. A refusal rolls everything back.
 */
import type { EpochMillis } from "../../core/model/units.ts";
import type { AuditEvent } from "../../ports/audit-log.ts";
import type { WriteRefusal, WriteResult } from "../../ports/write-result.ts";
import type { SqlDatabase, SqlSession } from "./sql-database.ts";

export interface PolicyTransaction {
	readonly session: SqlSession;
	readonly at: EpochMillis;
	readonly actor: string;
	audit(event: Omit<AuditEvent, "actor">): Promise<void>;
}

/** Carries a refusal out of the transaction, so that the database rolls back. */
class Refused extends Error {
	readonly refusal: WriteRefusal;

	constructor(refusal: WriteRefusal) {
		super(refusal.message);
		this.refusal = refusal;
	}
}

export async function policyTransaction<T>(
	database: SqlDatabase,
	at: EpochMillis,
	actor: string,
	work: (transaction: PolicyTransaction) => Promise<WriteResult<T>>,
): Promise<WriteResult<T>> {
	try {
		return await database.transaction(async (session) => {
			await session.run("UPDATE policy_version SET version = version + 1 WHERE id = 1", []);
			const result = await work({ session, at, actor, audit: (event) => writeAudit(session, at, { ...event, actor }) });
			if (!result.ok) throw new Refused(result);
			return result;
		});
	} catch (error) {
		if (error instanceof Refused) return error.refusal;
		throw error;
	}
}

/** Takes the next id from `policy_version`, whose row the transaction then holds: ids appear in order. */
export async function writeAudit(session: SqlSession, at: EpochMillis, event: AuditEvent): Promise<void> {
	const [row] = await session.all(
		"UPDATE policy_version SET last_audit_id = last_audit_id + 1 WHERE id = 1 RETURNING last_audit_id",
		[],
	);
	await session.run(
		"INSERT INTO audit_log (id, at, actor, action, subject, before_value, after_value, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		[
			row!["last_audit_id"] as number,
			at,
			event.actor,
			event.action,
			event.subject,
			event.before === undefined ? null : JSON.stringify(event.before),
			event.after === undefined ? null : JSON.stringify(event.after),
			event.reason ?? null,
		],
	);
}
