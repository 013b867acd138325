/**
 * Time windows as data. What they say is checked before it gets here; a store keeps it. Every write stands in one transaction with its audit
 * row and raises the policy version.
 */
import type { TimeWindow } from "../core/allocate/time-window.ts";
import type { Page, PageRequest } from "./page.ts";
import type { Patch, WriteResult } from "./write-result.ts";

/** `id` is made when absent; `enabled` is true and `order` 100 when absent. */
export type NewWindow = Omit<TimeWindow, "id" | "enabled" | "order"> & {
	readonly id?: string;
	readonly enabled?: boolean;
	readonly order?: number;
};

export interface WindowStore {
	/** All windows, enabled or not, in order, then by name. */
	all(): Promise<readonly TimeWindow[]>;
	/** In order of id. */
	list(page: PageRequest): Promise<Page<TimeWindow>>;
	get(id: string): Promise<TimeWindow | undefined>;
	/** Refuses (`conflict`) an id or a name that is taken. */
	create(window: NewWindow, actor: string): Promise<WriteResult<TimeWindow>>;
	update(id: string, patch: Patch<Omit<TimeWindow, "id">>, actor: string): Promise<WriteResult<TimeWindow>>;
	delete(id: string, actor: string): Promise<WriteResult<TimeWindow>>;
}
