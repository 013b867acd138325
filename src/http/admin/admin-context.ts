/**
 * What the admin plane needs from the rest of the process; the composition root fills it in. Nothing here knows which store, which
 * scheduler or which process it is: the command line serves the same operations over a store without a gateway.
 */
import type { ConfigProblem } from "../../config/problem.ts";
import type { EffectiveValue } from "../../config/values.ts";
import type { ShadowComparison } from "../../core/allocate/shadow-comparison.ts";
import type { ZoneOffset } from "../../core/model/civil-time.ts";
import type { EpochMillis } from "../../core/model/units.ts";
import type { QuotaService } from "../../engine/quota-service.ts";
import type { RateGate } from "../../engine/rate-gate.ts";
import type { Stores } from "../../ports/stores.ts";
import type { CapacityAdmin } from "./capacity.ts";
import type { SchedulerAdmin } from "./scheduler-admin.ts";

export interface AdminContext {
	/** Compared in constant time. */
	readonly adminToken: string;
	readonly stores: Omit<Stores, "close">;
	readonly epochNow: () => EpochMillis;
	/** Whether anything enforces `quota_*` of tokens; while nothing does, the answers say so. */
	readonly quotasEnforced: boolean;
	readonly quotas: QuotaService;
	/** Absent without `[request_scheduler] shadow_allocator`. */
	readonly shadow?: ShadowComparison;
	/** Absent where no gateway runs. */
	readonly rates?: RateGate;
	/** Whether a name is a time zone. */
	readonly isZone: (name: string) => boolean;
	readonly zoneOffset: ZoneOffset;
	/** Levels that rules and tokens may name; absent when levels mean nothing here. */
	readonly priorityLevels?: number;
	/** Accounts, tokens or rules changed; the answer waits for it, so that a change is in force when it is acknowledged. */
	readonly policyChanged: () => void | Promise<void>;
	/** The token of this hash was created, revoked or is about to end: caches ask the store again. */
	readonly tokenChanged: (hash: string) => void;
	/** Any number of tokens may have changed (an account did, or an import ran). */
	readonly tokensChanged: () => void;
	/** Brings rows that settled just now into the ledger before a report reads it. Never rejects. */
	readonly settle: () => Promise<unknown>;
	/** Absent where no gateway runs. */
	readonly scheduler?: SchedulerAdmin;
	/** There whenever `scheduler` is. */
	readonly capacity?: CapacityAdmin;
	readonly config?: ConfigAdmin;
	/** A failure that the client is only told the kind of. */
	readonly onError?: (error: unknown, operation: string) => void;
}

export interface ConfigAdmin {
	/** The file that was read, if there was one. */
	file(): string | undefined;
	/** Secrets redacted. */
	effective(): readonly EffectiveValue[];
	/** Validates first, then changes everything or nothing. */
	reload(): Promise<ReloadResult>;
}

export type ReloadResult =
	| {
			readonly ok: true;
			/** `section.key` of what is in force now. */
			readonly changed: readonly string[];
			/** `section.key` of what waits for the next start. */
			readonly needsRestart: readonly string[];
	  }
	| { readonly ok: false; readonly problems: readonly ConfigProblem[] };
