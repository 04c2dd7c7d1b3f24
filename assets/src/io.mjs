// The browser client of headcount: io() as in Socket.IO, over plain HTTP.
//
// A Socket (socket.mjs) is what a part of a page holds: its listeners. A link (link.mjs) connects this page to one room, itself
// or by way of another tab, by a stream or by polls. What comes is text (wire.mjs).
//
// What users need to know is in io.d.mts. ../build makes io.js and io.mjs of this file; names that begin with _ become short.

import { newLink } from './link.mjs'
import { Socket } from './socket.mjs'

const links = {}

export const io = (uri = '/', options = {}) => {
  if (uri == '[object Object]') [uri, options] = ['/', uri]
  const { origin, pathname } = new URL(uri, location)
  const room = options.room || decodeURIComponent(pathname.slice(1)) || 'lobby'
  const key = `headcount ${origin}/${room}`
  const socket = new Socket(
    (links[key] ||= newLink(origin, room, key)),
    `Emit from a server: curl ${origin}/emit -H "Authorization: Bearer TOKEN" -d room="${room}" -d event=news`
  )
  return options.autoConnect === false ? socket : socket.connect()
}

const elements = globalThis.customElements
elements?.get('user-count') ||
  elements?.define(
    'user-count',
    class extends HTMLElement {
      static observedAttributes = ['room']

      connectedCallback() {
        const socket = this._socket
        // Not at once: an element that is moved to another place of the page keeps its connection.
        queueMicrotask(() => socket?.disconnect())
        if (this.isConnected) (this._socket = io({ room: this.getAttribute('room') })).on('user count', (users) => (this.textContent = users))
      }

      disconnectedCallback() {
        this.connectedCallback()
      }

      attributeChangedCallback() {
        this.connectedCallback()
      }
    }
  )
