// The transport against a server that does as it is told, and a clock that stands still meanwhile. docs/transport.json is the table.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { newServer } from '../src/server.mjs'
import { delay, retryAfter, within } from '../src/time.mjs'
import { newTransport, STATES } from '../src/transport.mjs'
import { answer, block, flush, World } from './world.mjs'

const table = JSON.parse(readFileSync(new URL('../../docs/transport.json', import.meta.url)))
const HELLO = { id: 'x', ping: 0, heartbeat: 10 }

/** A page with one room, and the requests of it. */
const open = async (options = {}) => {
  const world = new World({ random: () => 0, ...options })
  const page = { world, streams: [], polls: [], posts: [], heard: [], lost: [] }
  globalThis.EventSource = class {
    listeners = {}
    constructor(url) {
      this.query = new URL(url).searchParams
      page.streams.push(this)
    }
    addEventListener(name, listener) {
      ;(this.listeners[name] ||= []).push(listener)
    }
    close() {
      this.closed = true
    }
    fail() {
      if (!this.closed) this.onerror()
      return flush()
    }
    emit(name, data, id = '1.1.a.1') {
      if (!this.closed)
        for (const listener of this.listeners[name] ?? []) listener({ data: JSON.stringify(data), lastEventId: id })
      return flush()
    }
  }
  globalThis.fetch = (url, { method, signal, body }) =>
    new Promise((resolve, reject) => {
      const request = {
        query: new URL(url).searchParams,
        url,
        body,
        answer: (...args) => (resolve(answer(...args)), flush()),
        fail: () => (reject(TypeError('Failed to fetch')), flush()),
      }
      if (signal)
        signal.onabort = () => {
          request.closed = true
          reject(Error('aborted'))
        }
      ;(method ? page.posts : page.polls).push(request)
    })
  page.server = newServer('http://here/', options.page)
  page.add = (room, names = new Set(['io:hello', 'io:ping', 'io:gap', 'user count']), server = page.server) => {
    const transport = newTransport(
      server,
      room,
      undefined,
      options.polls,
      names,
      (...event) => page.heard.push(event),
      (...args) => page.lost.push(args),
    )
    transport.names = names
    return transport
  }
  page.transport = page.add('lobby')
  Object.defineProperty(page, 'state', { get: () => STATES[page.transport._state()] })
  page.transport._start('abcdefgh', '')
  return page
}

/** Brings a new page into a state. */
const into = async (state, options) => {
  const page = await open(options)
  if (state == 'connecting') return page
  if (state == 'streaming') {
    await page.streams[0].emit('io:hello', HELLO)
    return page
  }
  await page.streams[0].fail()
  if (state == 'asking') return page
  await page.polls.at(-1).answer(200, block('io:hello', HELLO, '1.1.a.1'))
  await page.world.pass(100)
  if (state == 'polling') return page
  await page.polls.at(-1).fail()
  await page.world.pass(100)
  return page
}

const current = (page) => (page.state == 'connecting' || page.state == 'streaming' ? page.streams : page.polls).at(-1)

/** Polls until a stream is tried. */
const tried = async (page) => {
  while (page.streams.length < 2) {
    await page.polls.at(-1).answer(200, block('news', 1, '1.2.a.1'))
    await page.world.pass(10000)
  }
}

/** What happens, in a state. */
const happenings = {
  event: (page) => page.streams.at(-1).emit('io:hello', HELLO),
  answered: (page) => page.polls.at(-1).answer(200, block('news', 1, '1.2.a.1')),
  ended: (page) => (current(page).emit ? current(page).fail() : current(page).answer(200)),
  unanswered: async (page) => {
    page.transport._say('alive', ['abcdefgh'])
    await page.posts.at(-1).fail()
    await page.streams.at(-1).fail()
  },
  silent: (page) => page.world.pass(page.state == 'connecting' ? 3000 : page.state == 'streaming' ? 25000 : 30000),
  broken: (page) => current(page).fail(),
  blocked: (page) =>
    current(page).emit
      ? current(page).fail()
      : current(page).answer(403, '<h1>no</h1>', { 'content-type': 'text/html' }),
  unavailable: (page) => current(page).answer(503, 'busy', { 'content-type': 'text/html' }),
  refused: (page) =>
    current(page).answer(400, '{"error":"the sentence of the server"}', { 'content-type': 'application/json' }),
  trial: async (page) => {
    await tried(page)
    await page.streams[1].emit('io:hello', HELLO)
    await page.world.pass(1001)
    await page.streams[1].emit('io:ping', null)
  },
}

// An EventSource says nothing of a failure, and io.js tells no more of a stream that it reads by fetch.
const UNTOLD = ['broken', 'unavailable', 'refused']
const DELAYS = { none: 0, soon: 100, 'back-off': 500 }

