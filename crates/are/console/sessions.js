// The list of sessions, read again when something ends or begins.
import { get } from './api.js';
import { Value } from './store.js';

const PAGE = 60;

class Sessions {
  list = new Value(null);
  error = new Value(null);
  more = new Value(false);
  #timer = null;
  #wanted = PAGE;

  /** Soon, and once for many wishes. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), 120);
  }
  deeper() { this.#wanted = Math.min(this.#wanted + PAGE, 200); this.#load(); }

  async #load() {
    try {
      const { sessions } = await get(`/api/sessions?own=true&limit=${this.#wanted}`);
      this.list.set(sessions);
      this.more.set(sessions.length >= this.#wanted && this.#wanted < 200);
      this.error.set(null);
    } catch (error) { this.error.set(error); }
  }
}
export const sessions = new Sessions();
