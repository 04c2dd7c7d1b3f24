// A browser and a network that do not exist, with a clock of their own: what the client needs of the real ones, for its tests.
// Nothing here waits. A world has tabs; whatever a tab starts belongs to it.

import { setImmediate } from 'node:timers'

const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })

/** Lets all promises that can go on do so. */
export const flush = () => new Promise(setImmediate)

export class World {
  now = 0
  wall = Date.UTC(2026, 0, 2, 3, 4, 5) // what Date.now says at time 0
  tabs = []
  timers = [] // in the order in which they are due
  locks = new Map() // name → the requests, the holder first
  apart = () => false // whether two tabs do not hear each other
  held = [] // what they have not heard
  moves = () => true // whether a tab that has just done something may have promises that go on

  constructor({ random = Math.random, locks = true, page } = {}) {
    const world = this
    const here = () => world.tab
    define('performance', { now: () => world.now, getEntries: () => [page] })
    define('setTimeout', (action, time, ...args) => world.after(here(), Math.max(0, +time || 0), () => action(...args)))
    define('clearTimeout', (timer) => {
      const i = world.timers.indexOf(timer)
      if (i >= 0) world.timers.splice(i, 1)
    })
    define('crypto', { getRandomValues: (array) => array.map(() => random() * 2 ** 32) })
    define('navigator', { locks: locks ? { request: (...args) => world.lock(here(), ...args) } : undefined })
    define(
      'AbortController',
      class {
        signal = { aborted: false }
        abort() {
          this.signal.aborted = true
          this.signal.onabort?.()
        }
      },
    )
    define('addEventListener', (name, action) => here().handlers.push({ name, action }))
    define(
      'sessionStorage',
      new Proxy(
        {},
        { get: (_, key) => here().storage[key], set: (_, key, value) => ((here().storage[key] = String(value)), true) },
      ),
    )
    define('localStorage', {}) // of all tabs
    define(
      'BroadcastChannel',
      class {
        constructor(name) {
          Object.assign(this, { name, tab: here() })
          this.tab.channels.add(this)
        }
        postMessage(data) {
          for (const tab of world.tabs)
            for (const other of tab.channels)
              if (other != this && other.name == this.name) {
                const copy = structuredClone(data) // as a browser does
                const deliver = () => tab.channels.has(other) && other.onmessage?.({ data: copy })
                // Those who are apart hear of each other later: browsers keep what is posted, and its order.
                world.apart(this.tab, tab) || world.held.some(([from, to]) => from == this.tab && to == tab)
                  ? world.held.push([this.tab, tab, deliver])
                  : world.after(tab, tab.lag, deliver)
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
    this.tab = { channels: new Set(), handlers: [], storage: {}, sources: new Set(), frozen: false, lag: 1 }
    this.tabs.push(this.tab)
    return this.tab
  }

  /** All tabs hear each other again, and what was held. */
  join() {
    this.apart = () => false
    for (const [, tab, deliver] of this.held) this.after(tab, tab.lag, deliver)
    this.held = []
  }

  after(tab, time, action) {
    const timer = { tab, at: this.now + time, action }
    this.timers.splice(this.timers.findLastIndex(({ at }) => at <= timer.at) + 1, 0, timer)
    return timer
  }

  /** Does something as a tab. */
  as(tab, action) {
    this.tab = tab
    action()
    if (this.moves(tab)) return flush()
  }

  fire(tab, name, event = {}) {
    return this.as(tab, () => tab.handlers.forEach((handler) => handler.name == name && handler.action(event)))
  }

  /** Does all that is due within so many ms. */
  async pass(time) {
    const end = this.now + time
    for (;;) {
      const i = this.timers.findIndex(({ tab }) => !tab?.frozen)
      const next = this.timers[i]
      if (!(next?.at <= end)) break
      this.timers.splice(i, 1)
      this.now = Math.max(this.now, next.at)
      const moves = this.tabs.includes(next.tab) && this.as(next.tab, next.action)
      if (moves) await moves
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