for (const row of table.transitions) {
  const { state, event } = row
  const { next, delay } = state == 'connecting' && UNTOLD.includes(event) ? { next: 'asking', delay: 'none' } : row
  test(`${state}, ${event}: ${next} after ${delay}`, async () => {
    const page = await into(state)
    assert.equal(page.state, state)
    const happens = state == 'connecting' && UNTOLD.includes(event) ? 'blocked' : event
    await happenings[happens](page)
    assert.equal(page.state, next)
    assert.equal(page.lost.length, delay == 'back-off' ? 1 : 0, 'users hear of it where the table says back-off')
    if (next == 'streaming') return
    const requests = () => page.streams.length + page.polls.length
    const before = requests()
    if (delay == 'none') {
      assert.equal(current(page).closed ?? false, false)
      return
    }
    await page.world.pass(DELAYS[delay] - 1)
    assert.equal(requests(), before, 'asked too early')
    await page.world.pass(1)
    assert.equal(requests(), before + 1, 'asked in time')
    const { query } = current(page)
    assert.equal(query.get('poll') ?? '0', next == 'connecting' ? '0' : '1')
    // Without its last part, the version of the states, a cursor is answered at once.
    if (next == 'checking') assert.match(query.get('lastEventId'), /\.$/)
  })
}

test('the sentence of the server reaches connect_error, after a stream that does not say why', async () => {
  const page = await into('asking')
  await happenings.refused(page)
  assert.equal(page.lost[0][1].message, 'the sentence of the server')
})

test('Retry-After', async (t) => {
  const { now, cases } = table.retryAfter
  new World().wall = Date.parse(now)
  Date.now = () => Date.parse(now)
  for (const { name, headers, ms } of cases)
    await t.test(name, () => assert.equal(retryAfter(headers.length ? headers.join(', ') : null), ms))
})

test('delays', () => {
  for (const { base, failures, retryAfter, random, ms } of table.delays) {
    if (base < 100) continue // io.js has two bases of its own
    Math.random = () => random
    assert.equal(delay(base, failures, within(retryAfter, 0, 300000, 0)), ms)
  }
})

test('no answer makes it ask in a hot loop', async () => {
  for (const value of [
    null,
    '',
    'soon',
    '-1',
    '1e9',
    '0',
    'NaN',
    'Infinity',
    '5, 5',
    '2592000',
    '99999999999999999999',
    'Fri, 01 Jan 2027 00:00:00 GMT',
    'Fri, 01 Jan 2016 00:00:00 GMT',
    'Mon, 99 Foo 2027 GMT',
  ]) {
    for (const status of [200, 204, 403, 429, 503]) {
      const page = await open()
      let asked = 0
      for (let time = 0; time < 10000; time += 50) {
        for (; asked < page.polls.length; asked++)
          await page.polls[asked].answer(status, 'busy', { 'content-type': 'text/html', 'retry-after': value })
        const stream = page.streams.at(-1)
        if (!stream.closed) await stream.fail()
        await page.world.pass(50)
      }
      assert.ok(
        page.streams.length + page.polls.length <= 12,
        `Retry-After ${value} with ${status}: ${page.streams.length + page.polls.length} requests in 10 s`,
      )
      await page.world.pass(5 * 60000 + 31000)
      assert.ok(
        page.polls.length > asked || !page.streams.at(-1).closed,
        `Retry-After ${value} with ${status}: asks again within 5 min and a little`,
      )
    }
  }
})

test('what io:hello says reaches a timer only within bounds', async () => {
  for (const heartbeat of [NaN, -1, 0, 'x', null, undefined, {}, 1e300, '10']) {
    const page = await open()
    await page.streams[0].emit('io:hello', { ...HELLO, heartbeat })
    await page.world.pass(24000)
    assert.equal(page.state, 'streaming', `heartbeat ${heartbeat} ends the stream early`)
    await page.world.pass(2.5 * 600000)
    assert.notEqual(page.state, 'streaming', `heartbeat ${heartbeat} keeps a dead stream for ever`)
  }
})

test('trials come after 1, 2, 4 … minutes and at least each hour; one that proves itself starts anew', async () => {
  const page = await into('polling')
  let last = page.world.now
  /** Polls until a stream is tried, and returns after how many minutes. */
  const tried = async () => {
    for (const before = page.streams.length; page.streams.length == before; ) {
      await page.polls.at(-1).answer(200, block('news', 1, '1.2.a.1'))
      await page.world.pass(1000)
    }
    const minutes = (page.world.now - last) / 60000
    last = page.world.now
    return minutes
  }
  for (const want of [1, 2, 4, 8, 16, 32, 60, 60]) {
    const got = await tried()
    assert.ok(got >= want - 0.1 && got < want + 0.1, `after ${got} minutes, want ${want}`)
  }
  await page.streams.at(-1).emit('io:hello', HELLO)
  await page.world.pass(1001)
  await page.streams.at(-1).emit('io:ping', null)
  assert.equal(page.state, 'connecting')
  await page.streams.at(-1).fail()
  await page.polls.at(-1).answer(200, block('news', 1, '1.2.a.1'))
  await page.world.pass(100)
  last = page.world.now
  const got = await tried()
  assert.ok(got > 0.9 && got < 1.1, `after ${got} minutes, want 1`)
})

