/** Defines <user-count server="…" room="…">, which shows the number. To be called once in each page; a worker has no elements. */
export const defineElement = (io) => {
  globalThis.customElements?.define(
    'user-count',
    class extends HTMLElement {
      static observedAttributes = ['server', 'room']

      connectedCallback() {
        const socket = this._socket
        // Not at once: an element that is moved to another place of the page keeps its connection.
        queueMicrotask(() => socket?.disconnect())
        if (this.isConnected)
          (this._socket = io(this.getAttribute('server') || '/', { room: this.getAttribute('room') || 'lobby' })).on(
            'user count',
            (users) => (this.textContent = users),
          )
      }

      disconnectedCallback() {
        this.connectedCallback()
      }

      attributeChangedCallback() {
        this.connectedCallback()
      }
    },
  )
}
