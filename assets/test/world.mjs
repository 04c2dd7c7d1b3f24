// A browser and a network that do not exist, with a clock of their own: what the client needs of the real ones, for its tests.
// Nothing here waits. A world has tabs; whatever a tab starts belongs to it.

const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })

/** Lets all promises that can go on do so. */
export const settle = async () => {
  for (let i = 0; i < 20; i++) await null
}

export class World {
  now = 0
  wall = Date.UTC(2026, 0, 2, 3, 4, 5) // what Date.now says at time 0
  tabs = []
  timers = []
  locks = new Map() // name → the requests, the holder first
  apart = () => false // whether two tabs do not hear each other
  held = [] // what they have not heard
  n = 0

  constructor({ random = Math.random, locks = true, page } = {}) {
    const world = this
    const here = () => world.tab
    define('performance', { now: () => world.now, getEntriesByType: () => [page] })
    define('setTimeout', (action, time, ...args) => {
      const timer = {
        tab: here(),
        at: world.now + Math.max(0, +time || 0),
        n: world.n++,
        action: () => action(...args),
      }
      world.timers.push(timer)
      return timer
    })
    define('clearTimeout', (timer) => {
      world.timers = world.timers.filter((other) => other != timer)
    })
    define('navigator', { locks: locks ? { request: (...words) => world.lock(here(), ...words) } : undefined })
    define('addEventListener', (name, action) => here().handlers.push({ name, action }))
    define(
      'sessionStorage',
      new Proxy(
        {},
        { get: (_, key) => here().storage[key], set: (_, key, value) => ((here().storage[key] = String(value)), true) },
      ),
    )
    define(
      'BroadcastChannel',
      class {
        constructor(name) {
          Object.assign(this, { name, tab: here() })
          this.tab.channels.add(this)
        }
        postMessage(data) {
          const text = JSON.stringify(data)
          for (const tab of world.tabs)
            for (const other of tab.channels)
              if (other != this && other.name == this.name) {
                const deliver = () => tab.channels.has(other) && other.onmessage?.({ data: JSON.parse(text) })
                // Those who are apart hear of each other later: browsers keep what is posted, and its order.
                world.apart(this.tab, tab) || world.held.length
                  ? world.held.push([tab, deliver])
                  : world.after(tab, 1, deliver)
              }
        }
        close() {
          this.tab.channels.delete(this)
        }
      },
    )
    Math.random = random
    Date.now = () => world.wall + world.now
    this.open()
  }

  /** A new tab; it is the one at work. */
  open() {
    this.tab = { channels: new Set(), handlers: [], storage: {}, sources: new Set(), frozen: false }
    this.tabs.push(this.tab)
    return this.tab
  }

  /** All tabs hear each other again, and what was held. */
  join() {
    this.apart = () => false
    for (const [tab, deliver] of this.held) this.after(tab, 1, deliver)
    this.held = []
  }

  after(tab, time, action) {
    this.timers.push({ tab, at: this.now + time, n: this.n++, action })
  }

  /** Does something as a tab. */
  async as(tab, action) {
    this.tab = tab
    action()
    await settle()
  }

  fire(tab, name, event = {}) {
    return this.as(tab, () => tab.handlers.forEach((handler) => handler.name == name && handler.action(event)))
  }

  /** Does all that is due within so many ms. */
  async pass(time) {
    const end = this.now + time
    for (;;) {
      let next
      for (const timer of this.timers)
        if (
          !timer.tab?.frozen &&
          timer.at <= end &&
          (!next || timer.at < next.at || (timer.at == next.at && timer.n < next.n))
        )
          next = timer
      if (!next) break
      this.timers = this.timers.filter((timer) => timer != next)
      this.now = Math.max(this.now, next.at)
      if (this.tabs.includes(next.tab)) await this.as(next.tab, next.action)
    }
    this.now = end
  }

  lock(tab, name, { steal, signal }, action) {
    return new Promise((resolve, reject) => {
      const queue = this.locks.get(name) ?? []
      this.locks.set(name, queue)
      const request = { tab, action, end: () => this.unlock(name, request), reject }
      const abort = () => {
        if (request.held) return
        queue.splice(queue.indexOf(request), 1)
        reject(Object.assign(Error('aborted'), { code: 20 }))
      }
      if (signal?.aborted) return abort()
      if (signal) signal.onabort = abort
      if (steal && queue[0]?.held) queue.shift().reject(Object.assign(Error('stolen'), { code: 20 }))
      steal ? queue.unshift(request) : queue.push(request)
      this.grant(name)
    })
  }

  grant(name) {
    const request = this.locks.get(name)[0]
    if (!request || request.held) return
    request.held = true
    this.after(request.tab, 1, () => Promise.resolve(request.action()).then(request.end))
  }

  unlock(name, request) {
    const queue = this.locks.get(name)
    if (queue[0] != request) return
    queue.shift()
    this.grant(name)
  }

  /** A tab is there no more, and had no time to say so. */
  crash(tab) {
    this.tabs = this.tabs.filter((other) => other != tab)
    for (const [name, queue] of this.locks) {
      const held = queue[0]?.tab == tab
      this.locks.set(
        name,
        queue.filter((request) => request.tab != tab),
      )
      if (held) this.grant(name)
    }
    for (const source of tab.sources) source.close()
  }
}

/** An answer to fetch, as far as the client looks at it. */
export const answer = (status, body = '', headers = { 'content-type': 'text/plain; charset=utf-8' }) => ({
  status,
  ok: status >= 200 && status < 300,
  headers: { get: (name) => headers[name] ?? null },
  json: async () => JSON.parse(body),
  body: {
    pipeThrough: () => {
      const pieces = [body]
      return { getReader: () => ({ read: async () => (pieces.length ? { value: pieces.shift() } : { done: true }) }) }
    },
  },
})

define('TextDecoderStream', class {})

export const block = (name, data, id) => `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`
