// The browser client of headcount: io() as in Socket.IO, over plain HTTP.
//
// A Socket is what a part of a page holds: its listeners. A link is the connection of this page to one room; all sockets
// for that room share it, and so does <user-count>. So a tab is one user and one connection, however many of its
// parts listen. Which way the bytes come is decided in attempt(), and nowhere else.
//
// What users need to know is in io.d.mts. ../build makes io.js and io.mjs of this file; names that begin with _ become short.

/** The delay before the next attempt, in ms: capped first and jittered after, so that clients which lost their server at
 * the same moment stay apart, at the cap too. The first is below 1 s, and a server keeps a client id counted for 2 s:
 * a connection that is merely cut moves nobody's count. */
const delay = (failures) => Math.min(1000 * 2 ** failures, 30000) * (0.5 + Math.random() / 2)

/** crypto.randomUUID is missing on plain http, where this is needed most. */
const newId = () => crypto.getRandomValues(new Uint32Array(4)).reduce((id, n) => id + n.toString(36), '')

class Socket {
  constructor(link, complaint) {
    this.connected = false
    this.id = this.transport = undefined
    this._link = link
    this._complaint = complaint // about emit
    this._listeners = new Map() // name → Map(listener → once?); the name '' stands for any
  }

  on(name, listener, once = false) {
    if (!this._listeners.has(name)) this._listeners.set(name, new Map())
    const those = this._listeners.get(name)
    those.set(listener, once && those.get(listener) !== false)
    return () => this.off(name, listener)
  }

  once(name, listener) {
    return this.on(name, listener, true)
  }

  onAny(listener) {
    return this.on('', listener)
  }

  off(name, listener) {
    if (listener) this._listeners.get(name)?.delete(listener)
    else if (name) this._listeners.delete(name)
    else this._listeners.clear()
  }

  connect() {
    this._link._add(this)
    return this
  }

  disconnect() {
    this._link._remove(this)
    return this
  }

  emit() {
    throw new Error(this._complaint)
  }

  _call(name, ...args) {
    for (const [listener, once] of [...(this._listeners.get(name) || [])]) {
      if (once) this.off(name, listener)
      try {
        listener.apply(this, args)
      } catch (error) {
        // Reported like any error of the page, and kept from the other listeners.
        setTimeout(() => {
          throw error
        })
      }
    }
  }

  _up(id, transport) {
    if (this.connected) return
    this.connected = true
    this.id = id
    this.transport = transport
    this._call('connect')
  }

  _down(reason) {
    if (!this.connected) return
    this.connected = false
    this.id = this.transport = undefined
    this._call('disconnect', reason)
  }
}

/** Calls receive(name, data, cursor) for every event of a response, until it ends. `heard` is called for every piece that
 * comes, be it a comment. The server ends each line with \n and each event with an empty line. */
const read = async (response, heard, receive) => {
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    heard()
    const events = (rest + decoder.decode(value, { stream: true })).split('\n\n')
    rest = events.pop()
    for (const event of events) {
      const fields = { event: 'message' }
      for (const line of event.split('\n')) {
        const [, key, value] = /^(\w*):? ?(.*)/s.exec(line)
        fields[key] = key == 'data' && key in fields ? fields[key] + '\n' + value : value
      }
      if ('data' in fields) receive(fields.event, fields.data, fields.id)
    }
  }
}