test('a trial that is asked whether it hears succeeds with the second event, if its answer got through', async () => {
  for (const status of [204, 403]) {
    const page = await into('polling')
    await tried(page)
    await page.streams[1].emit('io:hello', { ...HELLO, ping: 1 })
    await page.posts.at(-1).answer(status)
    await page.world.pass(1001)
    await page.streams[1].emit('io:ping', null)
    assert.equal(page.state, status == 204 ? 'connecting' : 'polling', `after ${status}`)
  }
})

test('after a back-off, the next poll that works starts a trial at once', async () => {
  const page = await into('streaming')
  await page.world.pass(25000)
  assert.equal(page.state, 'asking')
  await page.world.pass(1000)
  await page.polls.at(-1).answer(200, block('news', 1, '1.2.a.1'))
  assert.equal(page.state, 'polling')
  assert.equal(page.streams.length, 2)
})

test('an EventSource listens for each name, those that come later too', async () => {
  const page = await open()
  page.transport.names.add('news')
  page.transport._listen('news')
  await page.streams[0].emit('news', 'a', '1.2.a.1')
  assert.deepEqual(page.heard, [['stream', 'news', 'a', '1.2.a.1']])
  assert.equal(page.streams.length, 1)
})

test('who listens for everything reads by fetch, from where it was', async () => {
  const page = await open()
  await page.streams[0].emit('io:hello', HELLO, '1.7.a.1')
  page.transport.names.add('')
  page.transport._listen('')
  assert.ok(page.streams[0].closed)
  const { query } = page.polls[0]
  assert.equal(query.get('poll'), null)
  assert.equal(query.get('lastEventId'), '1.7.a.1')
})

test('three rooms have streams, the others take turns, one at a time', async () => {
  const page = await open()
  const rooms = [page.transport]
  for (let i = 1; i < 20; i++) {
    rooms.push(page.add('room-' + i))
    rooms[i]._start('abcdefgh', '')
  }
  await flush()
  assert.equal(page.streams.length, 3)
  for (const stream of page.streams) await stream.emit('io:hello', HELLO)
  const asked = new Set()
  for (let n = 0, time = 0; time < 12000; time += 10) {
    const under = page.polls.slice(n)
    assert.ok(under.length <= 1, `${under.length} polls at once`)
    for (const poll of under) {
      assert.equal(poll.query.get('wait'), '0')
      asked.add(poll.query.get('room'))
      await poll.answer(200, block('user count', 1, '1.1.a.1'))
      n++
    }
    await page.world.pass(10)
  }
  assert.equal(asked.size, 17)
  assert.ok(page.polls.length >= 34 && page.polls.length <= 17 * 3, `${page.polls.length} polls in 12 s`)
  // A seat that becomes free is taken.
  rooms[0]._stop()
  await flush()
  assert.equal(page.streams.filter((stream) => !stream.closed).length, 3)
})

test('three rooms of a browser have streams, also on two pages, and a page that has crashed keeps no seat', async () => {
  const page = await open()
  for (let i = 1; i < 20; i++) page.add('room-' + i)._start('abcdefgh', '')
  for (const stream of page.streams) await stream.emit('io:hello', HELLO)
  const streaming = () => page.streams.filter((stream) => !stream.closed).length
  assert.equal(streaming(), 3)

  const other = newServer('http://here/')
  const second = page.add('another', undefined, other)
  second._start('abcdefgh', '')
  await flush()
  assert.equal(streaming(), 3)
  await page.transport._stop()
  page.add('room-20')._start('abcdefgh', '') // takes the seat that is free again
  await flush()
  assert.equal(streaming(), 3)

  // All the pages of before have crashed.
  page.streams.forEach((stream) => stream.close())
  for (const [state, time] of [
    ['asking', 20000],
    ['connecting', 6000],
  ]) {
    await page.world.pass(time)
    const third = page.add('third', undefined, newServer('http://here/'))
    third._start('abcdefgh', '')
    assert.equal(STATES[third._state()], state, `after ${time} ms more`)
    third._stop()
  }
})

test('rooms over HTTP/2 all have streams', async () => {
  const page = await open({ page: { nextHopProtocol: 'h2', responseStart: 10 } })
  for (let i = 1; i < 8; i++) page.add('room-' + i)._start('abcdefgh', '')
  assert.equal(page.streams.length, 8)
})

test('polls alone, as an option: no stream, and no trial', async () => {
  const page = await open({ polls: true })
  for (let i = 0; i < 30; i++) {
    await page.polls.at(-1).answer(200, block('news', 1, '1.2.a.1'))
    await page.world.pass(10000)
  }
  assert.equal(page.streams.length, 0)
  assert.equal(page.state, 'polling')
})
