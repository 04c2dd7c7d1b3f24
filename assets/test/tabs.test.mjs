// A model of five to twelve tabs of one browser that share a room, on a server, a network and a clock that do not exist. They come
// and go, crash, freeze, hang, lose sight of each other and come back, at random. TABS_RUNS=1000 runs more of it.
//
// In the end, when all is quiet: one tab leads, every tab that is there is counted and renewed and nobody else is, and each has
// heard each event from its first to the last, once and in order.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newLink } from '../src/link.mjs'
import { newServer } from '../src/server.mjs'
import { newSocket } from '../src/socket.mjs'
import { answer, block, flush, World } from './world.mjs'

const LEASE = 55000

/** Numbers that look random, the same for the same seed. */
const randomOf = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

/** The server: events with a number each, and users with leases. */
class Server {
  events = [] // names
  leases = new Map() // id → until when
  streams = new Set()
  opened = 0 // streams, ever

  constructor(world) {
    this.world = world
    const server = this
    globalThis.EventSource = class {
      listeners = {}
      constructor(url) {
        this.tab = world.tab
        this.query = new URL(url).searchParams
        const from = this.query.get('lastEventId')
        this.at = from ? +from.split('.')[1] : server.events.length
        this.tab.sources.add(this)
        server.streams.add(this)
        server.opened++
        server.touch(this.query.get('id'))
        world.after(this.tab, 5, () => this.say('io:hello', { ping: 25, heartbeat: 10 }))
        world.after(this.tab, 6, () => this.say('user count', server.count()))
        this.beat()
        world.after(this.tab, 7, () => this.pump())
      }
      addEventListener(name, listener) {
        ;(this.listeners[name] ||= []).push(listener)
      }
      say(name, data) {
        if (server.streams.has(this))
          for (const listener of this.listeners[name] ?? [])
            listener({ data: JSON.stringify(data), lastEventId: server.cursor(this.at) })
      }
      beat() {
        world.after(this.tab, 10000, () => {
          if (!server.streams.has(this)) return
          this.say('io:ping', null)
          this.beat()
        })
      }
      pump() {
        while (server.streams.has(this) && this.at < server.events.length) {
          const [name, data] = server.events[this.at++]
          this.say(name, data)
        }
      }
      close() {
        server.streams.delete(this)
        this.tab.sources.delete(this)
      }
    }
    // Little of what happens here has to do with promises, and to settle takes longer than all the rest.
    let answered, turns
    world.moves = (tab) => {
      turns ||= Object.values(localStorage).filter(Boolean).length == 3 // who finds no seat waits for its turn
      const moves = answered || turns || [...world.locks.values()].some(([holder]) => holder?.tab == tab)
      answered = false
      return moves
    }
    globalThis.fetch = async (url, { method, body }) => {
      const tab = world.tab
      await new Promise((resolve) => world.after(tab, 5, () => resolve((answered = true))))
      const { pathname, searchParams } = new URL(url)
      if (method) {
        for (const id of JSON.parse(body).ids) pathname == '/leave' ? this.leases.delete(id) : this.touch(id)
        return answer(204)
      }
      this.touch(searchParams.get('id'))
      const from = searchParams.get('lastEventId')?.split('.')[1] || this.events.length
      const missed = this.events.slice(from).map(([name, data], i) => block(name, data, this.cursor(+from + i + 1)))
      const states = block('io:hello', { ping: 0, heartbeat: 10 }, this.cursor(from)) // before what was missed
      return answer(200, states + block('user count', this.count(), this.cursor(from)) + missed.join(''))
    }
  }

  cursor = (at) => `e.${at}.n.${this.events.length}`
  touch = (id) => this.leases.set(id, this.world.now + LEASE)
  count = () => this.leases.size

  emit(name) {
    this.events.push([name, this.events.filter(([other]) => other == name).length])
    for (const stream of this.streams) this.world.after(stream.tab, 3, () => stream.pump())
  }
}

