/** Time windows in memory. */
import { compareWindows, type TimeWindow } from "../../core/allocate/time-window.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { NewWindow, WindowStore } from "../../ports/window-store.ts";
import { type Patch, type WriteResult, written } from "../../ports/write-result.ts";
import { applyPatch } from "../record.ts";
import { createdWindow, takenBy, unknownWindow } from "../window-record.ts";
import type { MemoryState } from "./memory-state.ts";

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
		return this.#state.change(actor, (change) => {
			const created = createdWindow(window);
			const refusal = takenBy([...this.#state.windows.values()], created);
			if (refusal !== undefined) return refusal;
			this.#state.windows.set(created.id, created);
			change.audit({ action: "time_window.create", subject: created.id, after: created });
			return written(created);
		});
	}

	update(id: string, patch: Patch<Omit<TimeWindow, "id">>, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.windows.get(id);
			if (before === undefined) return unknownWindow(id);
			const after: TimeWindow = { ...applyPatch(before, patch), id };
			const others = [...this.#state.windows.values()].filter((window) => window !== before);
			const refusal = takenBy(others, after);
			if (refusal !== undefined) return refusal;
			this.#state.windows.set(id, after);
			change.audit({ action: "time_window.update", subject: id, before, after });
			return written(after);
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.windows.get(id);
			if (before === undefined) return unknownWindow(id);
			this.#state.windows.delete(id);
			change.audit({ action: "time_window.delete", subject: id, before });
			return written(before);
		});
	}
}