const newLink = (server, room) => {
  const sockets = new Set()
  let id = newId() // of this client
  let cursor = '' // how far it has read
  let count // the latest user count, for sockets that are added later
  let live // an event has come on this attempt: only that proves that this way works
  let failures = 0
  let current // the AbortController of the attempt under way
  let timer // of its silence; between attempts, of the next one
  let silence = 25000 // how long an attempt may be silent, in ms: 2.5 heartbeats
  let wanted // whether the server wants pings to be answered

  const each = (action) => [...sockets].forEach(action)

  const about = () => JSON.stringify({ room, ids: [id] })

  const receive = (name, data) => {
    if (name == 'io:hello') {
      wanted = data.ping > 0
      silence = 2500 * (data.heartbeat || 10)
    }
    live = true
    failures = 0
    each((socket) => socket._up(id, 'stream'))
    if (name == 'io:gap') each((socket) => socket._call('gap', data))
    else if (!/^io:/.test(name)) {
      if (name == 'user count') count = data
      each((socket) => {
        socket._call(name, data)
        socket._call('', name, data)
      })
    } else if (wanted) fetch(server + '/alive', { method: 'POST', body: about() }).catch(() => {})
  }

  const stop = () => {
    clearTimeout(timer)
    current?.abort()
    current = live = count = undefined
  }

  const attempt = async () => {
    stop()
    const mine = (current = new AbortController())
    let reason = 'transport error'
    let patience = 0 // how long the server asked us to stay away, in ms
    let problem
    const heard = () => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        reason = 'ping timeout'
        mine.abort()
      }, silence)
    }
    heard()
    try {
      const query = new URLSearchParams({ room, id, lastEventId: cursor })
      const response = await fetch(server + '/events?' + query, {
        cache: 'no-store',
        headers: { accept: 'text/event-stream' },
        signal: mine.signal,
      })
      const type = response.headers.get('content-type')
      if (!response.ok || !/^text\/event-stream/.test(type)) {
        patience = response.headers.get('retry-after') * 1000 || 0
        throw new Error((await response.json().catch(() => 0)).error || `${response.status} ${type}`)
      }
      await read(response, heard, (name, data, at) => {
        if (current != mine) return // a listener has just ended this attempt
        cursor = at || cursor
        try {
          data = JSON.parse(data)
        } catch {} // then it is a text
        receive(name, data)
      })
      reason = 'transport close'
    } catch (error) {
      problem = error
    }
    if (current != mine) return
    const was = live
    stop()
    timer = setTimeout(attempt, Math.max(patience, delay(failures++)))
    each((socket) => (was ? socket._down(reason) : socket._call('connect_error', problem || new Error(reason))))
  }

  /** Says goodbye. The next attempt has another id: a goodbye that arrives late must not remove it. */
  const leave = () => {
    stop()
    navigator.sendBeacon(server + '/leave', about())
    id = newId()
  }

  // A browser keeps the connections of a page that was left open for a minute, in case the reader comes back.
  addEventListener('pagehide', () => {
    if (!sockets.size) return
    leave()
    each((socket) => socket._down('pagehide'))
  })
  addEventListener('pageshow', (event) => event.persisted && sockets.size && attempt())
  addEventListener('online', () => sockets.size && !live && attempt())

  return {
    _add(socket) {
      if (sockets.has(socket)) return
      sockets.add(socket)
      if (sockets.size == 1) attempt()
      // Not at once: whoever called has no listeners yet.
      else
        Promise.resolve().then(() => {
          if (!live || !sockets.has(socket)) return
          socket._up(id, 'stream')
          if (count != undefined) socket._call('user count', count)
        })
    },
    _remove(socket) {
      if (!sockets.delete(socket)) return
      if (!sockets.size) leave()
      socket._down('io client disconnect')
    },
  }
}

const links = new Map()

export const io = (uri = '/', options = {}) => {
  if (uri.href == undefined && typeof uri == 'object') [uri, options] = ['/', uri]
  const { origin, pathname } = new URL(uri, location.href)
  const room = options.room || decodeURIComponent(pathname.slice(1)) || 'lobby'
  const key = origin + '/' + room
  if (!links.has(key)) links.set(key, newLink(origin, room))
  const socket = new Socket(
    links.get(key),
    `Browsers only listen. Emit from a server: curl ${origin}/emit -H "Authorization: Bearer TOKEN" -d room="${room}" -d event=news -d data=hi`
  )
  return options.autoConnect === false ? socket : socket.connect()
}

if (globalThis.customElements && !customElements.get('user-count')) {
  customElements.define(
    'user-count',
    class extends HTMLElement {
      static get observedAttributes() {
        return ['room']
      }

      connectedCallback() {
        this._socket = io({ room: this.getAttribute('room') })
        this._socket.on('user count', (users) => (this.textContent = users))
      }

      // Not at once: an element that is moved to another place of the page keeps its connection.
      disconnectedCallback() {
        const socket = this._socket
        Promise.resolve().then(() => socket.disconnect())
      }

      attributeChangedCallback() {
        if (!this._socket) return // not in the page yet
        this.disconnectedCallback()
        this.connectedCallback()
      }
    }
  )
}