const run = async (seed) => {
  const random = randomOf(seed)
  const pick = (list) => list[Math.floor(random() * list.length)]
  const world = new World({ random, locks: random() < 0.5 })
  world.tabs = []
  const server = new Server(world)

  // Some listen for what the others, and so the one that leads, do not.
  const open = async (names = random() < 0.5 ? ['news'] : ['news', 'more']) => {
    const tab = world.open()
    tab.lag = 1 + Math.floor(random() * 40)
    tab.heard = {}
    await world.as(tab, () => {
      tab.link = newLink(newServer('http://here/'), 'lobby')
      tab.socket = newSocket(tab.link, '')
      for (const name of names) {
        tab.heard[name] = []
        tab.socket.on(name, (data) => tab.heard[name].push(data))
      }
      tab.socket.connect()
    })
  }
  /** A tab listens for a name that nobody else does, hears it, and the lead moves, often before all know the name. */
  const want = async (tab) => {
    const name = 'name-' + Math.floor(random() * 3)
    if (tab.frozen || tab.heard[name]) return
    tab.heard[name] = []
    await world.as(tab, () => tab.socket.on(name, (data) => tab.heard[name].push(data)))
    for (let n = 0; n < 12; n++) {
      server.emit(name)
      await world.pass(Math.floor(random() * 20))
      const leader = world.tabs.find(({ sources }) => sources.size)
      if (n == 6 && leader && leader != tab && world.tabs.length > 2) world.crash(leader)
    }
  }
  const thaw = async () => {
    for (const tab of world.tabs) {
      tab.frozen = false
      if (tab.away) await world.fire(tab, 'pageshow')
      tab.away = false
    }
  }
  for (let n = 5 + Math.floor(random() * 8); n > 0; n--) {
    await open()
    await world.pass(Math.floor(random() * 1500))
  }
  for (let step = 0; step < 15; step++) {
    const tab = pick(world.tabs)
    const what = random()
    if (what < 0.12 && world.tabs.length < 12) await open()
    else if (what < 0.24 && world.tabs.length > 2) {
      await world.fire(tab, 'pagehide', { persisted: false })
      const channels = new Set(tab.channels)
      channels.forEach((channel) => channel.close())
      world.crash(tab)
    } else if (what < 0.36 && world.tabs.length > 2) world.crash(tab)
    else if (what < 0.5) {
      const how = random()
      tab.away ||= how < 0.4 && !tab.frozen
      if (how < 0.7 && !tab.frozen) await world.fire(tab, how < 0.4 ? 'pagehide' : 'freeze')
      tab.frozen = true
    } else if (what < 0.65) await thaw()
    else if (what < 0.75) {
      for (const other of world.tabs) other.side = random() < 0.5
      world.apart = (a, b) => a.side != b.side
    } else if (what < 0.85) world.join()
    else await want(tab)
    for (let n = Math.floor(random() * 4); n > 0; n--) server.emit(pick(['news', 'more']))
    await world.pass(Math.floor(random() * 12000))
  }
  world.join()
  await thaw()
  await world.pass(60000)
  const opened = server.opened
  server.emit('of no interest')
  await world.pass(10)
  for (const stream of server.streams) stream.say('user count', server.count())
  await open(['news', 'late'])
  for (let n = 0; n < 20; n++) {
    server.emit('news')
    await world.pass(10)
  }
  for (const name of ['news', 'more', 'late', 'name-0', 'name-1', 'name-2']) server.emit(name)
  await world.pass(LEASE + 10000)
  assert.equal(server.opened, opened, 'nothing that is normal moves the lead')
  for (const [id, until] of server.leases) if (until < world.now) server.leases.delete(id)

  const transports = world.tabs.map((tab) => tab.socket.transport)
  assert.equal(transports.filter((transport) => transport == 'stream').length, 1, `one leads, of ${transports}`)
  assert.equal(
    transports.filter((transport) => transport == 'shared').length,
    world.tabs.length - 1,
    `the others follow, of ${transports}`,
  )
  assert.equal(server.streams.size, 1)
  for (const tab of world.tabs) {
    assert.ok(server.leases.has(tab.socket.id), 'every tab is renewed')
    for (const [name, heard] of Object.entries(tab.heard)) {
      const last = server.events.filter(([other]) => other == name).length - 1
      assert.equal(heard.at(-1), last, `every tab has the last of ${name}`)
      heard.slice(1).forEach((data, i) => {
        assert.equal(data, heard[i] + 1, `${name}, each once and in order: ${heard}`)
      })
    }
  }
}

const runs = +(process.env.TABS_RUNS ?? 200)
const first = +(process.env.TABS_SEED ?? 1)
test(`${runs} times, seeds from ${first}`, async () => {
  for (let seed = first; seed < first + runs; seed++)
    await run(seed).catch((error) => {
      throw Object.assign(error, { message: `TABS_SEED=${seed} TABS_RUNS=1: ${error.message}` })
    })
  await flush()
})

test('a count that overtakes the answer to a new follower is not lost', async () => {
  const world = new World({ random: randomOf(1) })
  world.tabs = []
  const server = new Server(world)
  world.moves = () => true
  const { fetch } = globalThis
  globalThis.fetch = async (...args) => {
    const { tab } = world
    const answered = await fetch(...args)
    await new Promise((resolve) => world.after(tab, 100, resolve))
    return answered
  }
  const open = async () => {
    const tab = world.open()
    tab.heard = []
    await world.as(tab, () => {
      newSocket(newLink(newServer('http://here/'), 'lobby'), '')
        .on('user count', (count) => tab.heard.push(count))
        .connect()
    })
    return tab
  }
  await open()
  await world.pass(1000)
  const follower = await open()
  const publish = () => server.streams.forEach((stream) => stream.say('user count', server.count()))
  await world.pass(20)
  publish()
  server.emit('of no interest')
  server.touch('another')
  publish()
  await world.pass(50)
  assert.deepEqual(follower.heard, [], 'the answer is under way')
  await world.pass(1000)
  assert.deepEqual(follower.heard, [2, 3])
})

test('who disconnects at the first count is not counted by a renewal that was still to come', async () => {
  const world = new World({ random: randomOf(1) })
  world.tabs = []
  const server = new Server(world)
  world.moves = () => true
  const tab = world.open()
  await world.as(tab, () => {
    const socket = newSocket(newLink(newServer('http://here/'), 'lobby'), '').connect()
    socket.on('user count', () => socket.disconnect())
  })
  await world.pass(1000)
  assert.equal(server.opened, 1)
  assert.equal(server.count(), 0)
})
