/** Time windows in memory. */
import { compareWindows, type TimeWindow } from "../../core/allocate/time-window.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { NewWindow, WindowStore } from "../../ports/window-store.ts";
import { type Patch, type WriteResult, written } from "../../ports/write-result.ts";
import { applyPatch, sameFields } from "../record.ts";
import { createdWindow, takenBy, unknownWindow } from "../window-record.ts";
import type { MemoryChange, MemoryState } from "./memory-state.ts";

export class MemoryWindowStore implements WindowStore {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	async all(): Promise<readonly TimeWindow[]> {
		return [...this.#state.windows.values()].sort(compareWindows);
	}

	async list(page: PageRequest): Promise<Page<TimeWindow>> {
		const limit = pageLimit(page);
		const after = cursorKeys(page, ["string"])?.[0] as string | undefined;
		const found = [...this.#state.windows.values()]
			.filter(({ id }) => after === undefined || id > after)
			.sort((a, b) => (a.id < b.id ? -1 : 1));
		return toPage(found.slice(0, limit + 1), limit, (window) => [window.id]);
	}

	async get(id: string): Promise<TimeWindow | undefined> {
		return this.#state.windows.get(id);
	}

	create(window: NewWindow, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#state.change(actor, (change) => insertWindow(this.#state, change, window));
	}

	update(id: string, patch: Patch<Omit<TimeWindow, "id">>, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.windows.get(id);
			if (before === undefined) return unknownWindow(id);
			const after: TimeWindow = { ...applyPatch(before, patch), id };
			const others = [...this.#state.windows.values()].filter((window) => window !== before);
			return takenBy(others, after) ?? written(replaceWindow(this.#state, change, before, after));
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#state.change(actor, (change) => deleteWindow(this.#state, change, "id", id) ?? unknownWindow(id));
	}
}

function insertWindow(state: MemoryState, change: MemoryChange, window: NewWindow): WriteResult<TimeWindow> {
	const created = createdWindow(window);
	const refusal = takenBy([...state.windows.values()], created);
	if (refusal !== undefined) return refusal;
	state.windows.set(created.id, created);
	change.audit({ action: "time_window.create", subject: created.id, after: created });
	return written(created);
}

function replaceWindow(state: MemoryState, change: MemoryChange, before: TimeWindow, after: TimeWindow): TimeWindow {
	state.windows.set(before.id, after);
	change.audit({ action: "time_window.update", subject: before.id, before, after });
	return after;
}

/** Undefined when there is none. */
export function deleteWindow(
	state: MemoryState,
	change: MemoryChange,
	by: "id" | "name",
	key: string,
): WriteResult<TimeWindow> | undefined {
	const before = [...state.windows.values()].find((window) => window[by] === key);
	if (before === undefined) return undefined;
	state.windows.delete(before.id);
	change.audit({ action: "time_window.delete", subject: before.id, before });
	return written(before);
}

export function putWindow(state: MemoryState, change: MemoryChange, window: NewWindow): WriteResult<boolean> {
	const before = [...state.windows.values()].find(({ name }) => name === window.name);
	if (before === undefined) {
		const result = insertWindow(state, change, window);
		return result.ok ? written(true) : result;
	}
	const after = createdWindow({ ...window, id: before.id });
	if (sameFields(before, after)) return written(false);
	replaceWindow(state, change, before, after);
	return written(true);
}
