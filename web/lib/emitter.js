// A typed event emitter for our own objects (EventTarget cannot tell the type checker which event carries what).
//
// Decides that one failing listener harms neither the others nor the caller. Does not decide what the events are.

/**
 * @template {Record<string, any>} Events name of each event and what it carries
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * Calls `listener` at each event of that name until the returned function is called.
   * @template {keyof Events} K
   * @param {K} name
   * @param {(detail: Events[K]) => void} listener
   * @returns {() => void} stops listening
   */
  on(name, listener) {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
    return () => void set.delete(listener);
  }

  /**
   * @template {keyof Events} K
   * @param {K} name
   * @param {Events[K]} detail
   */
  emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        // Out of this call stack, so that the page's own error reporting sees it.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
